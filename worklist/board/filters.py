"""What of which day the board shows, and how: its query string and its search. No database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from worklist import clock
from worklist.dates import parse_day
from worklist.models import FINAL, StepStatus

VIEWS = ("list", "times")
ALL, OPEN = "all", "open"
# Days that have a day before and after them, and a week.


def _printable(text: str) -> str:
    """A text of the address without what no database takes."""
    return "".join(character for character in text if character.isprintable())


@dataclass(frozen=True)
class Filters:
    """What of which day is shown, and how: the board's query string, and the search beside it.

    Whom one searches for stands in no address: those end in histories and in logs of proxies.
    `status` "" is all but cancelled, "open" what is still to be done, "all" everything.
    """

    day: dt.date
    modality: str = ""
    station: int | None = None
    status: str = ""
    q: str = ""
    view: str = "list"

    @classmethod
    def of(cls, query: Mapping[str, str], *, search: str = "") -> Filters:
        """The filters of a query string; what makes no sense there is as if it were not."""
        day = parse_day(query.get("day", "")) or clock.today()
        station, status, view = (query.get(name, "") for name in ("station", "status", "view"))
        return cls(
            day=day,
            modality=_printable(query.get("modality", ""))[:16],
            station=int(station)
            if station.isascii() and station.isdigit() and len(station) < 18
            else None,
            status=status if status in (ALL, OPEN, *StepStatus) else "",
            q=_printable(search).strip()[:64],
            view=view if view in VIEWS else "list",
        )

    def query(self, **changes: Any) -> str:
        """The query string of these filters with some of them changed; today is left out."""
        wanted = replace(self, **changes)
        shown = {
            "day": "" if wanted.day == clock.today() else wanted.day.isoformat(),
            "modality": wanted.modality,
            "station": wanted.station or "",
            "status": wanted.status,
            "view": "" if wanted.view == "list" else wanted.view,
        }
        return "?" + urlencode({name: value for name, value in shown.items() if value})

    @property
    def narrowing(self) -> int:
        """How many filters leave exams out, besides the day and the search."""
        return sum(map(bool, (self.modality, self.station, self.status)))

    def has_status(self, status: str) -> bool:
        if self.status == ALL:
            return True
        if self.status == OPEN:
            return status not in FINAL
        return status == self.status if self.status else status != StepStatus.CANCELED
