"""What events are about, in DICOM's words, and with it the messages of many events.

A row that is gone is told by the event that made or deleted it. What an event itself holds (an ID
that it changed) goes before what the row holds today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from django.apps import apps
from django.conf import settings

from worklist.audit import looks, messages, trail
from worklist.audit.messages import Person, Source, Subject
from worklist.audit.models import AuditEvent

_BATCH = 500
_Columns = Mapping[str, Any]
_Mapped = Mapping[int, _Columns]

# From the step up: each names the next by a column, and what messages want of it.
_STEP, _PROCEDURE, _REQUEST, _PATIENT, _MERGE = (
    "worklist.scheduledprocedurestep",
    "worklist.requestedprocedure",
    "worklist.imagingservicerequest",
    "worklist.patient",
    "worklist.patientmerge",
)
_WANTED = {
    _STEP: ("requested_procedure",),
    _PROCEDURE: ("request", "study_instance_uid"),
    _REQUEST: ("patient", "accession_number"),
    _MERGE: ("survivor", "merged"),
    _PATIENT: ("patient_id", "name"),
}
_ABOVE = {
    _STEP: {"requested_procedure": _PROCEDURE},
    _PROCEDURE: {"request": _REQUEST},
    _REQUEST: {"patient": _PATIENT},
    _MERGE: {"survivor": _PATIENT, "merged": _PATIENT},
    _PATIENT: {},
}


def source() -> Source:
    """This installation, as its messages name it."""
    return Source(settings.AE_TITLE, settings.SITE_NAME)


def in_xml(events: Iterable[AuditEvent]) -> Iterator[tuple[AuditEvent, bytes]]:
    """Each event with its message, in their order; a batch is in memory at a time."""
    reporter, rest = source(), iter(events)
    while batch := list(islice(rest, _BATCH)):
        about = subjects(batch)
        for event in batch:
            yield event, messages.xml(event, about[event.pk], reporter)


def subjects(events: Iterable[AuditEvent]) -> dict[int, Subject]:
    """What each event is about, by its number: at most two statements a model, however many."""
    events = list(events)
    keys: dict[str, set[int]] = {model: set() for model in _WANTED}
    own = {event.pk: _of_event(event) for event in events}
    for event in events:
        if event.model in keys and event.object_id.isdecimal():
            keys[event.model].add(int(event.object_id))
            _climb(keys, event.model, own[event.pk])
        keys[_PATIENT].update(looks.patients_of(event))
    rows: dict[str, dict[int, _Columns]] = {}
    for model in _WANTED:
        rows[model] = _rows(model, keys[model])
        for columns in rows[model].values():
            _climb(keys, model, columns)
    return {event.pk: _subject(event, own[event.pk], rows) for event in events}


def _climb(keys: dict[str, set[int]], model: str, columns: _Columns) -> None:
    for column, above in _ABOVE[model].items():
        if isinstance(columns.get(column), int):
            keys[above].add(columns[column])


def _of_event(event: AuditEvent) -> dict[str, Any]:
    """What it holds; what it hides, an earlier one may have told."""
    held = {**event.before, **event.after}
    return {name: value for name, value in held.items() if value != trail.HIDDEN}


def _rows(model: str, keys: set[int]) -> dict[int, _Columns]:
    """The columns of these rows that messages want, by the rows' numbers."""
    if not keys:
        return {}
    manager = apps.get_model(model)._base_manager
    found: dict[int, _Columns] = {
        row["pk"]: row for row in manager.filter(pk__in=keys).values("pk", *_WANTED[model])
    }
    gone = keys - found.keys()
    if gone:
        told = AuditEvent.objects.filter(
            model=model,
            object_id__in=[str(key) for key in gone],
            action__in=("create", "delete"),
        )
        for event in told.order_by("pk"):
            key = int(event.object_id)
            found[key] = {**found.get(key, {}), **_of_event(event)}
    return found


def _subject(event: AuditEvent, own: _Columns, rows: Mapping[str, _Mapped]) -> Subject:
    if listed := looks.patients_of(event):
        return Subject(tuple(_person(key, {}, rows) for key in listed))
    if event.model not in _WANTED or not event.object_id.isdecimal():
        return Subject()
    key, model, columns = int(event.object_id), event.model, own
    study = accession = ""
    while model not in (_PATIENT, _MERGE):
        columns = {**rows[model].get(key, {}), **columns}
        study = str(columns.get("study_instance_uid", study))
        accession = str(columns.get("accession_number", accession))
        ((column, above),) = _ABOVE[model].items()
        if not isinstance(columns.get(column), int):
            return Subject((), (study,) if study else (), accession)
        key, model, columns = columns[column], above, {}
    if model == _MERGE:
        columns = {**rows[model].get(key, {}), **columns}
        pair = [columns[name] for name in ("survivor", "merged") if columns.get(name)]
        return Subject(tuple(_person(one, {}, rows) for one in pair))
    return Subject((_person(key, columns, rows),), (study,) if study else (), accession)


def _person(key: int, own: _Columns, rows: Mapping[str, _Mapped]) -> Person:
    columns = {**rows[_PATIENT].get(key, {}), **own}
    return Person(str(columns.get("patient_id", "")), str(columns.get("name", "")))
