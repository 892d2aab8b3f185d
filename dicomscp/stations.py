"""What is set of the station that calls, by its AE title: read in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from dicomscp.scope import NO_RULES, OPEN_STATUSES, Rules
from worklist import character_set as sets
from worklist.character_set import CharacterSet
from worklist.models import Station, StationTitle

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
_OTHER = (
    "pk",
    "name",
    "is_allowed",
    "networks",
    "certificates",
    "character_set",
    "ignored_keys",
)
_PARTS = (
    "titles__ae_title",
    "modality_aliases__asked",
    "modality_aliases__held",
    "shown_statuses__status",
)


@dataclass(frozen=True)
class Known:
    """A station that is set up: whether and from where it may call, and its rules."""

    pk: int
    is_allowed: bool
    networks: str
    rules: Rules
    # The fingerprints of those that it may show; (): it needs none.
    certificates: tuple[str, ...] = ()


def known(ae_title: str) -> Known | None:
    """The station that calls under this AE title, its first one or a further one."""
    further = StationTitle.objects.filter(ae_title=ae_title).values("station")
    # Should a title be in both tables, it is the station's whose first title it is.
    rank = Case(When(ae_title=ae_title, then=Value(0)), default=1, output_field=IntegerField())
    stations = Station.objects.filter(Q(ae_title=ae_title) | Q(pk__in=further))
    return _read(stations.annotate(rank=rank).order_by("rank", "pk"))


def of(station: Station) -> Known:
    """What is stored of this station."""
    found = _read(Station.objects.filter(pk=station.pk).order_by("pk"))
    assert found is not None
    return found


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


def _read(stations: QuerySet[Station]) -> Known | None:
    """The first of these. Its parts are joined: a row for each way to put one of each together."""
    rows: list[dict[str, Any]] = list(stations.values(*_SAME, *_OTHER, *_PARTS))
    mine = [row for row in rows if row["pk"] == rows[0]["pk"]]
    if not mine:
        return None
    first = mine[0]
    titles, asked, held, statuses = ([row[part] for row in mine] for part in _PARTS)
    aliases = {pair for pair in zip(asked, held, strict=True) if pair[0]}
    rules = Rules(
        titles=tuple(sorted({title for title in titles if title})),
        aliases=tuple(sorted(aliases)),
        statuses=tuple(sorted({status for status in statuses if status})) or OPEN_STATUSES,
        character_set=terms(first["character_set"]),
        ignored=tuple(first["ignored_keys"].split()),
        **{name: first[name] for name in _SAME},
    )
    certificates = tuple(first["certificates"].split())
    return Known(first["pk"], first["is_allowed"], first["networks"], rules, certificates)
