"""Nobody saves over what somebody else has saved: a save on an old version is told what changed.

Programs that write without having shown anything to a person give no version.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from worklist.audit.models import AuditEvent
from worklist.models.versions import Versioned


@dataclass(frozen=True)
class Change:
    """A column that somebody changed meanwhile: what the person saw, and what it holds now."""

    column: str
    before: Any
    after: Any


class StaleVersion(Exception):
    """Somebody else saved first: who, when, and what it was and is now.

    `also` are the other rows of one form of which this is true as well.
    """

    also: tuple[StaleVersion, ...] = ()

    def __init__(
        self, row: Versioned, *, actor: str, at: dt.datetime | None, changes: tuple[Change, ...]
    ) -> None:
        super().__init__(f"{row._meta.label_lower} {row.pk} is version {row.version}")
        self.row = row
        self.actor = actor
        self.at = at
        self.changes = changes


_Row = TypeVar("_Row", bound=Versioned)


def locked(row: _Row, *, version: int | None = None) -> _Row:
    """The row as it stands now, ours until the transaction ends.

    Raises StaleVersion when `version`, which a person saw, is not its version any more.
    """
    now: _Row = type(row)._default_manager.select_for_update().get(pk=row.pk)
    check(now, version=version)
    return now


def lock_all(seen: Iterable[tuple[Versioned, int]]) -> None:
    """Make these rows ours until the transaction ends, in the versions that a person saw.

    What hangs below another comes before it; it is locked after it, as by whoever changes that one.
    """
    held = [(locked(row), version) for row, version in reversed(list(seen))]
    check_all(reversed(held))


def check_all(seen: Iterable[tuple[Versioned, int | None]]) -> None:
    """Raise one StaleVersion that tells of all rows that have changed since these versions."""
    stale = []
    for row, version in seen:
        try:
            check(row, version=version)
        except StaleVersion as error:
            stale.append(error)
    if stale:
        stale[0].also = tuple(stale[1:])
        raise stale[0]


def check(row: Versioned, *, version: int | None) -> None:
    """Raise StaleVersion when the row has changed since this version of it."""
    if version is None or row.version == version:
        return
    changed = (
        AuditEvent.objects.filter(
            model=row._meta.label_lower, object_id=str(row.pk), action="change"
        )
        # Each change counted the version up by one.
        .order_by("-id")[: max(0, row.version - version)]
    )
    events = list(changed)[::-1]
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for event in events:
        before = {**event.before, **before}
        after |= event.after
    raise StaleVersion(
        row,
        actor=events[-1].actor if events else "",
        at=events[-1].at if events else row.changed_at,
        changes=tuple(
            Change(column, before.get(column), after[column])
            for column in after
            if before.get(column) != after[column]
        ),
    )
