"""Data that has had its time goes, a batch at a time: orders that are over, patients without any.

A batch is a transaction of its own, and waits for nobody: what somebody else holds stays until the
next time. So it may be stopped at any instant; what is left goes when it is run again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from worklist import privacy
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import (
    FINAL,
    ImagingServiceRequest,
    Patient,
    PatientMerge,
    RequestedProcedure,
    ScheduledProcedureStep,
)

# Steps, or patients, that one transaction looks at: who wants one of their patients meanwhile waits
# for its end, and on SQLite whoever wants to write.
_AT_ONCE = 100
_BY = Actor("purge")
_REASON = "its time is over"


def _keys_of(rows: QuerySet[Any], *columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """The keys of these rows, with further columns, a batch at a time, each read when it is due."""
    last = 0
    ordered = rows.order_by("pk").values_list("pk", *columns)
    while found := list(ordered.filter(pk__gt=last)[:_AT_ONCE]):
        yield found
        last = found[-1][0]


def _pks(rows: Iterable[models.Model]) -> list[int]:
    return [row.pk for row in rows]


# --- orders that are over -------------------------------------------------------------------------


@dataclass(frozen=True)
class Over:
    """When an order is over: each of its exams was closed, and is of before that moment.

    With `never_closed`, so is an exam of before that moment, whatever its status. Before is when
    it was to be, and when it was changed for the last time.
    """

    closed: dt.datetime
    never_closed: dt.datetime | None = None

    @property
    def steps(self) -> Q:
        over = Q(status__in=FINAL) & self._before(self.closed)
        return over | self._before(self.never_closed) if self.never_closed else over

    @staticmethod
    def _before(moment: dt.datetime) -> Q:
        return Q(changed_at__lt=moment, start_date__lt=timezone.localdate(moment))


def orders_over(over: Over) -> QuerySet[ImagingServiceRequest]:
    """Those that `forget_orders` would delete now."""
    exams = ScheduledProcedureStep.objects.filter(requested_procedure__request=OuterRef("pk"))
    return ImagingServiceRequest.objects.filter(
        Exists(exams.filter(over.steps)), ~Exists(exams.exclude(over.steps))
    )


def forget_orders(over: Over) -> Iterator[int]:
    """Delete the orders that are over; how many, batch by batch.

    Each row is signed with what leads to it, and without what privacy.CLEARED names.
    """
    exams = ScheduledProcedureStep.objects.filter(over.steps)
    order = "requested_procedure__request"
    for found in _keys_of(exams, order, f"{order}__patient"):
        _, orders, patients = zip(*found, strict=True)
        yield _forget_orders(set(orders), set(patients), over)


def _forget_orders(orders: set[int], patients: set[int], over: Over) -> int:
    with transaction.atomic():
        # Patients first, as everywhere; new orders of theirs may be placed all the same.
        held = Patient.objects.filter(pk__in=patients).order_by("pk")
        held = held.select_for_update(no_key=True, skip_locked=True)
        found = ImagingServiceRequest.objects.filter(
            pk__in=orders, patient__in=list(held.values_list("pk", flat=True))
        )
        requests = privacy.unheld(found)
        below = RequestedProcedure.objects.filter(request__in=requests)
        procedures = privacy.unheld(below)
        exams = ScheduledProcedureStep.objects.filter(requested_procedure__request__in=requests)
        steps = privacy.unheld(exams.filter(over.steps))
        # Whoever hung something under one of these rows was before us, and is seen now.
        lost = below.exclude(pk__in=_pks(procedures)).values_list("request", flat=True)
        late = exams.exclude(pk__in=_pks(steps))
        stay = {*lost, *late.values_list("requested_procedure__request", flat=True)}
        requests = [row for row in requests if row.pk not in stay]
        procedures = [row for row in procedures if row.request_id not in stay]
        keys = {row.pk for row in procedures}
        _delete([row for row in steps if row.requested_procedure_id in keys])
        _delete(procedures)
        _delete(requests)
        return len(requests)


def _delete(rows: Sequence[models.Model]) -> None:
    if rows:
        trail.delete_many(rows, by=_BY, reason=_REASON, hides=privacy.CLEARED[type(rows[0])])


# --- patients without orders ----------------------------------------------------------------------


def patients_without_orders(before: dt.date, over: Over | None = None) -> QuerySet[Patient]:
    """Those whom `forget_patients` would delete once the orders that are over are gone."""
    orders = ImagingServiceRequest.objects.filter(patient=OuterRef("pk"))
    if over:
        orders = orders.exclude(pk__in=orders_over(over).values("pk"))
    return privacy.unchanged(before).filter(~Exists(orders))


def forget_patients(before: dt.date) -> Iterator[int]:
    """Delete patients who have no orders, and whose data nobody has changed since.

    Those who were merged into them go with them, and the merges. The trail is not told their names
    once more. How many, batch by batch; merged ones are not counted.
    """
    for found in _keys_of(patients_without_orders(before)):
        yield _forget_patients([key for (key,) in found], before)


def _forget_patients(keys: Sequence[int], before: dt.date) -> int:
    with transaction.atomic():
        families = _families(patients_without_orders(before).filter(pk__in=keys))
        head_of = {person.pk: head for head, several in families.items() for person in several}
        either = Q(survivor__in=head_of) | Q(merged__in=head_of)
        merges = privacy.unheld(PatientMerge.objects.filter(either))
        lost = PatientMerge.objects.filter(either).exclude(pk__in=_pks(merges))
        orders = ImagingServiceRequest.objects.filter(patient__in=head_of)
        stay = {
            *(order.patient_id for order in orders),
            *(key for merge in lost for key in (merge.survivor_id, merge.merged_id)),
        }
        for key in stay & head_of.keys():
            families.pop(head_of[key], None)
        patients = [person for several in families.values() for person in several]
        going = {person.pk for person in patients}
        merges = [row for row in merges if {row.survivor_id, row.merged_id} & going]
        trail.delete_many(merges, by=_BY, reason=_REASON, hides=("former",), label=trail.HIDDEN)
        hides = (*privacy.CLEARED[Patient], *privacy.REPLACED[Patient])
        while patients:
            # Who was merged points to whom it became.
            into = {person.merged_into_id for person in patients}
            ends = [person for person in patients if person.pk not in into]
            patients = [person for person in patients if person.pk in into]
            trail.delete_many(ends, by=_BY, reason=_REASON, hides=hides, label=trail.HIDDEN)
        return len(families)


def _families(heads: QuerySet[Patient]) -> dict[int, list[Patient]]:
    """Each of these patients with all who were merged into it; none of whom one is not ours."""
    families = {person.pk: [person] for person in privacy.unheld(heads)}
    head_of = {pk: pk for pk in families}
    newest = list(families)
    while newest:
        below = Patient.objects.filter(merged_into__in=newest)
        held = {person.pk: person for person in privacy.unheld(below)}
        newest = []
        for person in below:
            head = head_of[person.merged_into_id or 0]
            if person.pk not in held:
                families.pop(head, None)
            elif head in families:
                families[head].append(held[person.pk])
                head_of[person.pk] = head
                newest.append(person.pk)
    return families
