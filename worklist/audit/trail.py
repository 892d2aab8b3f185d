"""Signed writes: row and AuditEvent in one transaction. Our rows are saved and deleted here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from django.db import models, router, transaction
from django.db.models import F
from django.db.models.deletion import Collector
from django.utils import timezone

from worklist.audit import inserts
from worklist.audit.loaded import remember, take_over
from worklist.audit.models import AuditEvent, Outcome

_BATCH = 500
# That these changed is signed; what they hold never enters the trail.
_SECRETS = frozenset({"password"})
# What stands in the place of a value that does not.
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Actor:
    """Who writes: an account's name or a command's, and the address it came from, if any."""

    name: str
    address: str | None = None


Snapshot = dict[str, Any]
_Many: TypeAlias = "models.ManyToManyField[Any, Any]"


def save(
    obj: models.Model,
    *,
    by: Actor,
    lists: Mapping[str, Sequence[models.Model]] | None = None,
    reason: str = "",
    hides: Collection[str] = (),
) -> AuditEvent | None:
    """Write a row, and the ordered related rows named in `lists`, and sign it.

    Answers None and writes nothing when nothing changed. The row is validated by the caller. What
    others have stored since it was read stays, but for the columns that were changed in `obj`. A
    row that has a `version` counts it up with each change, and the `revision` of what hangs below
    it. A list may also name rows that are part of this one (its `parts`): those given take the
    place of those there. Of the columns that it `hides`, the event says that they changed, and not
    what they held.
    """
    with transaction.atomic():
        row = _locked(obj)
        if row is not None:
            take_over(obj, row)
        before = snapshot(row) if row is not None else None
        new_lists = [
            name for name, related in (lists or {}).items() if not _is_list(obj, name, related)
        ]
        columns = snapshot(obj, lists=False)
        if before is not None and not new_lists and columns.items() <= before.items():
            return None
        if row is not None and hasattr(row, "version"):
            # The version counts the changes of the row, whichever of them `obj` has seen.
            obj.version = row.version + 1  # type: ignore[attr-defined]
            obj.changed_at = timezone.now()  # type: ignore[attr-defined]
        obj.save()
        remember(obj)
        for name in new_lists:
            _set_list(obj, name, (lists or {})[name])
        if before is not None:
            _revise_below(obj)
        action = "change" if before is not None else "create"
        return _sign(action, obj, before or {}, new_lists, by=by, reason=reason, hides=hides)


def note(
    action: str,
    obj: models.Model | None = None,
    *,
    by: Actor,
    label: str = "",
    details: Mapping[str, Any] | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    reason: str = "",
) -> AuditEvent:
    """Sign what writes no row: a look ("view", "print", "export"), a "test", a sign-in, and so on.

    `details` are fit for JSON. What is not of the worklist's rows has a verb in `happenings`.
    """
    event = noted(action, obj, by=by, label=label, details=details, outcome=outcome, reason=reason)
    event.save(force_insert=True)
    return event


def noted(
    action: str,
    obj: models.Model | None = None,
    *,
    by: Actor,
    label: str = "",
    details: Mapping[str, Any] | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    reason: str = "",
) -> AuditEvent:
    """The event of `note`, dated now and not yet written, for `sign`."""
    return AuditEvent(
        actor=by.name[:150],
        address=by.address,
        action=action,
        outcome=outcome,
        reason=reason[:200],
        model=obj._meta.label_lower if obj else "",
        object_id=str(obj.pk) if obj else "",
        object_label=(label or (str(obj) if obj else ""))[:200],
        after=dict(details or {}),
    )


def sign(events: Sequence[AuditEvent]) -> None:
    """Write events that were noted before, in their order: all of them or none.

    Those of a time that failed may be given again: each is there once, whether it was its end or
    only the word of it that was lost.
    """
    # They were marked then.
    tried = {event.mark: event.at for event in events if event.mark}
    there: set[str] = set()
    if tried:
        span = (min(tried.values()), max(tried.values()))
        found = AuditEvent.objects.filter(at__range=span, mark__in=tried)
        there = set(found.values_list("mark", flat=True))
    inserts.insert([event for event in events if not event.mark or event.mark not in there])


def delete(
    obj: models.Model, *, by: Actor, reason: str = "", hides: Collection[str] = ()
) -> AuditEvent:
    """Delete a row and sign it; of the columns that it `hides` the event does not say the values.

    Raises ProtectedError when other rows need it.
    """
    with transaction.atomic():
        row = _locked(obj)
        before = _without(hides, snapshot(row)) if row else {}
        event = _event("delete", obj, before, {}, by=by, reason=reason)
        obj.delete()
        event.save(force_insert=True)
        return event


def delete_many(
    objects: Sequence[models.Model],
    *,
    by: Actor,
    reason: str = "",
    hides: Collection[str] = (),
    label: str = "",
) -> None:
    """Delete rows of one model in bulk, each with its event; the caller holds them as they are.

    A `label` stands in the events in the place of what the rows call themselves. Raises
    ProtectedError when other rows need them.
    """
    if not objects:
        return
    with transaction.atomic():
        snapshots = [snapshot(obj, lists=False) for obj in objects]
        for name in _lists(objects[0]):
            related = _ordered(objects, name)
            for obj, columns in zip(objects, snapshots, strict=True):
                columns[name] = [str(row) for row in related[obj.pk]]
        events = [
            _event("delete", obj, _without(hides, columns), {}, by=by, reason=reason, label=label)
            for obj, columns in zip(objects, snapshots, strict=True)
        ]
        # As a QuerySet deletes, which would read the rows once more.
        collector = Collector(using=router.db_for_write(type(objects[0])))
        collector.collect(objects)
        collector.delete()
        sign(events)


def insert_many(
    objects: Sequence[models.Model],
    *,
    by: Actor,
    lists: Mapping[str, Sequence[Sequence[models.Model]]] | None = None,
) -> None:
    """Write new rows of one model in bulk, each with its event.

    `lists` names related lists; each holds one list of stored rows an object, in their order.
    """
    if not objects:
        return
    with transaction.atomic():
        type(objects[0])._default_manager.bulk_create(objects, batch_size=_BATCH)
        snapshots = [snapshot(obj, lists=False) for obj in objects]
        for name, several in (lists or {}).items():
            _insert_lists(objects, name, several)
            for columns, related in zip(snapshots, several, strict=True):
                columns[name] = [str(row) for row in related]
        sign(
            [
                _event("create", obj, {}, columns, by=by)
                for obj, columns in zip(objects, snapshots, strict=True)
            ]
        )


def _insert_lists(
    objects: Sequence[models.Model], name: str, several: Sequence[Sequence[models.Model]]
) -> None:
    field, through = _many(objects[0], name)
    through._default_manager.bulk_create(
        (
            through(
                **{field.m2m_field_name(): obj, field.m2m_reverse_field_name(): row},
                **({"position": position} if _has_position(through) else {}),
            )
            for obj, related in zip(objects, several, strict=True)
            for position, row in enumerate(related)
        ),
        batch_size=_BATCH,
    )


def snapshot(obj: models.Model, *, lists: bool = True) -> Snapshot:
    """The row's columns by name, and its lists of related rows as labels, fit for JSON."""
    columns = {
        field.name: plain(field.value_from_object(obj))
        for field in obj._meta.concrete_fields
        if field.editable and not field.primary_key
    }
    if lists:
        for name in _lists(obj):
            columns[name] = [str(related) for related in ordered(obj, name)]
    return columns


