"""What a booking asks for, and what was found that speaks against it."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Literal

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from worklist import clock
from worklist.models import Patient, ProcedureType, Station
from worklist.scheduling import slots
from worklist.scheduling.slots import Span

Code = Literal[
    "overlap",
    "elsewhere",
    "repeated",
    "closed",
    "modality",
    "inactive",
    "past",
    "pregnancy",
    "allergy",
    "text",
]
Level = Literal["warning", "error"]


@dataclass(frozen=True)
class Conflict:
    """One thing that speaks against a booking. `step_id` is the pk of the other step, if any.

    `about` is what it is about when that is not all that the message says. One that gives way to
    an emergency is told and signed, and asks nobody.
    """

    code: Code
    level: Level
    message: str
    step_id: int | None = None
    needs_reason: bool = False
    about: str = ""
    gives_way: bool = False

    @property
    def fingerprint(self) -> str:
        """What a person accepts who has seen it: another time, or another patient, asks again."""
        seen = f"{self.code} {self.step_id} {self.about or self.message}"
        return f"{self.code}-{hashlib.sha256(seen.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Proposal:
    """A step that is to be booked or moved; `start` is wall-clock time, `ignoring` are moved, too.

    A patient who is not registered yet has no row to be looked up. `accepted_risks` are
    fingerprints of what was accepted when it was booked, and is not asked about again. One that
    `is_moved` leaves its time or its scanner: opening hours then hold for an emergency, too, or
    whoever makes an exam an emergency could move it anywhere.
    """

    patient: Patient | None
    station: Station
    start: dt.datetime
    minutes: int
    modality: str
    procedure_type: ProcedureType | None = None
    ignoring: frozenset[int] = frozenset()
    is_emergency: bool = False
    may_override: bool = False
    is_at_new_time: bool = True
    is_moved: bool = False
    gives_contrast: bool = False
    accepted_risks: frozenset[str] = frozenset()

    @property
    def span(self) -> Span:
        return slots.span(self.start, self.minutes)


def when(moment: dt.datetime) -> str:
    """today 14:00, else the date with the time."""
    told = {"time": f"{moment:%H:%M}", "date": date_format(moment.date())}
    if moment.date() == clock.today():
        return _("today %(time)s") % told
    return _("on %(date)s, %(time)s") % told
