"""What a row was read with: a save then writes what its holder changed, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Self

from django.db import models


class Loaded(models.Model):
    """A row that remembers the columns that it was read with.

    Between the reading and the writing somebody else may have changed others of its columns.
    """

    class Meta:
        abstract = True

    _read_with: dict[str, Any]

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], **options: Any
    ) -> Self:
        row = super().from_db(db, field_names, values, **options)
        row._read_with = dict(zip(field_names, values, strict=True))
        return row

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Self] | None = None,
    ) -> None:
        named = None if fields is None else list(fields)
        super().refresh_from_db(using=using, fields=named, from_queryset=from_queryset)
        remember(self, named)


def remember(row: models.Model, fields: Sequence[str] | None = None) -> None:
    """What the row holds now is what the database holds; of these fields, or of all."""
    unread = row.get_deferred_fields()
    read = dict(getattr(row, "_read_with", {}))
    for field in row._meta.concrete_fields:
        if (fields is None or field.name in fields) and field.attname not in unread:
            read[field.attname] = getattr(row, field.attname)
    row._read_with = read  # type: ignore[attr-defined]  # a row that does not remember looks at none


def take_over(row: models.Model, stored: models.Model) -> None:
    """Give a row that was read some time ago what others have stored meanwhile.

    The columns that its own holder has changed stay. A row that does not remember keeps all.
    """
    unread = row.get_deferred_fields()
    read: dict[str, Any] = getattr(row, "_read_with", {})
    for field in row._meta.concrete_fields:
        name = field.attname
        is_untouched = name in unread or (name in read and getattr(row, name) == read[name])
        now = getattr(stored, name)
        if is_untouched and (name in unread or read[name] != now):
            setattr(row, name, now)
