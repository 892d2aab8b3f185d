"""What happened to a row, in words: who, when, what it was and is, and why. Reads alone."""

from __future__ import annotations

import datetime as dt
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
from worklist.audit.models import AuditEvent, actions
from worklist.models import StepStatus, User

# What follows from other columns, or says nothing to a clerk.
HIDDEN = frozenset({"station_names", "end_date", "step_id", "merged_into", "requested_procedure"})
# Columns that changed, at most, that one line of the history names.
_SHOWN = 12


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
    """One event of a row's history. `reason` is in the language of the screen where it is ours."""

    at: dt.datetime
    who: str
    what: str
    changes: tuple[Told, ...]
    reason: str


def of(*rows: models.Model, looks: bool = False) -> tuple[Line, ...]:
    """The history of these rows together, the newest first: two statements."""
    where = Q()
    for row in rows:
        where |= Q(model=row._meta.label_lower, object_id=str(row.pk))
    events = AuditEvent.objects.filter(where)
    if not looks:
        events = events.filter(action__in=("create", "change", "delete"))
    found = list(events)
    people = full_names({event.actor for event in found})
    return tuple(_line(event, people) for event in _first_creation(found))


def _first_creation(events: Sequence[AuditEvent]) -> Iterable[AuditEvent]:
    """An exam is booked once, though step, procedure and request are each created."""
    created = [event for event in events if event.action == "create"]
    return [event for event in events if event.action != "create" or event is created[-1]]


def full_names(usernames: Iterable[str]) -> dict[str, str]:
    """What people are called, by account; programs are called by their own name."""
    found = User.objects.filter(username__in=set(usernames))
    return {user.username: user.get_full_name() or user.username for user in found}


def _line(event: AuditEvent, people: dict[str, str]) -> Line:
    changed = event.action == "change"
    return Line(
        at=event.at,
        who=people.get(event.actor, event.actor),
        what=_what(event),
        changes=tuple(
            told(event.model, column, event.before.get(column), after)
            for column, after in list(event.after.items())[:_SHOWN]
            if is_shown(column, event.after)
        )
        if changed
        else (),
        reason=said(event.reason),
    )


def _what(event: AuditEvent) -> str:
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


def told(model: str, column: str, before: Any, after: Any) -> Told:
    """A change of this column of `app.model`, in words."""
    return Told(label(model, column), word(model, column, before), word(model, column, after))


def label(model: str, column: str) -> str:
    known = _labels().get(column)
    if known:
        return known
    field = _field(model, column)
    return str(getattr(field, "verbose_name", column)) if field is not None else column


def word(model: str, column: str, value: Any) -> str:
    """A column's value, as the trail keeps it, in words."""
    field = _field(model, column)
    if value in (None, "", []):
        return "–"
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
        related = field.remote_field.model._base_manager.filter(pk=value).first()
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
