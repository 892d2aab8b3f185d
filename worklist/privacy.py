"""Patients who have had their time become pseudonyms; all of one patient is told.

What the audit trail was told stays as it was written: it is sealed, and kept for its own reasons.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from worklist.audit import looks, trail
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    PatientMerge,
    RequestedProcedure,
    ScheduledProcedureStep,
)

_Row = TypeVar("_Row", bound=models.Model)

# Every column of the four is of one of these kinds, which the tests hold: what tells who somebody
# is, or may (free text), goes; what leads to the images, or tells what was done, stays.
CLEARED: dict[type[models.Model], tuple[str, ...]] = {
    Patient: (
        *("issuer", "other_ids", "other_names", "birth_date", "birth_time", "weight", "size"),
        *("confidentiality", "state", "pregnancy_status", "medical_alerts", "allergies"),
        *("special_needs", "history", "smoking_status", "last_menstrual_date"),
        *("mother_birth_name", "responsible_person", "responsible_person_role"),
        *("ethnic_group", "occupation", "address", "telephone_numbers", "comments"),
    ),
    ImagingServiceRequest: (
        *("placer_order_number", "filler_order_number", "comments", "reason", "callback_phone"),
        *("admission_id", "patient_location", "referenced_patient_class_uid"),
        *("referenced_patient_uid", "visit_status", "patient_residence", "admitting_date"),
        *("admitting_time", "admitting_diagnoses"),
    ),
    RequestedProcedure: ("reason", "confidentiality", "result_recipients", "comments"),
    ScheduledProcedureStep: ("pre_medication", "comments"),
}
REPLACED: dict[type[models.Model], tuple[str, ...]] = {Patient: ("name", "patient_id")}
KEPT: dict[type[models.Model], tuple[str, ...]] = {
    Patient: ("sex", "is_unknown", "merged_into"),
    ImagingServiceRequest: (
        *("patient", "accession_number", "requesting_physician", "referring_physician"),
        *("referring_physician_address", "requesting_service", "issue_date", "issue_time"),
        *("entered_by", "enterer_location", "institution", "institution_address"),
        *("institution_code", "department"),
    ),
    RequestedProcedure: (
        *("request", "procedure_id", "description", "code", "study_instance_uid", "study_date"),
        *("study_time", "referenced_study_class_uid", "referenced_study_uid", "priority"),
        *("transport", "reason_code", "location", "reporting_priority"),
    ),
    ScheduledProcedureStep: (
        *("requested_procedure", "step_id", "station_names", "start_date", "start_time"),
        *("end_date", "end_time", "modality", "performing_physician", "description", "location"),
        *("contrast_agent", "status"),
    ),
}


# --- pseudonyms -----------------------------------------------------------------------------------


def unchanged(before: dt.date) -> QuerySet[Patient]:
    """Patients whose data nobody has changed on this day or later.

    Those who were merged follow the one whom they became.
    """
    day = timezone.make_aware(dt.datetime.combine(before, dt.time()))
    return Patient.objects.filter(merged_into=None, changed_at__lt=day).order_by("pk")


def inactive(before: dt.date) -> QuerySet[Patient]:
    """Those of them who had no exam since, and are no pseudonyms yet."""
    since = ScheduledProcedureStep.objects.filter(
        start_date__gte=before, requested_procedure__request__patient=OuterRef("pk")
    )
    return unchanged(before).filter(~Exists(since), anonymised_at=None)


def anonymise(pk: int, *, before: dt.date, by: Actor, reason: str) -> bool:
    """Make a pseudonym of a patient and of those merged into it.

    False: something has happened, or somebody else is at one of the rows. Nobody is waited for.
    """
    with transaction.atomic():
        keys = [patient.pk for patient in family(pk)]
        of_theirs = {
            Patient: Q(pk__in=keys),
            ImagingServiceRequest: Q(patient__in=keys),
            RequestedProcedure: Q(request__patient__in=keys),
            ScheduledProcedureStep: Q(requested_procedure__request__patient__in=keys),
            PatientMerge: Q(survivor__in=keys),
        }
        rows: dict[type[models.Model], list[Any]] = {}
        for model, theirs in of_theirs.items():
            found = model._default_manager.filter(theirs)
            rows[model] = unheld(found)
            if len(rows[model]) < found.count():
                return False
        if len(family(pk)) > len(keys) or not inactive(before).filter(pk=pk).exists():
            return False
        patients, merges = rows.pop(Patient), rows.pop(PatientMerge)
        for patient in patients:
            word = secrets.token_hex(6).upper()
            patient.name, patient.patient_id = f"Anonymous^{word}", f"ANON-{word}"
            patient.anonymised_at = timezone.now()
            _clear(patient, by=by, reason=reason)
        for row in (row for several in rows.values() for row in several):
            _clear(row, by=by, reason=reason)
        for merge in merges:
            # What it would take to take it back names both.
            merge.former = {}
            trail.save(merge, by=by, reason=reason, hides=("former",))
        return True


def unheld(rows: QuerySet[_Row]) -> list[_Row]:
    """These rows, locked until the transaction ends, but for those that somebody else holds."""
    return list(rows.order_by("pk").select_for_update(of=("self",), skip_locked=True))


def _clear(row: models.Model, *, by: Actor, reason: str) -> None:
    for name in CLEARED[type(row)]:
        column: Any = row._meta.get_field(name)
        setattr(row, name, column.get_default())
    hidden = (*CLEARED[type(row)], *REPLACED.get(type(row), ()))
    trail.save(row, by=by, reason=reason, hides=hidden)


def family(pk: int) -> list[Patient]:
    """This patient and all who were merged into it, by whichever ways."""
    keys, newest = [pk], [pk]
    while newest:
        merged = Patient.objects.filter(merged_into__in=newest)
        newest = list(merged.values_list("pk", flat=True))
        keys += newest
    return list(Patient.objects.filter(pk__in=keys).order_by("pk"))


# --- all of one patient ---------------------------------------------------------------------------


def steps_of(patients: Sequence[Patient]) -> list[int]:
    found = ScheduledProcedureStep.objects.filter(
        requested_procedure__request__patient__in=patients
    )
    return list(found.order_by("pk").values_list("pk", flat=True))


def held(patients: Sequence[Patient]) -> dict[str, Any]:
    """All that the worklist and its trail hold of a family of patients, fit for JSON."""
    keys = [patient.pk for patient in patients]
    requests = list(ImagingServiceRequest.objects.filter(patient__in=keys).order_by("pk"))
    procedures = list(RequestedProcedure.objects.filter(request__in=requests).order_by("pk"))
    steps = list(
        ScheduledProcedureStep.objects.filter(requested_procedure__in=procedures).order_by("pk")
    )
    merges = list(PatientMerge.objects.filter(survivor__in=keys).order_by("pk"))
    rows: tuple[models.Model, ...] = (*patients, *requests, *procedures, *steps, *merges)
    return {
        "patients": [_columns(each) for each in patients],
        "orders": [_columns(each) for each in requests],
        "procedures": [_columns(each) for each in procedures],
        "steps": [_columns(each) for each in steps],
        "merges": [_columns(each) for each in merges],
        "audit_events": [_told(event, set(keys)) for event in _events(rows, keys)],
    }


def _columns(row: models.Model) -> dict[str, Any]:
    """A row as its signature holds it, and codes in words."""
    columns = {"id": row.pk, **trail.snapshot(row)}
    for field in row._meta.concrete_fields:
        if field.is_relation and field.name.endswith("code"):
            code = getattr(row, field.name)
            columns[field.name] = str(code) if code else None
    return columns


def _events(rows: Iterable[models.Model], patients: Sequence[int]) -> Iterable[AuditEvent]:
    about: dict[str, list[str]] = {}
    for row in rows:
        about.setdefault(row._meta.label_lower, []).append(str(row.pk))
    own = [Q(model=model, object_id__in=keys) for model, keys in about.items()]
    asked = reduce(or_, [*own, *map(looks.of_patient, patients)])
    return AuditEvent.objects.filter(asked).order_by("at", "pk")


def _told(event: AuditEvent, patients: set[int]) -> dict[str, Any]:
    """An event without the other patients whom a list has shown."""
    after = dict(event.after)
    if not event.model:
        after["patients"] = sorted(patients.intersection(looks.patients_of(event)))
    return {
        "at": event.at.isoformat(),
        "actor": event.actor,
        "address": event.address,
        "action": event.action,
        "reason": event.reason,
        "model": event.model,
        "object_id": event.object_id,
        "object": event.object_label,
        "before": event.before,
        "after": after,
    }
