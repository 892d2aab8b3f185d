from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import cast, tools
from tests.test_roles import signed_in
from worklist import board, clock, scheduling
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import (
    ClosedDay,
    OpeningHours,
    OpeningTime,
    ScheduledProcedureStep,
    Station,
    StepStatus,
    User,
    WallScreen,
)

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2024, 7, 5, 10, 42, 30)
PART = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[dt.datetime], None]:
    def set_clock(moment: dt.datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    set_clock(NOW)
    return set_clock


def step(at: str = "11:00", **values: Any) -> ScheduledProcedureStep:
    return cast.step(ScheduledProcedureStepStartTime=dt.time.fromisoformat(at), **values)


def wall() -> str:
    """The address of a screen on the wall."""
    screen = WallScreen.objects.first() or WallScreen(name="Corridor")
    trail.save(screen, by=cast.actor)
    return screen.get_absolute_url()


def read(**query: str) -> board.Board:
    return board.read(board.Filters.of(query, search=query.pop("q", "")))


def shown(found: board.Board) -> list[int]:
    return [exam.pk for exam, _ in board.exams(found)]


def names(found: board.Board) -> list[str]:
    return [lane.scanner.ae_title if lane.scanner else "" for lane in found.lanes]


def open_hours(station: Station, opens: int = 8, closes: int = 12) -> None:
    hours = OpeningHours(name=f"Hours {station.pk}")
    trail.save(hours, by=cast.actor)
    for weekday in range(7):
        time = OpeningTime(
            hours=hours, weekday=weekday, opens=dt.time(opens), closes=dt.time(closes)
        )
        trail.save(time, by=cast.actor)
    station.opening_hours = hours
    trail.save(station, by=cast.actor)


# --- the day --------------------------------------------------------------------------------------


def test_step_stands_in_the_lane_of_each_of_its_stations() -> None:
    both = step(stations=("CT1", "MR1"))
    nowhere = step(stations=())
    found = read()
    assert names(found) == ["CT1", "MR1", ""]
    assert [[exam.pk for exam in lane.exams] for lane in found.lanes] == [
        [both.pk],
        [both.pk],
        [nowhere.pk],
    ]
    assert (found.total, len(board.exams(found))) == (2, 2)


def test_station_that_is_not_in_use_is_shown_only_with_its_steps() -> None:
    for title in ("CT1", "CT8", "CT9"):
        station = cast.station(title)
        station.is_active = title == "CT1"
        trail.save(station, by=cast.actor)
    step(stations=("CT9",))
    assert names(read()) == ["CT1", "CT9"]


def test_progress_is_what_is_done_of_what_is_not_cancelled() -> None:
    for status in ("COMPLETED", "CANCELED", "STARTED", "SCHEDULED"):
        step(ScheduledProcedureStepStatus=status)
    found = read()
    assert (found.done, found.total, found.shown) == (1, 3, 3)


@pytest.mark.parametrize(
    ("status", "at", "late"),
    [
        ("SCHEDULED", "10:30", 12),
        ("SCHEDULED", "10:32", 0),
        ("SCHEDULED", "10:31", 11),
        ("ARRIVED", "09:00", 0),
        ("SCHEDULED", "11:00", 0),
    ],
)
def test_late_is_who_has_not_come_ten_minutes_after(status: str, at: str, late: int) -> None:
    step(at, ScheduledProcedureStepStatus=status)
    ((exam, _),) = board.exams(read())
    assert exam.late == late


def test_nobody_is_late_on_another_day() -> None:
    step("09:00", ScheduledProcedureStepStartDate=dt.date(2024, 7, 4))
    assert read(day="2024-07-04").late == 0


def test_names_that_are_easily_mixed_up_are_marked_on_both_patients() -> None:
    alike = [step(PatientName="Rossi^Paolo"), step(PatientName="Rossi^Paola")]
    same = [step(PatientID="P9", PatientName="Ivanov^Ivan") for _ in range(2)]
    marked = {exam.pk for exam, _ in board.exams(read()) if exam.is_similar}
    assert marked == {each.pk for each in alike}
    assert not marked & {each.pk for each in same}


def test_open_emergency_stands_first() -> None:
    first = step("09:00", ScheduledProcedureStepStatus="COMPLETED")
    urgent = step("11:00", RequestedProcedurePriority="STAT")
    found = read()
    assert [exam.pk for exam in found.lanes[0].exams] == [urgent.pk, first.pk]
    assert found.emergencies == 1


def test_scanner_that_never_closes_is_free_after_its_exams() -> None:
    for start in ("09:00", "11:00"):
        end = dt.time.fromisoformat(start).replace(minute=30)
        step(
            start,
            ScheduledProcedureStepEndDate=cast.DAY,
            ScheduledProcedureStepEndTime=end,
        )
    (lane,) = read().lanes
    assert [str(gap) for gap in lane.gaps] == ["10:45–11:00", "11:30–00:00"]
    clerk = signed_in("Clerk")
    for view in ("list", "times"):
        page = clerk.get(f"/today/?view={view}").content.decode()
        assert "free 11:30–24:00" in page
    # What is free until midnight does not stretch the timetable to midnight.
    assert ">12:00" in page
    assert ">13:00" not in page
    # Without an exam there is nothing that it would lie between.
    cast.station("MR1")
    assert [
        lane.gaps for lane in read().lanes if lane.scanner and lane.scanner.modality == "MR"
    ] == [()]


def test_gaps_lie_within_opening_hours_and_begin_on_the_grid() -> None:
    station = cast.station("CT1")
    open_hours(station)
    step(
        "11:00",
        ScheduledProcedureStepEndDate=cast.DAY,
        ScheduledProcedureStepEndTime=dt.time(11, 50),
    )
    (lane,) = read().lanes
    # 11:50 to 12:00 is too short to be worth a word; before 10:45 it is over.
    assert [str(gap) for gap in lane.gaps] == ["10:45–11:00"]
    (lane,) = read(day="2024-07-06").lanes
    assert [str(gap) for gap in lane.gaps] == ["08:00–12:00"]
    assert read(q="anna").lanes[0].gaps == ()
    assert read(day="2024-07-04").lanes[0].gaps == ()


# --- filters and search ---------------------------------------------------------------------------


def test_filters_leave_out_what_they_say() -> None:
    ct, mr = step(), step(stations=("MR1",), Modality="MR")
    gone = step(ScheduledProcedureStepStatus="CANCELED")
    done = step(ScheduledProcedureStepStatus="COMPLETED")
    assert set(shown(read())) == {ct.pk, mr.pk, done.pk}
    assert set(shown(read(status="all"))) == {ct.pk, mr.pk, done.pk, gone.pk}
    assert set(shown(read(status="open"))) == {ct.pk, mr.pk}
    assert set(shown(read(status="COMPLETED"))) == {done.pk}
    assert set(shown(read(modality="MR"))) == {mr.pk}
    assert set(shown(read(station=str(cast.station("MR1").pk)))) == {mr.pk}
    assert read(modality="MR").total == 1
    assert set(shown(read(day="nonsense", station="x", status="x"))) == {ct.pk, mr.pk, done.pk}


@pytest.mark.parametrize(
    ("q", "finds"),
    [
        ("muller", True),
        ("MÜLLER anna", True),
        ("anna müll", True),
        ("anna thorax", True),
        ("p77", True),
        ("a-900", True),
        ("12.4.79", True),
        ("1979-04-12", True),
        ("12 apr 1979", True),
        ("muller 12.4.79", True),
        ("mueller otto", False),
        ("13.4.79", False),
    ],
)
def test_search_finds_name_number_exam_and_date_of_birth(q: str, finds: bool) -> None:
    found = step(
        PatientID="P77",
        PatientBirthDate=dt.date(1979, 4, 12),
        AccessionNumber="A-900",
        RequestedProcedureDescription="CT Thorax",
    )
    assert shown(read(q=q)) == ([found.pk] if finds else [])


WORDS = (
    "muller",
    "MÜLLER anna",
    "p77",
    "a-900",
    "A-9",
    "schadel",
    "Müller schädel",
    "anna schadel p77 a-900",
    "nativ",
    "muller nativ",
    "x-17",
    "anna x-17",
    "12.4.79",
    "1979-04-12",
    "12 apr 1979",
    "müller, 12. April 1979",
    "12.4.79 schadel",
    "120479",
)
OTHER_WORDS = ("schadel otto", "muller 13.4.79", "13 apr 1979", "p78 muller", "becken", "a", "%")


@pytest.mark.parametrize("q", [*WORDS, *OTHER_WORDS])
def test_each_word_is_found_anywhere_in_an_exam_of_any_day(q: str) -> None:
    found = step(
        PatientID="P77",
        PatientBirthDate=dt.date(1979, 4, 12),
        AccessionNumber="A-900",
        RequestedProcedureDescription="CT Schädel",
        ScheduledProcedureStepDescription="Kopf nativ",
    )
    procedure = found.requested_procedure
    procedure.code = cast.code("X-17")
    scheduling.save_procedure(procedure, by=cast.actor)
    step("09:00", PatientID="P78", PatientName="Other^Otto", AccessionNumber="B1")
    on_the_day, another = read(q=q), read(q=q, day="2024-07-06")
    assert [exam.pk for exam in another.elsewhere] == ([found.pk] if q in WORDS else [])
    assert on_the_day.elsewhere == ()
    if q != "a":  # of a day one letter is enough
        assert shown(on_the_day) == ([found.pk] if q in WORDS else [])


@pytest.mark.parametrize(
    ("stored", "typed"), [("Mueller^Anna", "müller"), ("Müller^Anna", "mueller")]
)
def test_umlauts_are_found_in_either_spelling(stored: str, typed: str) -> None:
    found = step(PatientName=stored)
    assert shown(read(q=typed)) == [found.pk]
    assert [exam.pk for exam in read(q=typed, day="2024-07-06").elsewhere] == [found.pk]
    answer = signed_in("Clerk").post("/patients/", {"q": typed}, follow=True)
    assert found.requested_procedure.request.patient.patient_id in answer.content.decode()


def test_words_follow_what_is_changed() -> None:
    found = step(RequestedProcedureDescription="CT Schädel", AccessionNumber="A1")
    procedure = found.requested_procedure
    procedure.description, procedure.request.accession_number = "CT Becken", "B2"
    scheduling.save_procedure(procedure, by=cast.actor)
    scheduling.save_request(procedure.request, by=cast.actor)
    for q, count in (("schadel", 0), ("becken", 1), ("a1", 0), ("b2", 1)):
        assert len(read(q=q, day="2024-07-06").elsewhere) == count, q


def test_other_days_are_searched_through_the_indexes_of_words() -> None:
    tools.require_trigrams()
    with CaptureQueriesContext(connection) as caught:
        read(q="kowalska thorax", day="2024-07-06")
    (sql,) = [each["sql"] for each in caught if "UNION" in each["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        cursor.execute("EXPLAIN " + sql.replace("%", "%%"), [])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    for table in ("patient", "requestedprocedure", "scheduledprocedurestep"):
        assert f"worklist_{table}_words" in plan, table


def test_no_more_than_twenty_and_one_of_other_days_are_read() -> None:
    for n in range(24):
        step(f"11:{n:02}", ScheduledProcedureStepStartDate=dt.date(2024, 8, 1))
    assert len(read(q="muller").elsewhere) == 21
    page = signed_in("Clerk").post("/today/", {"q": "muller"}).content.decode()
    assert "More than 20 on other days" in page
    assert page.count('<tr id="o') == 20


def test_search_looks_at_all_other_days_too() -> None:
    for day in range(1, 4):
        step(PatientID="P77", ScheduledProcedureStepStartDate=dt.date(2024, 8, day))
    step(PatientID="P78", PatientName="Ivanov^Ivan", AccessionNumber="QQ5")
    assert [exam.day.day for exam in read(q="muller").elsewhere] == [3, 2, 1]
    assert len(read(q="muller", day="2024-08-01").elsewhere) == 2
    assert [e.patient_id for e in read(q="qq5", day="2024-08-01").elsewhere] == ["P78"]
    assert read().elsewhere == ()


# --- the page -------------------------------------------------------------------------------------


def test_page_is_for_who_may_see_exams() -> None:
    assert signed_in("Clerk").get("/today/").status_code == 200
    assert signed_in("Auditor").get("/today/").status_code == 403
    assert Client().get("/today/", headers=PART).status_code == 401


def test_home_is_the_board_or_the_first_place_one_may_see() -> None:
    assert signed_in("Clerk").get("/")["Location"] == "/today/"
    assert signed_in("Auditor").get("/")["Location"] != "/today/"


def test_everything_from_the_database_is_escaped() -> None:
    nasty = "<b>'\"&"
    step(
        PatientName=f"{nasty}^{nasty}",
        PatientID=nasty,
        RequestedProcedureDescription=nasty,
        ScheduledProcedureStepStatus=nasty[:16],
        PatientSex=nasty[:16],
        RequestedProcedurePriority="STAT",
    )
    client = signed_in("Clerk")
    for path in ("/today/?status=all", "/today/?view=times&status=all", wall()):
        page = client.get(path).content.decode()
        assert "&lt;b&gt;" in page.lower(), path
        assert "<b>'" not in page.lower(), path


def test_wall_shows_no_name_and_no_number() -> None:
    step(
        PatientID="P77",
        AccessionNumber="A900",
        PatientName="Rossi^Paolo",
        PatientBirthDate=dt.date(1948, 9, 9),
        RequestedProcedurePriority="STAT",
    )
    page = Client().get(wall()).content.decode().lower()
    assert "emergency" in page
    assert "1948" not in page
    assert "rossi" not in page
    assert "p77" not in page
    assert "a900" not in page
    assert "<nav" not in page


def test_wall_needs_no_session_and_outlasts_an_idle_one(settings: Any) -> None:
    step()
    path = wall()
    passer = Client()
    assert passer.get(path).status_code == 200
    assert not passer.cookies
    # Who has only the link gets nothing else.
    assert passer.get("/today/").status_code == 302
    assert passer.post(path).status_code == 405
    # On a computer with somebody's session, the page holds nothing of it and does not prolong it.
    clerk = signed_in("Clerk")
    settings.IDLE_SECONDS = -1
    page = clerk.get(path).content.decode()
    assert 'id="board"' in page
    for theirs in ("data-idle", "<dialog", "Clerk", "clerk"):
        assert theirs not in page
    assert clerk.get(path, headers=PART).status_code == 200
    assert clerk.get("/today/").status_code == 302


def test_wall_shows_today_and_only_what_its_address_names() -> None:
    step()
    step(stations=("MR1",), Modality="MR", RequestedProcedureDescription="MR Knee")
    path = wall()
    page = Client().get(f"{path}?modality=MR&day=2024-07-04&q=anna&view=times&status=CANCELED")
    text = page.content.decode()
    assert "5 Jul 2024" in text
    assert "MR Knee" in text
    assert "CT1" not in text


def test_link_of_a_wall_ends_with_its_row() -> None:
    path = wall()
    assert Client().get(f"{path[:-2]}/").status_code == 404
    screen = WallScreen.objects.get()
    assert screen.key not in str(AuditEvent.objects.values_list("before", "after"))
    trail.delete(screen, by=cast.actor)
    assert Client().get(path).status_code == 404
    assert Client().get(path, headers=PART).status_code == 404


def test_page_costs_the_same_statements_for_two_rows_and_for_fifty() -> None:
    client = signed_in("Clerk")
    open_hours(cast.station("CT1"))

    def cost(path: str) -> int:
        client.get(path)
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert client.get(path).status_code == 200
        return len(caught)

    paths = ("/today/", "/today/?view=times", wall(), "/print/day/")
    for n in range(2):
        step(f"11:0{n}", RequestedProcedurePriority="STAT")
    few = [cost(path) for path in paths]
    for n in range(48):
        step(f"12:{n:02}", stations=("CT1", "MR1") if n % 2 else (), PatientName=f"Rossi^P{n}")
    assert [cost(path) for path in paths] == few
    # Of session, user and rights three; two of the tag; one of who was seen.
    assert few == [11, 11, 9, 7]


# --- refreshing -----------------------------------------------------------------------------------


def tag(client: Client, path: str = "/today/") -> str:
    response = client.get(path, headers=PART)
    assert response["Cache-Control"] == "no-store"
    return response["ETag"]


def status_of(client: Client, etag: str, path: str = "/today/") -> int:
    return client.get(path, headers={**PART, "If-None-Match": etag}).status_code


def test_refresh_without_a_change_is_304_and_two_statements() -> None:
    step()
    client = signed_in("Clerk")
    etag = tag(client)
    with CaptureQueriesContext(connection) as caught:
        assert status_of(client, etag) == 304
    ours = [
        q for q in caught.captured_queries if not re.search("session|worklist_user|auth_", q["sql"])
    ]
    assert len(ours) == 2


def test_part_is_the_board_alone() -> None:
    step()
    page = signed_in("Clerk").get("/today/", headers=PART).content
    assert b"<html" not in page
    assert b'id="lane' in page


@pytest.mark.parametrize("path", ["/today/", "/today/?view=times", "wall"])
def test_every_change_that_the_board_shows_changes_its_tag(path: str) -> None:
    client = signed_in("Clerk")
    path = wall() if path == "wall" else path
    station = cast.station("CT1")
    open_hours(station)
    patient = cast.patient()
    booked = cast.book(patient, stations=[station])
    seen = {tag(client, path)}

    def changed() -> None:
        etag = tag(client, path)
        assert etag not in seen
        seen.add(etag)

    patient.name = "Rossi^Paolo"
    scheduling.save_patient(patient, by=cast.actor)
    changed()
    booked.requested_procedure.priority = "STAT"
    scheduling.save_procedure(booked.requested_procedure, by=cast.actor)
    changed()
    booked.requested_procedure.request.accession_number = "A77"
    scheduling.save_request(booked.requested_procedure.request, by=cast.actor)
    changed()
    scheduling.set_status(booked, StepStatus.ARRIVED, by=cast.actor)
    changed()
    scheduling.reschedule(
        booked, dt.datetime(2024, 7, 5, 15), stations=[cast.station("MR1")], by=cast.actor
    )
    changed()
    trail.save(ClosedDay(day=cast.DAY), by=cast.actor)
    changed()
    scheduling.reschedule(booked, dt.datetime(2024, 7, 6, 15), by=cast.actor)
    changed()
    assert status_of(client, tag(client, path), path) == 304


def test_change_that_commits_after_a_later_one_is_seen() -> None:
    early, late = step(), step()
    client = signed_in("Clerk")
    later = dt.datetime(2024, 7, 5, 11, tzinfo=dt.UTC)
    ScheduledProcedureStep.objects.filter(pk=late.pk).update(version=2, changed_at=later)
    etag = tag(client)
    earlier = later - dt.timedelta(minutes=1)
    ScheduledProcedureStep.objects.filter(pk=early.pk).update(version=2, changed_at=earlier)
    assert status_of(client, etag) == 200


def test_exam_that_comes_for_one_that_goes_is_seen() -> None:
    goes = step()
    comes = step(ScheduledProcedureStepStartDate=dt.date(2024, 7, 6))
    client = signed_in("Clerk")
    etag = tag(client)
    scheduling.reschedule(goes, dt.datetime(2024, 7, 6, 11), by=cast.actor)
    # The same number of rows and the same sum of their versions.
    ScheduledProcedureStep.objects.filter(pk=comes.pk).update(start_date=cast.DAY)
    assert status_of(client, etag) == 200


def test_another_day_leaves_the_tag_alone() -> None:
    step()
    client = signed_in("Clerk")
    etag = tag(client)
    step(ScheduledProcedureStepStartDate=dt.date(2024, 7, 6))
    assert status_of(client, etag) == 304


def test_minute_counts_only_when_someone_is_late(now: Callable[[dt.datetime], None]) -> None:
    step("10:35")
    client = signed_in("Clerk")
    etag = tag(client)
    now(NOW + dt.timedelta(minutes=1))
    assert status_of(client, etag) == 304
    now(dt.datetime(2024, 7, 5, 10, 46, 5))
    etag = tag(client)
    now(dt.datetime(2024, 7, 5, 10, 47, 5))
    assert status_of(client, etag) == 200
    assert b"Late 12 min" in client.get("/today/", headers=PART).content
    now(dt.datetime(2024, 7, 5, 12, 41))
    assert b"Late 2 h 06" in client.get("/today/", headers=PART).content


def change_row(one: ScheduledProcedureStep) -> None:
    one.description = "Kopf"
    scheduling.save_step(one, by=cast.actor)


def rename_station(one: ScheduledProcedureStep) -> None:
    station = cast.station("CT1")
    station.name = "CT Basement"
    trail.save(station, by=cast.actor)


def rename_patient(one: ScheduledProcedureStep) -> None:
    patient = one.requested_procedure.request.patient
    patient.name = "Rossi^Paolo"
    scheduling.save_patient(patient, by=cast.actor)


def remove_row(one: ScheduledProcedureStep) -> None:
    scheduling.reschedule(one, dt.datetime(2024, 7, 8, 11), by=cast.actor)


def delete_row(one: ScheduledProcedureStep) -> None:
    one.stepstation_set.all().delete()
    trail.delete(one, by=cast.actor)


def move_to_another_station(one: ScheduledProcedureStep) -> None:
    start = dt.datetime.combine(one.start_date, one.start_time)
    scheduling.reschedule(one, start, stations=[cast.station("MR1")], by=cast.actor)


def add_station(one: ScheduledProcedureStep) -> None:
    trail.save(Station(ae_title="CT7", modality="CT"), by=cast.actor)


def close_day(one: ScheduledProcedureStep) -> None:
    trail.save(ClosedDay(day=cast.DAY), by=cast.actor)


def change_hours(one: ScheduledProcedureStep) -> None:
    hours = OpeningHours.objects.get()
    hours.name = "Others"
    trail.save(hours, by=cast.actor)


def add_unknown(one: ScheduledProcedureStep) -> None:
    cast.patient("E1", "UNKNOWN^MALE", is_unknown=True)


CHANGES: tuple[Callable[[ScheduledProcedureStep], object], ...] = (
    *(change_row, rename_station, rename_patient, remove_row, delete_row),
    *(move_to_another_station, add_station, close_day, change_hours, add_unknown),
    lambda one: step("12:00"),
)


@pytest.mark.parametrize("view", ["list", "times"])
@pytest.mark.parametrize("change", CHANGES)
def test_refresh_brings_each_change(
    change: Callable[[ScheduledProcedureStep], object], view: str
) -> None:
    open_hours(cast.station("CT1"))
    one, path = step(), f"/today/?view={view}"
    client = signed_in("Clerk")
    etag = tag(client, path)
    assert status_of(client, etag, path) == 304
    change(one)
    assert status_of(client, etag, path) == 200


@pytest.mark.parametrize("moment", ["10:45:00", "10:45:01", "10:46:00", "10:50:00"])
def test_line_of_now_moves_on(now: Callable[[dt.datetime], None], moment: str) -> None:
    step("11:00")
    client = signed_in("Clerk")
    etag = tag(client, "/today/?view=times")
    now(dt.datetime.combine(cast.DAY, dt.time.fromisoformat(moment)))
    assert status_of(client, etag, "/today/?view=times") == 200


def test_midnight_brings_another_day(now: Callable[[dt.datetime], None]) -> None:
    client = signed_in("Clerk")
    etag = tag(client)
    now(dt.datetime(2024, 7, 6, 0, 0, 1))
    assert status_of(client, etag) == 200


def test_tag_differs_by_view_filter_and_language() -> None:
    step()
    clerk = signed_in("Clerk")
    ct1 = cast.station("CT1").pk
    queries = ("", "status=open", "modality=CT", f"station={ct1}", "view=times", "day=2024-07-06")
    tags = {tag(clerk, f"/today/?{query}") for query in queries}
    tags.add(clerk.get("/today/", headers={**PART, "Accept-Language": "de"})["ETag"])
    tags.add(tag(clerk, wall()))
    assert len(tags) == len(queries) + 2


@pytest.mark.parametrize(
    "right",
    ["schedule_exam", "cancel_exam", "set_status", "view_patient", "manage_stations"],
)
def test_tag_differs_by_each_right_that_the_page_asks_for(right: str) -> None:
    user = User(username="anna")
    trail.save(user, by=cast.actor)
    client = Client()
    client.force_login(user)
    rights = Permission.objects.filter(
        codename__in=["view_scheduledprocedurestep", right], content_type__app_label="worklist"
    )
    seen = set()
    for held in (rights.exclude(codename=right), rights):
        trail.save(user, by=cast.actor, lists={"user_permissions": list(held)})
        seen.add(tag(client))
    assert len(seen) == 2


def test_board_is_kept_nowhere_and_is_each_ones_own() -> None:
    response = signed_in("Clerk").get("/today/", headers=PART)
    assert response["Cache-Control"] == "no-store"
    assert {"Cookie", "Accept-Language"} <= set(response["Vary"].split(", "))


def test_search_is_never_304() -> None:
    step()
    response = signed_in("Clerk").get("/today/", headers={**PART, "X-Search": "anna"})
    assert "ETag" not in response


@pytest.mark.parametrize(
    "query",
    [
        *("day=0001-01-01", "day=9999-12-31", "modality=%01"),
        *("station=" + "9" * 30, "view=nowhere", "status=%01"),
    ],
)
def test_an_odd_address_is_no_error(query: str) -> None:
    client = signed_in("Clerk")
    for path in ("/today/", "/print/day/", "/export/exams.csv"):
        assert client.get(f"{path}?{query}").status_code == 200, path
