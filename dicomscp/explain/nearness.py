"""What a key nearly asked for: the value that is held, but for case, blanks, or the like.

A person who sees the two beside each other often does not see the difference.
Pure: no database, no network.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from dicomscp.matching import (
    Between,
    Condition,
    Either,
    Interval,
    Like,
    NameLike,
    OneOf,
    is_like,
)
from worklist import values
from worklist.values import Value


class Near(enum.StrEnum):
    """In what alone two values differ, or why a value that is there does not count."""

    EMPTY = "empty"
    CASE = "case"
    BLANKS = "blanks"
    DASH = "dash"
    ZEROS = "zeros"
    ACCENTS = "accents"
    COMMA = "comma"
    SWAPPED = "swapped"
    BEGINNING = "beginning"
    OTHER_DAY = "other-day"
    OTHER_TIME = "other-time"


@dataclass(frozen=True)
class Nearness:
    """The differences; `days` is how much later than asked for the day is that is held."""

    kinds: tuple[Near, ...] = ()
    days: int = 0


FAR = Nearness()


def of(condition: Condition, held: Sequence[Value]) -> Nearness:
    """How near the held values come to a condition that they do not meet.

    Of an Interval, `held` are the days.
    """
    if not held:
        return Nearness((Near.EMPTY,))
    if isinstance(condition, Either):
        return of(condition.conditions[0], held)
    if isinstance(condition, Between | Interval):
        return _of_moment(condition.low, condition.high, held[0])
    if isinstance(condition, NameLike):
        return _first(
            _of_names(pattern, group)
            for pattern in condition.groups
            for name in held
            for group in values.fold_name(str(name)).split("=")
        )
    if isinstance(condition, OneOf):
        if isinstance(held[0], dt.date | dt.time):
            return _of_moment(condition.wanted[0], condition.wanted[-1], held[0])
        return _of_texts(tuple(map(str, condition.wanted)), held)
    if isinstance(condition, Like):
        return _of_texts(condition.patterns, held)
    return FAR


def of_titles(wanted: str, held: str) -> tuple[Near, ...]:
    """In what alone two AE titles differ; () when they have little in common."""
    return tuple(kind for kind in _of_text(wanted, held).kinds if kind is not Near.BEGINNING)


def _first(found: Iterator[Nearness]) -> Nearness:
    return next((each for each in found if each.kinds), FAR)


# --- texts ----------------------------------------------------------------------------------------

_FORGIVING: dict[Near, Callable[[str], str]] = {
    Near.CASE: str.casefold,
    Near.BLANKS: lambda text: re.sub(r"\s+", "", text),
    Near.DASH: lambda text: re.sub(r"[-_.]", "", text),
    Near.ZEROS: lambda text: re.sub(r"(?<!\d)0+(?=\d)", "", text),
    Near.ACCENTS: lambda text: _plain(text),
}
_MOST_DIFFERENCES = 3


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(one for one in decomposed if not unicodedata.combining(one))


def _of_texts(wanted: Sequence[str], held: Sequence[Value]) -> Nearness:
    return _first(_of_text(one, str(value)) for one in wanted for value in held)


def _of_text(wanted: str, held: str) -> Nearness:
    for count in range(1, _MOST_DIFFERENCES + 1):
        for kinds in combinations(_FORGIVING, count):
            one, other = wanted, held
            for kind in kinds:
                one, other = _FORGIVING[kind](one), _FORGIVING[kind](other)
            if one and is_like(other, one):
                return Nearness(kinds)
    return Nearness((Near.BEGINNING,)) if _begins(wanted, held) else FAR


def _begins(wanted: str, held: str) -> bool:
    return len(wanted) > 1 and is_like(held, f"{wanted}*")


def _of_names(pattern: str, group: str) -> Nearness:
    """Of folded names: the same words in another order, or with other signs between them."""
    if not pattern.strip("*") or not group:
        return FAR
    found = _of_text(pattern, group)
    if found.kinds:
        return found
    asked, held = (re.split(r"[\s^,]+", text.strip("*^, ")) for text in (pattern, group))
    if sorted(map(_plain, asked)) != sorted(map(_plain, held)):
        return FAR
    return Nearness((Near.COMMA,) if "^" not in pattern else (Near.SWAPPED,))


# --- days and times -------------------------------------------------------------------------------


def _of_moment(low: object, high: object, held: Value) -> Nearness:
    low, high = (one.date() if isinstance(one, dt.datetime) else one for one in (low, high))
    if isinstance(held, dt.date):
        if isinstance(low, dt.date) and held < low:
            return Nearness((Near.OTHER_DAY,), (held - low).days)
        if isinstance(high, dt.date) and held > high:
            return Nearness((Near.OTHER_DAY,), (held - high).days)
    # The days are among those that are asked for: it is the time of day.
    return Nearness((Near.OTHER_TIME,))
