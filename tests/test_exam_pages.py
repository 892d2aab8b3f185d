from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.cast import NOW, actor, book, booked, patient, station
from tests.test_roles import signed_in
from worklist import clock, scheduling
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor
from worklist.models import ProcedureType, StepStatus, User

pytestmark = pytest.mark.django_db
OTTO = Actor("otto")


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def clerk() -> Client:
    return signed_in("Clerk")


@pytest.fixture
def supervisor() -> Client:
    return signed_in("Supervisor")


def last() -> AuditEvent:
    event = AuditEvent.objects.first()
    assert event is not None
    return event


def notice(client: Client, response: Any) -> str:
    """What the next page says."""
    page = client.get(response["Location"]).content.decode()
    found = re.search(r'<div class="notice.*?<p>(.*?)</p>', page, re.S)
    assert found, page
    return found.group(1)


def undo_of(page: str) -> str:
    found = re.search(r'name="undo" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


# --- the exam's page ------------------------------------------------------------------------------


def test_exam_page_shows_the_patient_the_exams_and_the_history_in_words(clerk: Client) -> None:
    shown = booked(
        "10:00",
        "10:30",
        PatientName="Rossi^Paolo",
        PatientID="P1008",
        Allergies="Iodine\\Latex",
        RequestedProcedureDescription="CT head",
    )
    booked("12:00", "12:30", PatientID="P1008", ScheduledProcedureStepStatus="CANCELED")
    patient("P2231", "Rossi^Paola")
    scheduling.set_status(shown, StepStatus.ARRIVED, by=actor)
    scheduling.reschedule(
        shown, dt.datetime(2026, 11, 23, 11), by=actor, reason="Emergency came in"
    )
    page = clerk.get(f"/exams/{shown.pk}/").content.decode()
    for text in (
        "<bdi>ROSSI, Paolo</bdi>",
        "Iodine, Latex",
        "ROSSI, Paola",
        "1 cancelled exam",
        "time: 10:00 → 11:00",
        "status: Scheduled → Arrived",
        "Emergency came in",
    ):
        assert text in page, text
    assert last().action == "view"
    assert last().object_label == "ROSSI, Paolo · P1008"


def test_exam_page_leads_back_to_its_row_on_the_board(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    page = clerk.get(f"/exams/{shown.pk}/").content.decode()
    found = re.search(r'<a data-key="Escape" href="(/today/[^"#]+)#([^"]+)"', page)
    assert found
    assert f'id="{found[2]}"' in clerk.get(found[1]).content.decode()


def test_reasons_of_ours_are_told_in_the_language_of_the_screen(clerk: Client) -> None:
    from worklist import history

    shown = booked("10:00", "10:30")
    scheduling.cancel(shown, by=actor, reason="Booked by mistake")
    assert history.of(shown)[0].reason == "Booked by mistake"
    assert history.of(shown)[0].what == "Cancelled"


@pytest.mark.parametrize("path", ["exams", "patients"])
def test_pages_ask_a_fixed_number_of_statements(clerk: Client, path: str) -> None:
    shown = booked("10:00", "10:30", PatientID="P1")
    anna = shown.requested_procedure.request.patient

    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert clerk.get(address).status_code == 200
        return len(queries)

    # The first page of a session writes the session, too.
    clerk.get("/patients/")
    scheduling.reschedule(shown, dt.datetime(2026, 11, 23, 12), by=actor)
    anna.weight = "70"
    scheduling.save_patient(anna, by=actor)
    gone = patient("M", "Meier^Otto")
    moved = book(gone, stations=[station()])
    merge = scheduling.merge(anna, gone, by=actor)
    anna.refresh_from_db()
    address = f"/exams/{moved.pk}/" if path == "exams" else f"/patients/{anna.pk}/"
    few = statements()
    for _again in range(3):
        scheduling.unmerge(merge, by=actor)
        merge = scheduling.merge(merge.survivor, merge.merged, by=actor)
    anna.refresh_from_db()
    for minute in range(20):
        booked("12:00", "12:30", PatientID="P1")
        gone = patient(f"M{minute}", "Meier^Otto")
        book(gone, stations=[station()])
        scheduling.merge(anna, gone, by=actor)
        anna.refresh_from_db()
        scheduling.reschedule(shown, dt.datetime(2026, 11, 23, 11, minute), by=actor)
        patient(f"S{minute}", "Müller^Anna")
    assert (statements(), few) == (few, {"exams": 13, "patients": 14}[path])


# --- status ---------------------------------------------------------------------------------------


def test_status_goes_forward_and_is_undone(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    response = clerk.post(
        f"/exams/{shown.pk}/status/", {"status": "ARRIVED", "version": 1, "next": "/patients/"}
    )
    assert response["Location"] == "/patients/"
    page = clerk.get("/patients/").content.decode()
    assert "MÜLLER, Anna: Arrived." in page
    clerk.post("/undo/", {"undo": undo_of(page), "next": "/patients/"})
    shown.refresh_from_db()
    assert shown.status == "SCHEDULED"


def test_status_on_an_old_version_is_told(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    scheduling.set_status(shown, StepStatus.READY, by=OTTO)
    response = clerk.post(f"/exams/{shown.pk}/status/", {"status": "ARRIVED", "version": 1})
    assert response.status_code == 409
    told = r"otto changed this exam \d seconds? ago \(status Scheduled → Ready\)"
    assert re.search(told, response.content.decode())
    shown.refresh_from_db()
    assert shown.status == "READY"


def test_step_back_is_the_supervisors_with_a_reason(clerk: Client, supervisor: Client) -> None:
    shown = booked("10:00", "10:30", ScheduledProcedureStepStatus="STARTED")
    data = {"status": "READY", "version": 1, "reason": "Wrong row"}
    assert clerk.post(f"/exams/{shown.pk}/status/", data).status_code == 422
    without = {**data, "reason": ""}
    assert supervisor.post(f"/exams/{shown.pk}/status/", without).status_code == 422
    assert supervisor.post(f"/exams/{shown.pk}/status/", data).status_code == 302
    assert last().reason == "Wrong row"


def test_form_without_a_version_saves_nothing(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    for path, data in (("status", {"status": "ARRIVED"}), ("cancel", {"why": "Equipment"})):
        assert clerk.post(f"/exams/{shown.pk}/{path}/", data).status_code == 409
    shown.refresh_from_db()
    assert shown.version == 1


# --- cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"why": "Equipment"}, "Equipment"),
        ({"why": "other", "other": "Ward is closed"}, "Ward is closed"),
        ({"why": "other", "other": " "}, None),
        ({}, None),
    ],
)
def test_cancel_takes_a_reason(clerk: Client, data: dict[str, str], reason: str | None) -> None:
    shown = booked("10:00", "10:30")
    response = clerk.post(f"/exams/{shown.pk}/cancel/", {**data, "version": 1})
    shown.refresh_from_db()
    if reason is None:
        assert (response.status_code, shown.status) == (422, "SCHEDULED")
    else:
        assert (response.status_code, shown.status) == (302, "CANCELED")
        assert last().reason == reason


# --- moving ---------------------------------------------------------------------------------------


def move(client: Client, pk: int, **more: Any) -> Any:
    usual = {"station": station().pk, "day": "2026-11-23", "time": "14:00", "version": 1}
    return client.post(f"/exams/{pk}/move/", {**usual, **more})


def test_move_and_undo(clerk: Client) -> None:
    station("CT1", "CT 1")
    shown = booked("10:00", "10:30", RequestedProcedureDescription="CT head")
    response = move(clerk, shown.pk, reason="Ward asked for it")
    page = clerk.get(response["Location"]).content.decode()
    assert "CT head of MÜLLER, Anna is now at 23 Nov 2026 14:00, CT 1." in page
    assert "14:00–14:30" in page
    clerk.post("/undo/", {"undo": undo_of(page), "next": f"/exams/{shown.pk}/"})
    shown.refresh_from_db()
    assert f"{shown.start_time:%H:%M}" == "10:00"


def test_enter_moves_and_never_keeps_or_takes_a_free_time(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    page = clerk.get(f"/exams/{shown.pk}/move/").content.decode()
    # A browser presses the first button of the form.
    first = re.search(r'<form[^>]*id="move".*?(<button.*?</button>)', page, re.S)
    assert first
    assert first[1].endswith(">Move</button>")
    assert "name=" not in first[1]


def test_free_time_fills_the_form_and_moves_nothing_yet(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    booked("11:00", "12:00")
    page = clerk.get(f"/exams/{shown.pk}/move/").content.decode()
    slots = re.findall(r'name="slot" value="([^"]+)"', page)
    assert slots[0] == "2026-11-23T12:00"
    page = move(clerk, shown.pk, slot=slots[0], reason="Typed").content.decode()
    assert re.search(r'type="text" name="time" value="12:00"[^>]* autofocus', page)
    assert 'value="Typed"' in page
    shown.refresh_from_db()
    assert f"{shown.start_time:%H:%M}" == "10:00"


def test_time_is_typed_in_24_hours_and_what_stays_is_told(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    here = {"station": shown.stations.get().pk, "day": "2026-11-23", "version": 1}
    same = clerk.post(f"/exams/{shown.pk}/move/", {**here, "time": "10.00"})
    assert notice(clerk, same) == "Nothing was changed."
    assert clerk.post(f"/exams/{shown.pk}/move/", {**here, "time": "1430"}).status_code == 302
    shown.refresh_from_db()
    assert f"{shown.start_time:%H:%M}" == "14:30"


@pytest.mark.parametrize("status", ["STARTED", "COMPLETED", "CANCELED"])
def test_exam_that_has_started_is_not_moved(clerk: Client, status: str) -> None:
    shown = booked("10:00", "10:30", ScheduledProcedureStepStatus=status)
    assert f"/exams/{shown.pk}/move/" not in clerk.get(f"/exams/{shown.pk}/").content.decode()
    assert "cannot be moved any more" in clerk.get(f"/exams/{shown.pk}/move/").content.decode()
    assert move(clerk, shown.pk).status_code == 422
    shown.refresh_from_db()
    assert f"{shown.start_time:%H:%M}" == "10:00"
    page = clerk.get(f"/exams/{shown.pk}/edit/").content.decode()
    assert "The scanner and the images keep what they were sent." in page


def test_looking_for_free_times_moves_nothing(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    page = move(clerk, shown.pk, look="next", reason="Typed").content.decode()
    assert 'value="2026-11-24T07:00"' in page
    assert 'value="Typed"' in page
    shown.refresh_from_db()
    assert shown.version == 1


def test_conflict_is_asked_about_and_accepted_with_a_reason(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    booked("14:00", "14:30", PatientName="Müller^Jürgen")
    response = move(clerk, shown.pk)
    page = response.content.decode()
    assert response.status_code == 422
    assert "14:00–14:30 overlaps MÜLLER, Jürgen 14:00–14:30" in page
    accept = re.findall(r'name="accept" value="([^"]+)"', page)
    assert move(clerk, shown.pk, accept=accept, reason="Short").status_code == 422
    without = move(clerk, shown.pk, accept=accept, anyway="1")
    assert "Say why it is moved all the same." in without.content.decode()
    accepted = move(clerk, shown.pk, accept=accept, anyway="1", reason="Both are short")
    assert accepted.status_code == 302
    assert last().reason == "Both are short"


def test_move_on_an_old_version_shows_both_values(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    scheduling.reschedule(shown, dt.datetime(2026, 11, 23, 10, 30), by=OTTO)
    response = move(clerk, shown.pk)
    page = response.content.decode()
    assert response.status_code == 409
    assert re.search(r"otto changed this exam \d seconds? ago \(time 10:00 → 10:30", page)
    assert re.search(r"time</th><td>10:00</td><td><strong>10:30</strong></td><td>14:00", page)
    assert 'name="version" value="2"' in page
    assert move(clerk, shown.pk, version=2).status_code == 302


def test_undo_is_for_who_did_it_in_that_session(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    token = undo_of(clerk.get(move(clerk, shown.pk)["Location"]).content.decode())
    colleague, elsewhere = signed_in("Supervisor"), Client()
    elsewhere.force_login(User.objects.get(username="clerk"))
    for client in (colleague, elsewhere):
        refused = client.post("/undo/", {"undo": token, "next": "/patients/"})
        assert "too late" in notice(client, refused)
    forged = clerk.post("/undo/", {"undo": "nonsense", "next": "/patients/"})
    assert "too late" in notice(clerk, forged)
    shown.refresh_from_db()
    assert f"{shown.start_time:%H:%M}" == "14:00"


def test_undo_asks_for_the_right_to_do_it(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    token = undo_of(clerk.get(move(clerk, shown.pk)["Location"]).content.decode())
    account = User.objects.get(username="clerk")
    see = Permission.objects.get(codename="view_scheduledprocedurestep")
    trail.save(account, by=actor, lists={"groups": [], "user_permissions": [see]})
    assert clerk.post("/undo/", {"undo": token}).status_code == 403


def test_undo_is_done_once_and_not_over_what_changed_since(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    first = undo_of(clerk.get(move(clerk, shown.pk)["Location"]).content.decode())
    for told in ("Undone.", "This was undone already."):
        again = clerk.post("/undo/", {"undo": first, "next": "/patients/"})
        assert notice(clerk, again) == told
    shown.refresh_from_db()
    assert (f"{shown.start_time:%H:%M}", shown.version) == ("10:00", 3)
    response = move(clerk, shown.pk, version=3)
    token = undo_of(clerk.get(response["Location"]).content.decode())
    scheduling.set_status(shown, StepStatus.ARRIVED, by=OTTO)
    changed = clerk.post("/undo/", {"undo": token, "next": "/patients/"})
    assert "This is not undone. otto changed this exam" in notice(clerk, changed)


def test_undo_of_a_cancellation_asks_when_the_place_is_taken(clerk: Client) -> None:
    shown = booked("11:00", "11:30", PatientName="Rossi^Paolo")
    data = {"why": "Equipment", "version": 1, "next": "/patients/"}
    done = clerk.post(f"/exams/{shown.pk}/cancel/", data)
    token = undo_of(clerk.get(done["Location"]).content.decode())
    booked("11:00", "11:30", PatientID="B")
    sent: dict[str, Any] = {"undo": token, "next": "/patients/"}
    asked = clerk.post("/undo/", sent)
    page = asked.content.decode()
    assert asked.status_code == 422
    assert "ROSSI, Paolo" in page
    assert "overlaps" in page
    sent["accept"] = re.findall(r'name="accept" value="([^"]+)"', page)
    again = clerk.post("/undo/", {**sent, "anyway": "1"})
    assert "Say why it is undone all the same." in again.content.decode()
    done = clerk.post("/undo/", {**sent, "anyway": "1", "reason": "Two scanners"})
    assert notice(clerk, done) == "Undone."
    shown.refresh_from_db()
    assert shown.status == "SCHEDULED"


# --- several at once ------------------------------------------------------------------------------


def test_afternoon_is_previewed_counted_moved_and_undone(clerk: Client) -> None:
    first, second = booked("13:00", "13:30"), booked("14:00", "14:30")
    booked("09:00", "09:30")
    here = f"/move/?station={station().pk}&day=2026-11-23&after=12:00&minutes=30"
    page = clerk.get(here).content.decode()
    seen = re.findall(r'name="seen" value="([^"]+)"', page)[0]
    assert "<strong>13:30</strong>" in page
    assert "<strong>14:30</strong>" in page
    assert "09:00" not in page
    wrong = clerk.post(here, {"seen": seen, "count": "3"})
    assert wrong.status_code == 422
    response = clerk.post(here, {"seen": seen, "count": "2", "reason": "Running late"})
    assert response.status_code == 302
    page = clerk.get(response["Location"]).content.decode()
    assert "2 exams are moved." in page
    for each, time in ((first, "13:30"), (second, "14:30")):
        each.refresh_from_db()
        assert f"{each.start_time:%H:%M}" == time
    response = clerk.post("/undo/", {"undo": undo_of(page), "next": "/move/"})
    assert notice(clerk, response) == "Undone: 2 exams."
    first.refresh_from_db()
    assert f"{first.start_time:%H:%M}" == "13:00"


@pytest.mark.parametrize("to", ["", "CT2", "MR9"])
def test_preview_of_an_afternoon_asks_a_fixed_number_of_statements(clerk: Client, to: str) -> None:
    other = station(to, to).pk if to else ""
    if to == "MR9":
        # A scanner of the same modality on which none of the exams may be done.
        row = station(to)
        row.modality = "CT"
        trail.save(row, by=actor)
        for each in (None, "CT head"):
            made = ProcedureType(code=f"C{each}"[:4], modality="CT", description=each or "CT X")
            trail.save(made, by=actor, lists={"allowed_stations": [station()]})
    here = f"/move/?station={station().pk}&day=2026-11-23&after=12:00&minutes=30&to={other}"

    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            page = clerk.get(here).content.decode()
        assert "MÜLLER" in page
        return len(queries)

    clerk.get("/patients/")
    for hour in (13, 14):
        booked(f"{hour}:00", f"{hour}:30", RequestedProcedureDescription="CT head")
    few = statements()
    for minute in range(10, 30):
        booked(f"15:{minute}", "16:00", RequestedProcedureDescription="CT head")
        booked(f"16:{minute}", "17:00", on="CT2")
    assert statements() == few


def test_afternoon_that_somebody_changed_is_shown_again(clerk: Client) -> None:
    shown = booked("13:00", "13:30")
    here = f"/move/?station={station().pk}&day=2026-11-23&after=12:00&minutes=30"
    seen = re.findall(r'name="seen" value="([^"]+)"', clerk.get(here).content.decode())[0]
    scheduling.set_status(shown, StepStatus.ARRIVED, by=OTTO)
    response = clerk.post(here, {"seen": seen, "count": "1"})
    assert response.status_code == 409
    assert "Somebody has changed these exams" in response.content.decode()


# --- editing --------------------------------------------------------------------------------------


def edit(client: Client, pk: int, *, versions: str = "1-1-1", **more: Any) -> Any:
    return client.post(
        f"/exams/{pk}/edit/", {"versions": versions, "procedure-priority": "ROUTINE", **more}
    )


def test_edit_saves_names_without_carets(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    response = edit(
        clerk,
        shown.pk,
        **{"step-performing_physician": "Smith, John", "order-patient_location": "Ward 3"},
    )
    assert response.status_code == 302
    shown.refresh_from_db()
    assert shown.performing_physician == "Smith^John"
    assert shown.requested_procedure.request.patient_location == "Ward 3"
    page = clerk.get(f"/exams/{shown.pk}/edit/").content.decode()
    assert 'value="Smith, John"' in page


def test_name_that_nobody_touched_keeps_its_parts_and_scripts(clerk: Client) -> None:
    whole = "Yamada^Tarou^^Dr.=山田^太郎"
    shown = booked("10:00", "10:30", ScheduledPerformingPhysicianName=whole)
    page = clerk.get(f"/exams/{shown.pk}/edit/").content.decode()
    assert 'value="Yamada, Tarou"' in page
    assert "kept with it: Dr., 山田 太郎" in page
    edit(
        clerk, shown.pk, **{"step-performing_physician": "Yamada, Tarou", "order-admission_id": "A"}
    )
    shown.refresh_from_db()
    assert shown.performing_physician == whole


@pytest.mark.parametrize(
    ("typed", "saved"),
    [
        ("Yamada, Taro", "Yamada^Taro^M^Dr.=山田^太郎"),
        ("Suzuki, Tarou", "Suzuki^Tarou^M^Dr.=山田^太郎"),
        ("Suzuki, Hanako", "Suzuki^Hanako"),
        ("", ""),
    ],
)
def test_corrected_name_keeps_what_has_no_field_and_another_person_nothing(
    clerk: Client, typed: str, saved: str
) -> None:
    whole = "Yamada^Tarou^M^Dr.=山田^太郎"
    shown = booked("10:00", "10:30", ScheduledPerformingPhysicianName=whole)
    edit(clerk, shown.pk, **{"step-performing_physician": typed})
    shown.refresh_from_db()
    assert shown.performing_physician == saved


def test_caret_in_a_name_is_told_at_its_field(clerk: Client) -> None:
    shown = booked("10:00", "10:30")
    response = edit(clerk, shown.pk, **{"step-performing_physician": "Smith^John"})
    assert response.status_code == 422
    assert "Remove &#x27;^&#x27;" in response.content.decode()


def test_edit_on_an_old_version_loses_nothing_of_either(clerk: Client) -> None:
    shown = booked("10:00", "10:30", CommentsOnTheScheduledProcedureStep="old")
    shown.comments = "theirs"
    shown.performing_physician = "Weber^Eva"
    scheduling.save_step(shown, by=OTTO)
    mine = {"step-comments": "mine", "step-performing_physician": "", "order-admission_id": "ADM7"}
    response = edit(clerk, shown.pk, **mine)
    page = response.content.decode()
    assert response.status_code == 409
    assert re.search(r"comments</th><td>old</td><td><strong>theirs</strong></td><td>mine", page)
    # What this person has not touched is now what the other has saved; the rest stays as typed.
    assert 'value="Weber, Eva"' in page
    assert 'value="ADM7"' in page
    assert ">\nmine</textarea>" in page
    assert 'name="versions" value="2-1-1"' in page


def test_edit_on_old_versions_of_two_rows_tells_of_both_and_loses_neither(clerk: Client) -> None:
    shown = booked(
        "10:00",
        "10:30",
        CommentsOnTheScheduledProcedureStep="old",
        ScheduledPerformingPhysicianName="Yamada^Tarou^^Dr.",
    )
    request = shown.requested_procedure.request
    shown.performing_physician = "Yamada^Taro^^Dr."
    scheduling.save_step(shown, by=OTTO)
    request.patient_location = "Ward 9"
    scheduling.save_request(request, by=Actor("hilde"))
    seen = {"step-performing_physician": "Yamada, Tarou", "step-comments": "mine"}
    response = edit(clerk, shown.pk, **seen)
    page = response.content.decode()
    assert response.status_code == 409
    assert "otto, hilde changed this exam" in page
    assert "ward or place – → Ward 9" in page
    assert 'value="Yamada, Taro"' in page
    assert 'value="Ward 9"' in page
    assert 'name="versions" value="2-1-2"' in page
    saved = edit(
        clerk,
        shown.pk,
        versions="2-1-2",
        **{**seen, "step-performing_physician": "Yamada, Taro", "order-patient_location": "Ward 9"},
    )
    assert saved.status_code == 302
    shown.refresh_from_db()
    assert (shown.performing_physician, shown.comments) == ("Yamada^Taro^^Dr.", "mine")


@pytest.mark.parametrize("path", ["edit", "move", "cancel", "status"])
def test_form_that_asks_back_stays_with_the_version_that_the_person_saw(
    clerk: Client, path: str
) -> None:
    shown = booked("10:00", "10:30")
    scheduling.set_status(shown, StepStatus.ARRIVED, by=OTTO)
    wrong = {"step-performing_physician": "A^B", "day": "never", "status": "none"}
    versions = {"version": "1", "versions": "1-1-1"}
    response = clerk.post(f"/exams/{shown.pk}/{path}/", {**wrong, **versions})
    assert response.status_code == 422
    name = "versions" if path == "edit" else "version"
    assert f'name="{name}" value="{versions[name]}"' in response.content.decode()
