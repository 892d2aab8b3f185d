"""Scanners that poll and clerks that book, each in a thread; what each of them met with."""

from __future__ import annotations

import datetime as dt
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.parse import urlencode

from benchmarks import packets, queries
from benchmarks.load import received
from benchmarks.packets import WrongAnswerError
from benchmarks.soak.ledger import Failure, Ledger
from benchmarks.web.browser import Browser, Form, forms

WITHIN = 15.0  # seconds: nobody waits longer for an answer
# Patient ID (0010,0020) in an Identifier in Implicit VR Little Endian.
_PATIENT = re.compile(rb"\x10\x00\x20\x00(..)\x00\x00", re.DOTALL)


@dataclass
class Met:
    """What scanners, or clerks, met with: milliseconds of what went well, and the rest."""

    times: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def patients(answer: bytes) -> list[str]:
    """The patient IDs of a whole answer, one a response. Raises WrongAnswerError."""
    found = packets.strictly(answer)
    if found.statuses[-1] != 0:
        raise WrongAnswerError(f"status {found.statuses[-1]:04X}")
    told = []
    for each in _PATIENT.finditer(answer):
        length = int.from_bytes(each[1], "little")
        told.append(answer[each.end() : each.end() + length].decode().strip())
    if len(told) != len(found.statuses) - 1:
        raise WrongAnswerError(f"{len(told)} patient IDs in {len(found.statuses) - 1} responses")
    return told


class Scanner(threading.Thread):
    """Asks for its exams of today and for those that are booked, by turns, until it is over."""

    def __init__(
        self,
        title: str,
        address: str,
        port: int,
        ledger: Ledger,
        met: Met,
        over: threading.Event,
        *,
        today: dt.date,
        later: dt.date,
        every: float,
    ) -> None:
        super().__init__(daemon=True, name=f"scanner {title}")
        self._title, self._address, self._port = title, address, port
        self._ledger, self._met, self._over, self._every = ledger, met, over, every
        self._chance = random.Random(title)
        self._today, self._later = (
            packets.find_rq(
                queries.identifier(
                    {"PatientID": "", "AccessionNumber": "", "PatientName": ""},
                    {"ScheduledStationAETitle": title, "ScheduledProcedureStepStartDate": days},
                )
            )
            for days in (f"{today:%Y%m%d}", f"{later:%Y%m%d}-")
        )

    def run(self) -> None:
        is_today = True
        while not self._over.wait(self._every * self._chance.uniform(0.5, 1.5)):
            certain, began = self._ledger.certain(self._title), time.monotonic()
            try:
                found = self._ask(self._today if is_today else self._later)
            except (OSError, WrongAnswerError, ValueError) as error:
                how = str(error) or type(error).__name__
                self._met.failures.append(Failure(began, time.monotonic(), how))
                continue
            self._met.times.append((time.monotonic() - began) * 1000)
            fault = (
                self._ledger.fault_of_today(self._title, found)
                if is_today
                else self._ledger.fault_of_later(self._title, certain, found)
            )
            if fault:
                self._met.wrong.append(f"{self._title}: {fault}")
            is_today = not is_today

    def _ask(self, request: bytes) -> list[str]:
        line = socket.create_connection(
            ("127.0.0.1", self._port), timeout=WITHIN, source_address=(self._address, 0)
        )
        with line:
            line.sendall(packets.associate_rq(calling=self._title, called="WORKLIST"))
            received(line, packets.acceptance())
            line.sendall(request)
            answer = received(line, packets.matches())
            line.sendall(packets.RELEASE_RQ)
            received(line, packets.release())
        return patients(answer)


@dataclass(frozen=True)
class Desk:
    """What a clerk books: free times of scanners (key and AE title), exams, patients by key."""

    times: Iterator[tuple[int, str, dt.date, dt.time]]
    kinds: tuple[int, ...]
    patients: Iterator[tuple[int, str]]


class Clerk(threading.Thread):
    """Books one exam after the other, by the form of the web, until it is over."""

    def __init__(
        self,
        browser: Browser,
        path: str,
        desk: Desk,
        lock: threading.Lock,
        ledger: Ledger,
        met: Met,
        over: threading.Event,
        *,
        every: float,
    ) -> None:
        super().__init__(daemon=True, name="clerk")
        self._browser, self._path, self._desk, self._lock = browser, path, desk, lock
        self._ledger, self._met, self._over, self._every = ledger, met, over, every
        self._chance = random.Random(1)

    def run(self) -> None:
        while not self._over.wait(self._every * self._chance.uniform(0.5, 1.5)):
            with self._lock:
                station, title, day, at = next(self._desk.times)
                patient, patient_id = next(self._desk.patients, (0, ""))
            if not patient_id:
                return  # everybody is booked
            asked = {"patient": str(patient), "station": str(station), "day": f"{day}"}
            began = time.monotonic()
            try:
                milliseconds = self._book(asked | {"time": f"{at:%H:%M}"}, title, patient_id)
            except (OSError, HTTPException, _NotSavedError) as error:
                how = str(error) or type(error).__name__
                self._met.failures.append(Failure(began, time.monotonic(), how))
                self._browser.connection.close()
            else:
                self._met.times.append(milliseconds)

    def _book(self, asked: dict[str, str], title: str, patient_id: str) -> float:
        form = _form(self._get(f"{self._path}?{urlencode(asked)}"))
        choose = form.filled({"choose_exam": f"p{self._chance.choice(self._desk.kinds)}"})
        form = _form(self._post(choose, 200))
        self._ledger.begin(title, patient_id)
        began = time.monotonic()
        self._post(form.filled({"act": "save"}), 302)
        self._ledger.saved(title, patient_id)
        return (time.monotonic() - began) * 1000

    def _get(self, address: str) -> str:
        answer = self._browser.get(address)
        if answer.status != 200:
            raise _NotSavedError(f"status {answer.status}")
        return answer.text

    def _post(self, fields: list[tuple[str, str]], status: int) -> str:
        answer = self._browser.post(self._path, fields)
        if answer.status != status:
            raise _NotSavedError(f"status {answer.status}, not {status}")
        return answer.text


class _NotSavedError(Exception):
    """A page answered otherwise than a booking needs."""


def _form(page: str) -> Form:
    found = [form for form in forms(page) if "form_key" in dict(form.fields)]
    if not found:
        raise _NotSavedError("the page has no booking form")
    return found[0]