def _lists(obj: models.Model) -> tuple[str, ...]:
    return (*(many.name for many in obj._meta.many_to_many), *_parts(obj))


def _parts(obj: models.Model) -> tuple[str, ...]:
    """The rows that are a part of this one and of no other, by the names that lead to them.

    A model names them in `parts`. They are written, and signed, as lists of the row.
    """
    return getattr(obj, "parts", ())


def ordered(obj: models.Model, name: str) -> list[models.Model]:
    """The related rows of a many-to-many field, in the order of its through model if it has one.

    Parts stand in an order of their own.
    """
    return _ordered([obj], name)[obj.pk]


def _ordered(objects: Sequence[models.Model], name: str) -> dict[Any, list[models.Model]]:
    """The same of several rows, by their keys, in one statement."""
    found: dict[Any, list[models.Model]] = {obj.pk: [] for obj in objects}
    if name in _parts(objects[0]):
        part: Any = objects[0]._meta.get_field(name)
        mine = part.related_model._default_manager.filter(**{f"{part.field.name}__in": found})
        for row in mine:
            found[getattr(row, part.field.attname)].append(row)
        return found
    field, through = _many(objects[0], name)
    source, target = field.m2m_field_name(), field.m2m_reverse_field_name()
    rows = through._default_manager.filter(**{f"{source}__in": found})
    rows = rows.order_by("position" if _has_position(through) else f"{target}_id")
    for row in rows.select_related(target):
        found[getattr(row, f"{source}_id")].append(getattr(row, target))
    return found


