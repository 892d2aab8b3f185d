"""What a page says to who saves on an old version: both values side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from worklist import history
from worklist.models import Patient
from worklist.scheduling import StaleVersion


@dataclass(frozen=True)
class Row:
    """One column that somebody else changed: what it was, what it is now, what would be saved."""

    label: str
    before: str
    now: str
    own: str


@dataclass(frozen=True)
class Stale:
    """The sentence that tells it, and what to compare."""

    sentence: str
    who: str
    rows: tuple[Row, ...]


def told(error: StaleVersion, *, own: Mapping[str, Any] | None = None) -> Stale:
    """`own` is what this person would save, by column, as the trail keeps it."""
    model = error.row._meta.label_lower
    who = history.full_names([error.actor]).get(error.actor, error.actor) or _("Somebody")
    rows = []
    columns = {change.column for change in error.changes}
    for change in error.changes:
        if not history.is_shown(change.column, columns):
            continue
        words = history.told(model, change.column, change.before, change.after)
        mine = "–"
        if own and change.column in own:
            mine = history.word(model, change.column, own[change.column])
        rows.append(Row(words.label, words.before, words.after, mine))
    told = {
        "who": who,
        "ago": history.ago(error.at),
        "what": ", ".join(f"{row.label} {row.before} → {row.now}" for row in rows) or "–",
    }
    if isinstance(error.row, Patient):
        sentence = _(
            "%(who)s changed this patient %(ago)s (%(what)s). "
            "Look at the new version, then save again."
        )
    else:
        sentence = _(
            "%(who)s changed this exam %(ago)s (%(what)s). "
            "Look at the new version, then save again."
        )
    return Stale(sentence % told, who, tuple(rows))
