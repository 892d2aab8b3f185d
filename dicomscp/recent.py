"""What stations asked of late: of many stations at once, in a fixed number of statements."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from dicomscp.models import Query
from worklist.models import Station, StationTitle

# Parts that both databases take in one statement.
_MOST_PARTS = 400


def column(stations: Sequence[Station], name: str, count: int) -> dict[int, list[Any]]:
    """A column of the last queries of each station, by its pk: so many of each of its AE titles.

    Two statements, each of which takes the entries of an index and no more. For a few queries:
    each is a part of the statement.
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


def times(stations: Sequence[Station], count: int) -> dict[int, list[dt.datetime]]:
    """When each of these stations asked, by its pk, the oldest first; of those that did.

    So many of the last times of each of its AE titles. Two statements for up to 400 titles.
    """
    by_title = {station.ae_title: station.pk for station in stations}
    further = StationTitle.objects.filter(station__in=stations)
    by_title = dict(further.values_list("ae_title", "station")) | by_title
    found: dict[int, list[dt.datetime]] = defaultdict(list)
    for title, at in _last_times(list(by_title), count):
        found[by_title[title]].append(at)
    return {pk: sorted(asked) for pk, asked in found.items()}


def _last_times(titles: Sequence[str], count: int) -> Iterator[tuple[str, dt.datetime]]:
    """The last queries of each title: an index has each title's at its end."""
    table = Query._meta.db_table
    for start in range(0, len(titles), _MOST_PARTS):
        part = titles[start : start + _MOST_PARTS]
        # A limit for each is more than the ORM can say. What is put in here are names of our own.
        one = (
            f"SELECT * FROM (SELECT id, calling, at FROM {table} WHERE calling = %s"
            f" ORDER BY at DESC LIMIT {count:d}) AS"
        )
        sql = " UNION ALL ".join(f"{one} t{number}" for number in range(len(part)))
        for query in Query.objects.raw(sql, part):
            yield query.calling, query.at
