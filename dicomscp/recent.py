"""What stations asked of late: of many stations at once, in a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from dicomscp.models import Query
from worklist.models import Station, StationTitle


def column(stations: Sequence[Station], name: str, count: int) -> dict[int, list[Any]]:
    """A column of the last queries of each station, by its pk: so many of each of its AE titles.

    Two statements, each of which takes the entries of an index and no more.
    """
    keys = [station.pk for station in stations]
    found: dict[int, list[Any]] = defaultdict(list)
    for station, *values in (
        *_of_titles(Station.objects.filter(pk__in=keys), "pk", name, count),
        *_of_titles(StationTitle.objects.filter(station__in=keys), "station_id", name, count),
    ):
        found[station] += [value for value in values if value is not None]
    return found


def _of_titles(
    rows: QuerySet[Any], station: str, name: str, count: int
) -> QuerySet[Any, tuple[Any, ...]]:
    queries = Query.objects.filter(calling=OuterRef("ae_title")).order_by("-at", "-id").values(name)
    last = {f"last_{n}": Subquery(queries[n : n + 1]) for n in range(count)}
    return rows.order_by("pk").annotate(**last).values_list(station, *last)
