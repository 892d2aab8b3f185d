"""Signed writes: row and AuditEvent in one transaction. Our rows are saved and deleted here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from django.db import models, transaction

from worklist.audit.models import AuditEvent

_BATCH = 500
# That these changed is signed; what they hold never enters the trail.
_SECRETS = frozenset({"password"})


@dataclass(frozen=True)
class Actor:
    """Who writes: an account's name or a command's, and the address it came from, if any."""

    name: str
    address: str | None = None


Snapshot = dict[str, Any]
_Many: TypeAlias = "models.ManyToManyField[Any, Any]"


def save(
    obj: models.Model, *, by: Actor, lists: Mapping[str, Sequence[models.Model]] | None = None
) -> AuditEvent | None:
    """Write a row, and the ordered related rows named in `lists`, and sign it.

    Answers None and signs nothing when nothing changed. The row is validated by the caller.
    """
    with transaction.atomic():
        before = _stored(obj)
        obj.save()
        for name, related in (lists or {}).items():
            _set_list(obj, name, related)
        return _sign("change" if before is not None else "create", obj, before or {}, by=by)


def delete(obj: models.Model, *, by: Actor) -> AuditEvent:
    """Delete a row and sign it. Raises ProtectedError when other rows need it."""
    with transaction.atomic():
        before = _stored(obj) or {}
        event = _event("delete", obj, before, {}, by=by)
        obj.delete()
        event.save(force_insert=True)
        return event


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
        AuditEvent.objects.bulk_create(
            (
                _event("create", obj, {}, columns, by=by)
                for obj, columns in zip(objects, snapshots, strict=True)
            ),
            batch_size=_BATCH,
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
        field.name: _plain(field.value_from_object(obj))
        for field in obj._meta.concrete_fields
        if field.editable and not field.primary_key
    }
    if lists:
        for many in obj._meta.many_to_many:
            columns[many.name] = [str(related) for related in ordered(obj, many.name)]
    return columns


def ordered(obj: models.Model, name: str) -> list[models.Model]:
    """The related rows of a many-to-many field, in the order of its through model if it has one."""
    field, through = _many(obj, name)
    target = field.m2m_reverse_field_name()
    rows = through._default_manager.filter(**{field.m2m_field_name(): obj.pk})
    rows = rows.order_by("position" if _has_position(through) else target + "_id")
    return [getattr(row, target) for row in rows.select_related(target)]


def _set_list(obj: models.Model, name: str, related: Sequence[models.Model]) -> None:
    field, through = _many(obj, name)
    if not _has_position(through):
        related = sorted(related, key=lambda row: row.pk)
    if [row.pk for row in ordered(obj, name)] == [row.pk for row in related]:
        return
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


def _stored(obj: models.Model) -> Snapshot | None:
    """What the database holds of this row, locked until the transaction ends; None if it is new."""
    if obj.pk is None:
        return None
    rows: Iterable[models.Model] = type(obj)._base_manager.select_for_update().filter(pk=obj.pk)
    for row in rows:
        return snapshot(row)
    return None


def _sign(action: str, obj: models.Model, before: Snapshot, *, by: Actor) -> AuditEvent | None:
    after = snapshot(obj)
    if action == "change":
        changed = [name for name in after if after[name] != before.get(name)]
        if not changed:
            return None
        before = {name: before.get(name) for name in changed}
        after = {name: after[name] for name in changed}
    event = _event(action, obj, before, after, by=by)
    event.save(force_insert=True)
    return event


def _event(
    action: str,
    obj: models.Model,
    before: Snapshot,
    after: Snapshot,
    *,
    by: Actor,
) -> AuditEvent:
    return AuditEvent(
        actor=by.name[:150],
        address=by.address,
        action=action,
        model=obj._meta.label_lower,
        object_id=str(obj.pk),
        object_label=str(obj)[:200],
        before=_without_secrets(before),
        after=_without_secrets(after),
    )


def _without_secrets(columns: Snapshot) -> Snapshot:
    return {name: "(hidden)" if name in _SECRETS else value for name, value in columns.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
