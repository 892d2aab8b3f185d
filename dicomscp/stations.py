"""What is set of the station that calls, by its AE title: read in one statement.

The SCP remembers it together with the count of shared rows (worklist.shared), which is another one
as soon as anything that is set of any station is committed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.db import models
from django.db.models import Case, IntegerField, OuterRef, Q, Value, When

from dicomscp import stamp
from dicomscp.answers import ANSWERS
from dicomscp.layout import entries
from dicomscp.scope import NO_RULES, OPEN_STATUSES, Rules
from dicomscp.statement import AsJson, Statement
from worklist import character_set as sets
from worklist.character_set import CharacterSet
from worklist.models import ModalityAlias, ShownStatus, Station, StationTitle

# Columns that the rules call by the same name.
_SAME = (
    "ae_title",
    "modality",
    "sees",
    "calling_title_counts",
    "hours_before",
    "hours_after",
    "keys_override_window",
    "match_limit",
    "alphabetic_only",
)
_OTHER = ("pk", "is_allowed", "networks", "certificates", "character_set", "ignored_keys")
# Rows of their own, and what of each.
_PARTS: dict[str, tuple[type[models.Model], list[str]]] = {
    "titles": (StationTitle, ["ae_title"]),
    "aliases": (ModalityAlias, ["asked", "held"]),
    "statuses": (ShownStatus, ["status"]),
}
# Stands for the AE title that is asked about, in the statement that is written once.
_ASKED = "the AE title"


@dataclass(frozen=True)
class Known:
    """A station that is set up: whether and from where it may call, and its rules."""

    pk: int
    is_allowed: bool
    networks: str
    rules: Rules
    # The fingerprints of those that it may show; (): it needs none.
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """A station as it was when the shared rows had this count."""

    station: Known
    count: str
    # That of the answers: it is another one as soon as there may be another database.
    age: int

    @property
    def still_holds(self) -> bool:
        """Whether nothing is set otherwise by now; one statement."""
        return stamp.count() == self.count


# By AE title, as it was asked for last.
_seen: dict[str, Seen] = {}
_MOST_SEEN = 1024


def known(ae_title: str) -> Known | None:
    """The station that calls under this AE title, its first one or a further one."""
    found = _read(ae_title)
    return found[0] if found else None


def now(ae_title: str) -> Known | None:
    """The same; what is remembered is only looked at for whether it holds."""
    seen = remembered(ae_title)
    if seen is not None and seen.still_holds:
        return seen.station
    age = ANSWERS.age
    found = _read(ae_title)
    forget(ae_title)
    if found is None:
        return None
    station, count = found
    if count is not None:
        if len(_seen) >= _MOST_SEEN:
            _seen.clear()
        _seen[ae_title] = Seen(station, count, age)
    return station


def remembered(ae_title: str) -> Seen | None:
    """The station as it was lately, if that is remembered; whether it holds is another matter."""
    seen = _seen.get(ae_title)
    return seen if seen is not None and seen.age == ANSWERS.age else None


def forget(ae_title: str) -> None:
    """Remember nothing of the station: under what was remembered, its query could not be read."""
    _seen.pop(ae_title, None)


# In a process that was forked all is read anew.
os.register_at_fork(after_in_child=_seen.clear)


def _read(ae_title: str) -> tuple[Known, str | None] | None:
    """The station that calls under this AE title, and the count of shared rows with it."""
    rows = _by_title().rows({_ASKED: ae_title})
    return (_known(rows[0][:-1]), rows[0][-1]) if rows else None


def of(station: Station) -> Known:
    """What is stored of this station."""
    (row,) = _statement(Station.objects.filter(pk=station.pk).order_by("pk")).rows()
    return _known(row[:-1])


@cache
def _by_title() -> Statement:
    further = StationTitle.objects.filter(ae_title=_ASKED).values("station")
    # Should a title be in both tables, it is the station's whose first title it is.
    rank = Case(When(ae_title=_ASKED, then=Value(0)), default=1, output_field=IntegerField())
    stations = Station.objects.filter(Q(ae_title=_ASKED) | Q(pk__in=further))
    return _statement(stations.annotate(rank=rank).order_by("rank", "pk")[:1])


def rules(ae_title: str) -> Rules:
    """The rules of the station that calls under this AE title; of a stranger, none."""
    station = known(ae_title)
    return station.rules if station else NO_RULES


def rules_of(
    station: Station,
    *,
    titles: Sequence[str],
    aliases: Sequence[tuple[str, str]],
    statuses: Sequence[str],
) -> Rules:
    """The rules of a station with these parts, stored or not."""
    return Rules(
        titles=tuple(sorted(titles)),
        aliases=tuple(sorted(aliases)),
        statuses=tuple(sorted(statuses)) or OPEN_STATUSES,
        character_set=terms(station.character_set),
        ignored=tuple(station.ignored_keys.split()),
        **{name: getattr(station, name) for name in _SAME},
    )


def terms(stored: str) -> CharacterSet | None:
    """The terms of a station's column, which holds them as they stand on the wire."""
    return sets.read(stored.encode("ascii")) if stored else None


def _statement(stations: models.QuerySet[Station]) -> Statement:
    """These stations, each with its parts in one row, and the count of shared rows behind them."""
    parts = {
        f"parts_{name}": AsJson(
            model._default_manager.filter(station=OuterRef("pk")).order_by(*columns), columns
        )
        for name, (model, columns) in _PARTS.items()
    }
    columns = (*_SAME, *_OTHER, *parts, "count")
    rows = stations.annotate(**parts, count=stamp.Count()).values_list(*columns)
    return Statement(rows, is_steady=True)


@lru_cache(maxsize=1024)
def _known(row: tuple[Any, ...]) -> Known:
    """A row as the rules it holds; the same object for the same row."""
    same = dict(zip(_SAME, row, strict=False))
    other = dict(zip(_OTHER, row[len(_SAME) :], strict=False))
    titles, aliases, statuses = (entries(part) for part in row[-len(_PARTS) :])
    rules = Rules(
        titles=tuple(sorted(title for (title,) in titles)),
        aliases=tuple(sorted((asked, held) for asked, held in aliases)),
        statuses=tuple(sorted(status for (status,) in statuses)) or OPEN_STATUSES,
        character_set=terms(other["character_set"]),
        ignored=tuple(other["ignored_keys"].split()),
        **same,
    )
    return Known(
        pk=other["pk"],
        is_allowed=other["is_allowed"],
        networks=other["networks"],
        rules=rules,
        certificates=tuple(other["certificates"].split()),
    )
