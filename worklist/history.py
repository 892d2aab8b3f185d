"""What happened to a row, in words: who, when, what it was and is, and why. Reads alone."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from worklist import names, values
from worklist.audit import trail
from worklist.audit.models import AuditEvent, actions
from worklist.models import Patient, PatientMerge, StepStatus, User

# What follows from other columns, or says nothing to a clerk.
HIDDEN = frozenset(
    {
        "station_names",
        "end_date",
        "step_id",
        "merged_into",
        "requested_procedure",
        "undone_at",
    }
)
# Columns that changed, at most, that one line of the history names.
_SHOWN = 12
# What rows are called, by model and key.
Named = dict[tuple[type[models.Model], Any], str]


def _labels() -> dict[str, str]:
    """The columns that clerks change, in their words."""
    return {
        "start_date": _("day"),
        "start_time": _("time"),
        "end_time": _("end"),
        "stations": _("scanner"),
        "status": _("status"),
        "performing_physician": _("performing physician"),
        "requesting_physician": _("requesting physician"),
        "referring_physician": _("referring physician"),
        "priority": _("priority"),
        "transport": _("transport"),
        "comments": _("comments"),
        "reason": _("reason for the exam"),
        "patient_location": _("ward or place"),
        "admission_id": _("admission number"),
        "placer_order_number": _("order number"),
        "accession_number": _("accession number"),
        "description": _("exam"),
        "patient": _("patient"),
        "name": _("name"),
        "patient_id": _("patient ID"),
        "birth_date": _("date of birth"),
        "sex": _("sex"),
        "allergies": _("allergies"),
        "medical_alerts": _("medical alerts"),
        "special_needs": _("special needs"),
        "other_ids": _("other IDs"),
        "other_names": _("other names"),
        "pregnancy_status": _("pregnancy"),
        "weight": _("weight (kg)"),
    }


@dataclass(frozen=True)
class Told:
    """One column that changed, in words: time 10:00 → 10:30."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Line:
    """One event of a row's history: `more` are the changes after the first ones.

    `reason` is in the language of the screen where it is ours.
    """

    at: dt.datetime
    who: str
    what: str
    changes: tuple[Told, ...]
    reason: str
    more: tuple[Told, ...] = ()


def of(*rows: models.Model, looks: bool = False) -> tuple[Line, ...]:
    """The history of these rows together, the newest first.

    Two statements, and one for each model that the rows name.
    """
    where = Q()
    for row in rows:
        where |= Q(model=row._meta.label_lower, object_id=str(row.pk))
    events = AuditEvent.objects.filter(where)
    if not looks:
        events = events.filter(action__in=("create", "change", "delete"))
    found = list(events)
    people = full_names({event.actor for event in found})
    named = _named(found)
    return tuple(_line(event, people, named) for event in _first_creation(found))


def _first_creation(events: Sequence[AuditEvent]) -> Iterable[AuditEvent]:
    """An exam is booked once, though step, procedure and request are each created."""
    merge = PatientMerge._meta.label_lower
    created = [event for event in events if event.action == "create" and event.model != merge]
    return [event for event in events if event not in created[:-1]]


def _named(events: Sequence[AuditEvent]) -> Named:
    """What the rows are called that the columns of these events name, one statement a model."""
    wanted: dict[type[models.Model], set[Any]] = defaultdict(set)
    for event in events:
        if event.action == "create" and event.model != PatientMerge._meta.label_lower:
            continue
        for column, value in [*event.before.items(), *event.after.items()]:
            field = _field(event.model, column)
            if isinstance(field, models.ForeignKey) and value is not None:
                wanted[field.related_model].add(value)
    return {
        (model, key): str(row)
        for model, keys in wanted.items()
        for key, row in model._base_manager.in_bulk(list(keys)).items()
    }


def full_names(usernames: Iterable[str]) -> dict[str, str]:
    """What people are called, by account; programs are called by their own name."""
    found = User.objects.filter(username__in=set(usernames))
    return {user.username: user.get_full_name() or user.username for user in found}


