"""Clerks who book one exam after the other, and what must be there of it afterwards.

WORKLIST_SEED says what they do when they are not answered.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from itertools import count
from typing import Any

from benchmarks.web.browser import Answer
from tests.faults.site import Site
from tests.pages import fields

SEED = int(os.environ.get("WORKLIST_SEED", "1"))
LETTERS = str.maketrans("0123456789", "BCDFGHJKLM")
# What is above each step, and the events that sign how they were made.
_ROWS = """
SELECT p.patient_id, s.id, r.id, i.id, p.id FROM worklist_patient p
LEFT JOIN worklist_imagingservicerequest i ON i.patient_id = p.id
LEFT JOIN worklist_requestedprocedure r ON r.request_id = i.id
LEFT JOIN worklist_scheduledprocedurestep s ON s.requested_procedure_id = r.id
"""
_MODELS = ("scheduledprocedurestep", "requestedprocedure", "imagingservicerequest", "patient")


def faults(connection: Any, acknowledged: set[str], perhaps: set[str]) -> Iterator[str]:
    """What is missing, half, twice or unsigned. Who was not acknowledged may be there, or not."""
    stored: dict[str, list[Any]] = {}
    for patient_id, *keys in connection.execute(_ROWS).fetchall():
        stored.setdefault(patient_id, []).append(keys)
    signed = Counter(
        (model.removeprefix("worklist."), int(key))
        for model, key in connection.execute(
            "SELECT model, object_id FROM audit_auditevent"
            " WHERE action = 'create' AND model LIKE 'worklist.%'"
        ).fetchall()
    )
    for name in sorted(acknowledged - stored.keys()):
        yield f"{name} is lost"
    for name in sorted(stored.keys() - acknowledged - perhaps):
        yield f"{name} was never sent"
    for name, rows in sorted(stored.items()):
        if len(rows) != 1:
            yield f"{name} is there {len(rows)} times"
        for keys in rows:
            if None in keys:
                yield f"{name} is there in part"
            times = [signed[model, key] for model, key in zip(_MODELS, keys, strict=True) if key]
            if any(each != 1 for each in times):
                yield f"{name} is signed {times} times"


class Clerk(threading.Thread):
    """Books one new patient after the other; sends half of what was not answered again."""

    def __init__(self, site: Site, number: int, is_over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.site, self.number, self.is_over = site, number, is_over
        self.chance = random.Random(f"{SEED} {number}")
        self.sent: set[str] = set()
        self.saved: set[str] = set()
        self.refused = ""
        self.again = 0
        self.browser = site.clerk()
        page = self.post({"choose_patient": "new", **self.form("/exams/new/?")})
        self.usual = fields(self.post({**fields(page), "choose_exam": "p1"}))

    def form(self, path: str) -> dict[str, Any]:
        return fields(self.browser.get(path).text)

    def post(self, values: dict[str, Any]) -> str:
        answer = self.browser.post("/exams/new/", list(values.items()))
        assert answer.status == 200, answer.text
        return answer.text

    def run(self) -> None:
        for turn in count():
            if self.is_over.is_set():
                return
            self.book(*self.typed(turn))

    def typed(self, turn: int) -> tuple[str, dict[str, Any]]:
        """The booking of a new patient: the ID, and the form as it is sent."""
        name = f"C{self.number}-{turn}"
        number = turn * 4 + self.number
        born = dt.date(1930, 1, 1) + dt.timedelta(days=number * 7)
        start = dt.datetime(2031, 1, 6, 8) + dt.timedelta(
            days=number // 30, minutes=15 * (number % 30)
        )
        return name, {
            **self.usual,
            "form_key": str(uuid.uuid4()),
            "family": f"{name[0]}{str(number * 7919 % 99991).translate(LETTERS)}",
            "given": str(number).translate(LETTERS),
            "patient_id": name,
            "born": f"{born}",
            "sex": "M",
            "0-day": f"{start:%Y-%m-%d}",
            "0-time": f"{start:%H:%M}",
            "act": "save",
        }

    def send(self, name: str, form: dict[str, Any]) -> Answer:
        """Send a booking once."""
        self.sent.add(name)
        answer = self.browser.post("/exams/new/", list(form.items()))
        if answer.status in (302, 303):
            self.saved.add(name)
        return answer

    def book(self, name: str, form: dict[str, Any]) -> None:
        """Send a booking until it is answered, or give it up."""
        is_patient = self.chance.random() < 0.5
        while not self.is_over.is_set():
            with suppress(OSError, HTTPException):
                answer = self.send(name, form)
                if name in self.saved:
                    return
                if answer.status < 500:
                    self.refused = f"{name}: {answer.status} {_problems(answer.text)}"
                    self.is_over.set()
                    return
            if not is_patient:
                return
            self.again += 1
            self.is_over.wait(0.1)


def _problems(page: str) -> str:
    return " ".join(re.findall(r'class="problem[^>]*>(.*?)<', page, re.S))[:400]
