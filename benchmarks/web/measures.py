"""What is measured: each a function that asks once and says how long it took.

Pages are named as the urlconf names them; one that is not there is left out, with a note.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles
from urllib.parse import urlencode

from benchmarks.web.browser import Answer, Browser, Form, forms


@dataclass(frozen=True)
class Site:
    """What there is to ask about."""

    today: dt.date
    stations: tuple[int, ...]
    kinds: tuple[int, ...]
    patients: tuple[int, ...]
    # Beginnings of family names, birth dates, patient IDs: what clerks type.
    typed: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """A page, how to ask for it once, and the median that it should stay under."""

    label: str
    name: str
    aim: float
    prepare: Callable[[Browser, str, Site], Callable[[int], float]]


@dataclass(frozen=True)
class Result:
    label: str
    aim: float
    times: tuple[float, ...] = ()
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.times)

    @property
    def p99(self) -> float:
        return quantiles(self.times, n=100)[98] if len(self.times) > 1 else self.times[0]


class UnexpectedError(Exception):
    """A page answered otherwise than a measurement needs; the text says how."""


def expect(answer: Answer, status: int, of: str) -> Answer:
    if answer.status != status:
        raise UnexpectedError(f"{of} answered {answer.status}, not {status}")
    return answer


def frame(browser: Browser, path: str, site: Site) -> Callable[[int], float]:
    """What each page costs at least: session, account, rights, navigation."""
    return lambda number: expect(browser.get(path), 200, "the page").milliseconds


def board(browser: Browser, path: str, site: Site) -> Callable[[int], float]:
    address = f"{path}?day={site.today}"
    return lambda number: expect(browser.get(address), 200, "the board").milliseconds


def unchanged(browser: Browser, path: str, site: Site) -> Callable[[int], float]:
    """The board's own refresh, while nothing has changed."""
    address = f"{path}?day={site.today}"
    headers = {"HX-Request": "true", "X-Background": "1"}
    first = expect(browser.get(address, headers), 200, "the board's refresh")
    known = {name.lower(): value for name, value in first.headers.items()}
    if "etag" in known:
        headers["If-None-Match"] = known["etag"]
    elif "last-modified" in known:
        headers["If-Modified-Since"] = known["last-modified"]
    else:
        raise UnexpectedError("the board's refresh has neither ETag nor Last-Modified")
    return lambda number: (
        expect(browser.get(address, headers), 304, "the board's refresh").milliseconds
    )


def lookup(browser: Browser, path: str, site: Site) -> Callable[[int], float]:
    def once(number: int) -> float:
        typed = site.typed[number % len(site.typed)]
        address = f"{path}?{urlencode({'q': typed})}"
        return expect(browser.get(address, {"HX-Request": "true"}), 200, "the lookup").milliseconds

    return once


def booking(browser: Browser, path: str, site: Site) -> Callable[[int], float]:
    """The form as the page offers it, for another patient at a free time, is sent; that counts."""
    chance = random.Random(1)
    free = _free_times(site)

    def once(number: int) -> float:
        station, day, time = next(free)
        asked = {
            "patient": str(chance.choice(site.patients)),
            "station": str(station),
            "day": day.isoformat(),
            "time": f"{time:%H:%M}",
        }
        page = expect(browser.get(f"{path}?{urlencode(asked)}"), 200, "the form")
        form = _booking_form(page.text)
        values = _chosen(form, site)
        answer = browser.post(form.action or path, form.filled(values))
        return expect(answer, 302, "the booking").milliseconds

    return once


def _free_times(site: Site) -> Iterator[tuple[int, dt.date, dt.time]]:
    """Scanners at times at which nothing is booked: a year ahead, one exam an hour."""
    day = site.today + dt.timedelta(days=730)
    while True:
        for hour in range(8, 17):
            for station in site.stations:
                yield station, day, dt.time(hour)
        day += dt.timedelta(days=1)


def _booking_form(page: str) -> Form:
    found = [form for form in forms(page) if "station" in dict(form.fields) | form.options]
    if not found:
        raise UnexpectedError("the page has no form with a scanner")
    return found[0]


def _chosen(form: Form, site: Site) -> dict[str, str]:
    """The exam, and one of several where nothing is chosen yet."""
    filled = {name for name, value in form.fields if value}
    chosen = {
        name: next((option for option in options if option), "")
        for name, options in form.options.items()
        if name not in filled
    }
    for name in ("procedure", "procedure_type", "exam"):
        if name in form.options or name in dict(form.fields):
            kinds = [str(kind) for kind in site.kinds]
            offered = [kind for kind in kinds if kind in form.options.get(name, kinds)]
            chosen[name] = offered[0] if offered else ""
    return chosen


MEASURES = (
    Measure("frame alone", "preferences", 15, frame),
    Measure("board", "today", 60, board),
    Measure("board, unchanged", "today", 8, unchanged),
    Measure("patient lookup", "patient-lookup", 30, lookup),
    Measure("booking", "exam-new", 80, booking),
)
