from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.cast import actor, code, station, step
from worklist import clock
from worklist.audit import trail
from worklist.models import (
    ClosedDay,
    OpeningHours,
    OpeningTime,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling import slots

pytestmark = pytest.mark.django_db

MONDAY = dt.date(2026, 11, 23)
NOW = dt.datetime(2026, 11, 23, 10, 42)


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def with_hours(of: Station, *times: tuple[int, str, str]) -> Station:
    hours = OpeningHours(name="Usual")
    trail.save(hours, by=actor)
    for weekday, opens, closes in times:
        row = OpeningTime(
            hours=hours,
            weekday=weekday,
            opens=dt.time.fromisoformat(opens),
            closes=dt.time.fromisoformat(closes),
        )
        trail.save(row, by=actor)
    of.opening_hours = hours
    trail.save(of, by=actor)
    return of


def at(start: str, end: str | None, **more: Any) -> None:
    usual = {
        "ScheduledProcedureStepStartDate": MONDAY,
        "ScheduledProcedureStepStartTime": dt.time.fromisoformat(start),
    }
    if end:
        usual["ScheduledProcedureStepEndDate"] = MONDAY
        usual["ScheduledProcedureStepEndTime"] = dt.time.fromisoformat(end)
    step(**{**usual, **more})


def free(of: Station, day: dt.date = MONDAY) -> str:
    return " ".join(str(span) for span in slots.days([of], day, day)[of.pk, day].free)


def test_free_is_what_is_open_less_what_is_booked() -> None:
    ct1 = with_hours(station(), (0, "08:00", "12:00"), (0, "13:00", "17:00"), (1, "08:00", "09:00"))
    at("08:00", "08:30")
    at("11:45", "12:15")
    at("14:00", "15:00", stations=("CT2",))
    assert free(ct1) == "08:30–11:45 13:00–17:00"
    assert free(ct1, MONDAY + dt.timedelta(days=6)) == ""


def test_what_is_over_or_cancelled_takes_no_time() -> None:
    ct1 = with_hours(station(), (0, "08:00", "12:00"))
    for status in ("COMPLETED", "CANCELED", "DISCONTINUED"):
        at("09:00", "10:00", ScheduledProcedureStepStatus=status)
    assert free(ct1) == "08:00–12:00"


def test_exam_without_an_end_lasts_as_the_catalogue_says_or_half_an_hour() -> None:
    ct1 = with_hours(station(), (0, "08:00", "12:00"))
    known = ProcedureType(
        code="CTX", description="CT x", modality="CT", minutes=50, requested_procedure_code=code()
    )
    trail.save(known, by=actor)
    at("08:00", None)
    at("09:00", None)
    procedure = ScheduledProcedureStep.objects.latest("pk").requested_procedure
    procedure.code = known.requested_procedure_code
    trail.save(procedure, by=actor)
    assert free(ct1) == "08:30–09:00 09:50–12:00"


def test_exam_of_the_night_before_takes_its_part_of_the_morning() -> None:
    ct1 = station()
    step(
        ScheduledProcedureStepStartDate=MONDAY - dt.timedelta(days=1),
        ScheduledProcedureStepStartTime=dt.time(23, 30),
        ScheduledProcedureStepEndDate=MONDAY,
        ScheduledProcedureStepEndTime=dt.time(0, 30),
    )
    assert free(ct1) == "00:30–00:00"


@pytest.mark.parametrize("is_for_all", [True, False])
def test_closed_day_has_nothing_free(is_for_all: bool) -> None:
    ct1, mr1 = station("CT1"), station("MR1")
    trail.save(ClosedDay(day=MONDAY, station=None if is_for_all else ct1), by=actor)
    assert free(ct1) == ""
    assert free(mr1) == ("" if is_for_all else "00:00–00:00")


def test_next_free_starts_are_on_the_grid_and_go_on_to_the_next_open_day() -> None:
    ct1 = with_hours(station(), (0, "08:00", "12:00"), (2, "08:00", "12:00"))
    at("11:00", "11:30")
    found = slots.next_free(ct1, NOW, 30, 3)
    assert [f"{start:%d %H:%M}" for start in found] == ["23 11:30", "25 08:00", "25 08:30"]
    assert f"{slots.next_free(ct1, NOW, 15)[0]:%H:%M}" == "10:45"


def test_always_open_scanner_is_free_at_night_but_does_not_propose_it_for_other_days() -> None:
    ct1 = station()
    night = dt.datetime(2026, 11, 23, 3, 2)
    assert slots.next_free(ct1, night, 30) == [dt.datetime(2026, 11, 23, 3, 5)]
    tomorrow = MONDAY + dt.timedelta(days=1)
    ((_, starts),) = slots.free_starts([ct1], tomorrow, 30, after=NOW, count=2)
    assert [f"{start:%H:%M}" for start in starts] == ["07:00", "07:30"]


def test_days_take_a_fixed_number_of_statements(django_assert_num_queries: Any) -> None:
    stations = [with_hours(station(), (0, "08:00", "12:00")), station("MR1")]
    for hour in range(8, 12):
        at(f"{hour:02}:00", f"{hour:02}:30")
    with django_assert_num_queries(3):
        slots.days(stations, MONDAY, MONDAY + dt.timedelta(days=20))
