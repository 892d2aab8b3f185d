"""What the audit trail holds, told in words: labels, choices, names and the rows that are named.

Nothing is written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils.translation import gettext as _

from worklist import names
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Snapshot
from worklist.models import Patient

# What a machine reads: the bytes of a query.
_NOT_WORDS = frozenset({"identifier"})
_Related = dict[tuple[type[models.Model], Any], str]


@dataclass(frozen=True)
class Change:
    """One column, before and after."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Told:
    """An event and what it changed, in words."""

    event: AuditEvent
    changes: tuple[Change, ...]


def tell(events: Iterable[AuditEvent]) -> list[Told]:
    """These events in words; the rows that their columns name are read once a model."""
    events = list(events)
    models_of = {event.pk: _model(event.model) for event in events}
    related = _labels(
        (models_of[event.pk], side) for event in events for side in (event.before, event.after)
    )
    return [
        Told(event, tuple(_changes(models_of[event.pk], event.before, event.after, related, {})))
        for event in events
    ]


def compare(
    model: type[models.Model],
    before: Snapshot,
    after: Snapshot,
    *,
    labels: Mapping[str, str] | None = None,
) -> tuple[Change, ...]:
    """The columns in which two states of a row differ, in words."""
    differing = [name for name in after if before.get(name) != after[name]]
    before = {name: before.get(name) for name in differing}
    after = {name: after[name] for name in differing}
    related = _labels([(model, before), (model, after)])
    return tuple(_changes(model, before, after, related, labels or {}))


def _model(label: str) -> type[models.Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):  # of a model that is gone, or of no model
        return None


def _changes(
    model: type[models.Model] | None,
    before: Snapshot,
    after: Snapshot,
    related: _Related,
    labels: Mapping[str, str],
) -> Iterable[Change]:
    """The columns that hold, or held, something."""
    for name in {**before, **after}:
        if name in _NOT_WORDS:
            continue
        field = _field(model, name)
        old, new = (_words(field, side.get(name), related) for side in (before, after))
        label = labels.get(name) or _label(field, name)
        if seen := _seen(model, name, after.get(name)):
            label, new = _("Patients"), "; ".join(related.get(key, str(key[1])) for key in seen)
        if old or new:
            yield Change(label, old, new)


def _field(model: type[models.Model] | None, name: str) -> Any:
    try:
        return model._meta.get_field(name) if model else None
    except FieldDoesNotExist:  # the model had this column once
        return None


def _label(field: Any, name: str) -> str:
    """What a column is called; a list of parts, after its rows."""
    if isinstance(field, models.ManyToOneRel):
        return str(field.related_model._meta.verbose_name_plural)
    return str(getattr(field, "verbose_name", name))


def _seen(
    model: type[models.Model] | None, name: str, value: Any
) -> list[tuple[type[models.Model], int]]:
    """The patients whom a list has shown, which is of no one row."""
    if model is not None or name != "patients" or not isinstance(value, list):
        return []
    return [(Patient, key) for key in value if isinstance(key, int)]


def _words(field: Any, value: Any, related: _Related) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if value is None or value == "":
        return ""
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    if isinstance(field, models.ForeignKey):
        return related.get((field.related_model, value), str(value))
    choice = dict(getattr(field, "flatchoices", ())).get(value)
    if choice:
        return str(choice)
    if getattr(field, "vr", "") == "PN":
        return ", ".join(names.text(name) for name in str(value).split("\\"))
    return str(value).replace("\\", ", ")


def _labels(states: Iterable[tuple[type[models.Model] | None, Snapshot]]) -> _Related:
    """What the rows that foreign keys lead to are called."""
    wanted: dict[type[models.Model], set[Any]] = defaultdict(set)
    for model, state in states:
        for name, value in state.items():
            field = _field(model, name)
            if isinstance(field, models.ForeignKey) and value is not None:
                wanted[field.related_model].add(value)
            for patient, key in _seen(model, name, value):
                wanted[patient].add(key)
    return {
        (model, key): str(row)
        for model, keys in wanted.items()
        for key, row in model._base_manager.in_bulk(list(keys)).items()
    }