def _in_order(
    obj: models.Model, name: str, related: Sequence[models.Model]
) -> Sequence[models.Model]:
    """The related rows as `ordered` will give them back."""
    if name in _parts(obj) or _has_position(_many(obj, name)[1]):
        return related
    return sorted(related, key=lambda row: row.pk)


def _is_list(obj: models.Model, name: str, related: Sequence[models.Model]) -> bool:
    """Whether these are the related rows that the database holds, in their order."""
    if obj.pk is None:
        return False
    present = ordered(obj, name)
    if name in _parts(obj):
        # New rows for those there: they have no keys yet, but all that they hold is in their text.
        return [str(part) for part in present] == [str(part) for part in related]
    return [row.pk for row in present] == [row.pk for row in _in_order(obj, name, related)]


def _set_parts(obj: models.Model, name: str, parts: Sequence[models.Model]) -> None:
    relation: Any = obj._meta.get_field(name)
    for part in ordered(obj, name):
        part.delete()
    for part in parts:
        setattr(part, relation.field.name, obj)
    relation.related_model._default_manager.bulk_create(parts)


def _set_list(obj: models.Model, name: str, related: Sequence[models.Model]) -> None:
    if name in _parts(obj):
        _set_parts(obj, name, related)
        return
    field, through = _many(obj, name)
    related = _in_order(obj, name, related)
    through._default_manager.filter(**{field.m2m_field_name(): obj.pk}).delete()
    through._default_manager.bulk_create(
        through(
            **{field.m2m_field_name(): obj, field.m2m_reverse_field_name(): row},
            **({"position": position} if _has_position(through) else {}),
        )
        for position, row in enumerate(related)
    )


def _many(obj: models.Model, name: str) -> tuple[_Many, type[models.Model]]:
    field = obj._meta.get_field(name)
    assert isinstance(field, models.ManyToManyField)
    assert field.remote_field.through is not None
    return field, field.remote_field.through


def _has_position(through: type[models.Model]) -> bool:
    return any(field.name == "position" for field in through._meta.concrete_fields)


def _locked(obj: models.Model) -> Any:
    """The row as the database holds it, locked until the transaction ends; None if it is new."""
    if obj.pk is None:
        return None
    return obj._meta.model._base_manager.select_for_update().filter(pk=obj.pk).first()


def _revise_below(obj: models.Model) -> None:
    """Count up the `revision` of the rows that hang below this one, at the end of all `below`.

    Each row names in `below` those under it. They are locked from the top down, each level in the
    order of its keys. On PostgreSQL a transaction that hangs a new row under one of them then ends
    after ours: nobody sees that row, which is not counted, under what stood above it before.
    """
    model: Any = type(obj)
    keys = [obj.pk]
    while keys and hasattr(model, "below"):
        relation = model._meta.get_field(model.below)
        model = relation.related_model
        rows = model._base_manager.filter(**{f"{relation.field.name}__in": keys}).order_by("pk")
        keys = list(rows.select_for_update().values_list("pk", flat=True))
    if keys and hasattr(model, "revision") and not isinstance(obj, model):
        model._base_manager.filter(pk__in=keys).update(revision=F("revision") + 1)


def _sign(
    action: str,
    obj: models.Model,
    before: Snapshot,
    new_lists: Sequence[str],
    *,
    by: Actor,
    reason: str,
    hides: Collection[str],
) -> AuditEvent:
    after = snapshot(obj)
    if action == "change":
        # Other rows of a list may read like those before.
        changed = [name for name in after if after[name] != before.get(name) or name in new_lists]
        before = {name: before.get(name) for name in changed}
        after = {name: after[name] for name in changed}
    event = _event(action, obj, _without(hides, before), after, by=by, reason=reason)
    event.save(force_insert=True)
    return event


def _without(hidden: Collection[str], columns: Snapshot) -> Snapshot:
    return {name: HIDDEN if name in hidden and value else value for name, value in columns.items()}


def _event(
    action: str,
    obj: models.Model,
    before: Snapshot,
    after: Snapshot,
    *,
    by: Actor,
    reason: str = "",
    label: str = "",
) -> AuditEvent:
    return AuditEvent(
        actor=by.name[:150],
        address=by.address,
        action=action,
        reason=reason[:200],
        model=obj._meta.label_lower,
        object_id=str(obj.pk),
        object_label=(label or str(obj))[:200],
        before=_without_secrets(before),
        after=_without_secrets(after),
    )


def _without_secrets(columns: Snapshot) -> Snapshot:
    return {name: HIDDEN if name in _SECRETS else value for name, value in columns.items()}


def plain(value: Any) -> Any:
    """A column's value as the trail keeps it, fit for JSON."""
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
