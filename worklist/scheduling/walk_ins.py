"""Who comes without an appointment: unknown patients, and the exams that a walk-in pushes aside."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.conf import settings

from worklist.models import Patient, ScheduledProcedureStep, Station, StepStatus
from worklist.scheduling import slots
from worklist.scheduling.slots import Span

# English on every site: the name is read on scanners' consoles, and is ASCII for all of them.
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_SEXES = {"M": "MALE", "F": "FEMALE"}
_BEGUN = (StepStatus.STARTED, StepStatus.DEPARTED)


def unknown_patient(sex: str, *, at: dt.datetime) -> Patient:
    """UNKNOWN^MALE^22NOV1040, who gets an ID of the emergency range when booked.

    All of it is legal on the wire: the birth date is empty, the sex O when that is unknown, too.
    """
    moment = f"{at.day:02}{_MONTHS[at.month - 1]}{at:%H%M}"
    return Patient(
        name=f"UNKNOWN^{_SEXES.get(sex, 'PERSON')}^{moment}",
        issuer=settings.ISSUER_OF_PATIENT_ID,
        sex=sex if sex in _SEXES else "O",
        is_unknown=True,
    )


@dataclass(frozen=True)
class Pushed:
    """The exams after a walk-in on its station, and by how many minutes they are late for it."""

    station: Station
    start: dt.datetime
    count: int
    minutes: int


def pushed_by(step: ScheduledProcedureStep, station: Station) -> Pushed | None:
    """What follows the walk-in on its day, when it runs into the first of it."""
    assert step.end_date is not None
    assert step.end_time is not None
    mine = Span(
        dt.datetime.combine(step.start_date, step.start_time),
        dt.datetime.combine(step.end_date, step.end_time),
    )
    others = [
        booked
        for booked in slots.booked_on([station], step.start_date, step.start_date)
        if booked.step_id != step.pk
        and booked.status not in _BEGUN
        # What runs over from the day before is not moved with this day.
        and booked.span.start.date() == step.start_date
    ]
    met = [booked for booked in others if booked.span.overlaps(mine)]
    if not met:
        return None
    first = min(booked.span.start for booked in met)
    following = [booked for booked in others if booked.span.start >= first]
    minutes = -(-int((mine.end - first).total_seconds()) // 60)
    return Pushed(station, first, len(following), -(-minutes // slots.GRID) * slots.GRID)
