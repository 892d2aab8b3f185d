"""What a page says to who saves on an old version: both values side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


# A row that has changed meanwhile, and what this person would save in it, by column, as the trail
# keeps it.
Told = tuple[StaleVersion, Mapping[str, Any]]


def told(error: StaleVersion, *, own: Mapping[str, Any] | None = None) -> Stale:
    """`own` is what this person would save, by column, as the trail keeps it."""
    return told_all([(error, own or {})])


def told_all(errors: Sequence[Told]) -> Stale:
    """The same for a form of several rows: one sentence, about the latest of the changes."""
    actors = list(dict.fromkeys(error.actor for error, _own in errors))
    called = history.full_names(actors)
    who = ", ".join(called.get(actor, actor) or _("Somebody") for actor in actors)
    rows = [row for error, own in errors for row in _rows(error, own)]
    words = {
        "who": who,
        "ago": history.ago(max((error.at for error, _own in errors if error.at), default=None)),
        "what": ", ".join(f"{row.label} {row.before} → {row.now}" for row in rows) or "–",
    }
    if isinstance(errors[0][0].row, Patient):
        sentence = _(
            "%(who)s changed this patient %(ago)s (%(what)s). "
            "Look at the new version, then save again."
        )
    else:
        sentence = _(
            "%(who)s changed this exam %(ago)s (%(what)s). "
            "Look at the new version, then save again."
        )
    return Stale(sentence % words, who, tuple(rows))


def _rows(error: StaleVersion, own: Mapping[str, Any]) -> list[Row]:
    model = error.row._meta.label_lower
    columns = {change.column for change in error.changes}
    rows = []
    for change in error.changes:
        if not history.is_shown(change.column, columns):
            continue
        words = history.told(model, change.column, change.before, change.after)
        mine = (
            history.word(model, change.column, own[change.column]) if change.column in own else "–"
        )
        rows.append(Row(words.label, words.before, words.after, mine))
    return rows
