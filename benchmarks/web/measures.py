"""What is measured: each a function that asks once and says how long it took.

Pages are named as the urlconf names them; one that is not there is left out, with a note.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from statistics import median, quantiles
from urllib.parse import urlencode

from django.urls import reverse

from benchmarks.web.browser import Answer, Browser, Form, forms


@dataclass(frozen=True)
class Site:
    """What there is to ask about."""

    today: dt.date
    free_from: dt.date
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
    """The options under the search box, as they are asked for while somebody types."""
    token = dict(_first_form(browser, reverse("exam-new")).fields)["csrfmiddlewaretoken"]

    def once(number: int) -> float:
        typed = site.typed[number % len(site.typed)]
        fields = [("patient_query", typed), ("csrfmiddlewaretoken", token)]
        return expect(browser.post(path, fields), 200, "the lookup").milliseconds

    return once


def booking(browser: Browser, path: str, site: Site) -> Callable[[int], float]:
    """Patient, scanner and time come with the address, the exam is chosen; the save is measured."""
    chance = random.Random(1)
    free = _free_times(site)
    # One after the other: nobody comes twice in a day.
    patients = cycle(site.patients)

    def once(number: int) -> float:
        station, day, time = next(free)
        asked = {
            "patient": str(next(patients)),
            "station": str(station),
            "day": day.isoformat(),
            "time": f"{time:%H:%M}",
        }
        form = _first_form(browser, f"{path}?{urlencode(asked)}")
        choose = form.filled({"choose_exam": f"p{chance.choice(site.kinds)}"})
        page = expect(browser.post(path, choose), 200, "the form with the exam")
        answer = browser.post(path, _of(page).filled({"act": "save"}))
        return expect(answer, 302, "the booking").milliseconds

    return once


def _first_form(browser: Browser, address: str) -> Form:
    return _of(expect(browser.get(address), 200, "the form"))


def _of(answer: Answer) -> Form:
    """The booking form of a page."""
    found = [form for form in forms(answer.text) if "form_key" in dict(form.fields)]
    if not found:
        raise UnexpectedError("the page has no booking form")
    return found[0]


def _free_times(site: Site) -> Iterator[tuple[int, dt.date, dt.time]]:
    """Scanners at times at which nothing is booked yet, one exam an hour."""
    day = site.free_from
    while True:
        for hour in range(8, 17):
            for station in site.stations:
                yield station, day, dt.time(hour)
        day += dt.timedelta(days=1)


MEASURES = (
    Measure("frame alone", "preferences", 15, frame),
    Measure("board", "today", 60, board),
    Measure("board, unchanged", "today", 8, unchanged),
    Measure("patient lookup", "exam-new-patients", 30, lookup),
    Measure("booking", "exam-new", 80, booking),
)