def _line(event: AuditEvent, people: dict[str, str], named: Named) -> Line:
    changed = event.action == "change"
    changes = [
        told(event.model, column, event.before.get(column), after, named)
        for column, after in event.after.items()
        if changed and is_shown(column, event.after)
    ]
    return Line(
        at=event.at,
        who=people.get(event.actor, event.actor),
        what=_what(event, named),
        changes=tuple(changes[:_SHOWN]),
        more=tuple(changes[_SHOWN:]),
        reason=said(event.reason),
    )


def _what(event: AuditEvent, named: Named) -> str:
    if event.model == PatientMerge._meta.label_lower:
        if event.action != "create":
            return _("A merge into this patient was taken back")
        merged = event.after.get("merged")
        return _("%(patient)s was merged into this patient") % {
            "patient": named.get((Patient, merged), merged)
        }
    if event.action == "change" and "merged_into" in event.after:
        survivor = event.after["merged_into"]
        if survivor is None:
            return _("The merge into another patient was taken back")
        return _("Merged into %(patient)s") % {"patient": named.get((Patient, survivor), survivor)}
    after = event.after.get("status") if event.action == "change" else None
    if after == StepStatus.CANCELED:
        return _("Cancelled")
    return dict(actions()).get(event.action, event.action)


def is_shown(column: str, changed: Container[str]) -> bool:
    """Whether a change of this column says anything beside the others: an end moves along."""
    return column not in HIDDEN and not (column == "end_time" and "start_time" in changed)


def said(reason: str) -> str:
    """A reason as a person reads it: ours are kept in English and translated here."""
    return _(reason) if reason else ""


def told(model: str, column: str, before: Any, after: Any, named: Named | None = None) -> Told:
    """A change of this column of `app.model`, in words."""
    old, new = (word(model, column, value, named) for value in (before, after))
    return Told(label(model, column), old, new)


def label(model: str, column: str) -> str:
    known = _labels().get(column)
    if known:
        return known
    field = _field(model, column)
    return str(getattr(field, "verbose_name", column)) if field is not None else column


def word(model: str, column: str, value: Any, named: Named | None = None) -> str:
    """A column's value, as the trail keeps it, in words; `named` are the rows that are read."""
    field = _field(model, column)
    if value in (None, "", []):
        return "–"
    if value == trail.HIDDEN:
        return _("(hidden)")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(field, models.DateField):
        return str(date_format(dt.date.fromisoformat(value)))
    if isinstance(field, models.TimeField):
        return f"{dt.time.fromisoformat(value):%H:%M}"
    choices = dict(getattr(field, "flatchoices", ()) or ())
    if value in choices:
        return str(choices[value])
    if isinstance(field, models.ForeignKey):
        target = field.remote_field.model
        if named is not None:
            return named.get((target, value), str(value))
        related = target._base_manager.filter(pk=value).first()
        return str(related) if related else str(value)
    several = values.split(str(value))
    if getattr(field, "vr", "") == "PN":
        return ", ".join(names.text(each) for each in several)
    return ", ".join(several)


def _field(model: str, column: str) -> Any:
    try:
        return apps.get_model(model)._meta.get_field(column)
    except (LookupError, FieldDoesNotExist):
        return None


def ago(at: dt.datetime | None) -> str:
    """20 seconds ago, 5 minutes ago, else the date and time."""
    if at is None:
        return ""
    seconds = max(0, int((timezone.now() - at).total_seconds()))
    if seconds < 60:
        return ngettext("%(n)d second ago", "%(n)d seconds ago", seconds) % {"n": seconds}
    if seconds < 3600:
        n = seconds // 60
        return ngettext("%(n)d minute ago", "%(n)d minutes ago", n) % {"n": n}
    when = timezone.localtime(at)
    return _("on %(date)s, %(time)s") % {"date": date_format(when.date()), "time": f"{when:%H:%M}"}
