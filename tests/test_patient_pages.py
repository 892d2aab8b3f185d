"""The pages of patients, and what nobody has touched."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import Any

import pytest
from django.test import Client

from tests.cast import MONDAY, actor, booked, patient, step
from tests.test_exam_pages import OTTO, clerk, last, notice, stand_still, supervisor
from tests.test_roles import signed_in
from worklist import scheduling
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import Patient, PatientMerge, User

pytestmark = pytest.mark.django_db
__all__ = ["clerk", "stand_still", "supervisor"]  # fixtures


# --- patients -------------------------------------------------------------------------------------


def searched(client: Client, text: str, path: str = "/patients/") -> str:
    found = client.post(path, {"q": text})
    assert text not in found["Location"]
    page = client.get(found["Location"])
    assert page["Cache-Control"] == "no-store"
    # Nobody else's address leads to it.
    assert 'value="' + text not in Client().get(found["Location"]).content.decode()
    return page.content.decode()


@pytest.mark.parametrize("born", ["9.9.48", "9 Sep 1948", "1948-09-09"])
def test_patients_are_found_by_their_date_of_birth(clerk: Client, born: str) -> None:
    patient("P1", "Rossi^Paolo", birth_date=dt.date(1948, 9, 9))
    patient("P2", "Meier^Anna")
    page = searched(clerk, born)
    assert "ROSSI" in page
    assert "MEIER" not in page


def test_patients_are_found_and_the_look_is_signed(clerk: Client) -> None:
    patient("P1", "Łukasiewicz^Jan")
    patient("P2", "Meier^Anna")
    page = searched(clerk, "lukas")
    assert "ŁUKASIEWICZ" in page
    assert "MEIER" not in page
    assert last().action == "view"
    assert "Nobody is found" in searched(clerk, "nobody")


def test_unknown_patients_are_listed(clerk: Client) -> None:
    patient("E26-0001", "UNKNOWN^MALE^23NOV1042", is_unknown=True)
    patient("P2", "Meier^Anna")
    page = clerk.get("/patients/?unknown=1").content.decode()
    assert "E26-0001" in page
    assert "MEIER" not in page


PATIENT = {
    "family": "Müller",
    "given": "Anna",
    "birth_date": "1962-03-14",
    "sex": "F",
    "patient_id": "P1",
    "version": 1,
}


def test_patient_is_edited_in_parts_and_told_what_scanners_will_show(clerk: Client) -> None:
    anna = patient(name="Müller^Anna=山田^太郎^M")
    booked("10:00", "10:30", PatientID="P1")
    booked("12:00", "12:30", PatientID="P1", ScheduledProcedureStepStatus="STARTED")
    page = clerk.get(f"/patients/{anna.pk}/edit/").content.decode()
    assert "1 open exam will show the change" in page
    assert "1 exam has started" in page
    data = {**PATIENT, "family": "Meier", "title": "Dr.", "ideographic_family": "山田"}
    data |= {"ideographic_given": "花子", "allergies": "Iodine\nLatex"}
    assert clerk.post(f"/patients/{anna.pk}/edit/", data).status_code == 302
    anna.refresh_from_db()
    assert anna.name == "Meier^Anna^^Dr.=山田^花子^M"
    assert anna.allergies == "Iodine\\Latex"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"family": "Mül^ler"}, "Remove"),
        ({"family": ""}, "required"),
        ({"birth_date": "2030-01-01"}, "in the future"),
        ({"birth_date": "1850-01-01"}, "130 years"),
        ({"family": "x" * 40, "given": "y" * 40}, "limit is 64"),
        ({"patient_id": "P2"}, "there already"),
    ],
)
def test_what_is_wrong_with_a_patient_is_told(
    clerk: Client, changes: dict[str, str], told: str
) -> None:
    anna = patient()
    patient("P2")
    response = clerk.post(f"/patients/{anna.pk}/edit/", {**PATIENT, **changes})
    assert response.status_code == 422
    assert told in response.content.decode()


def test_patient_on_an_old_version_loses_nothing_of_either(clerk: Client) -> None:
    anna = patient(allergies="Latex")
    anna.name, anna.weight = "Meier^Anna", "70"
    scheduling.save_patient(anna, by=OTTO)
    data = {**PATIENT, "birth_date": "", "sex": "", "weight": ""}
    data["allergies"] = "Latex\nIodine"
    response = clerk.post(f"/patients/{anna.pk}/edit/", data)
    page = response.content.decode()
    assert response.status_code == 409
    assert "otto changed this patient" in page
    assert 'value="Meier"' in page
    assert 'value="70"' in page
    assert "Latex\nIodine</textarea>" in page


def test_two_who_change_two_parts_of_a_name_both_have_their_way(clerk: Client) -> None:
    anna = patient(name="Müller^Anna=山田^花子^M")
    anna.name = "Müller^Anne=山田^花子^M"
    scheduling.save_patient(anna, by=OTTO)
    mine = {"birth_date": "", "sex": "", "ideographic_family": "山田", "ideographic_given": "花子"}
    data = {**PATIENT, **mine, "family": "Meier"}
    response = clerk.post(f"/patients/{anna.pk}/edit/", data)
    page = response.content.decode()
    assert response.status_code == 409
    assert "<td>MEIER, Anna" in page
    assert 'value="Anne"' in page
    assert 'name="version" value="2"' in page
    # Above the form stands the patient as stored.
    assert '<p class="record-confirm"><strong><bdi>MÜLLER, Anne</bdi>' in page
    again = {**data, "given": "Anne", "version": 2}
    assert clerk.post(f"/patients/{anna.pk}/edit/", again).status_code == 302
    anna.refresh_from_db()
    assert anna.name == "Meier^Anne=山田^花子^M"


def test_patient_form_that_is_wrong_stays_with_the_version_that_the_person_saw(
    clerk: Client,
) -> None:
    anna = patient()
    anna.weight = "70"
    scheduling.save_patient(anna, by=OTTO)
    response = clerk.post(f"/patients/{anna.pk}/edit/", {**PATIENT, "family": ""})
    assert response.status_code == 422
    assert 'name="version" value="1"' in response.content.decode()
    assert clerk.post(f"/patients/{anna.pk}/edit/", PATIENT).status_code == 409


def test_merge_takes_the_survivors_id_typed_and_is_taken_back(supervisor: Client) -> None:
    anna, other = patient("P1"), patient("P2", "Mueller^Anna")
    booked("10:00", "10:30", PatientID="P2")
    assert "MUELLER" in searched(supervisor, "mueller", f"/patients/{anna.pk}/merge/")
    page = supervisor.get(f"/patients/{anna.pk}/merge/?with={other.pk}").content.decode()
    assert "MUELLER, Anna" in page
    data = {
        "with": other.pk,
        "survivor": anna.pk,
        f"version_{anna.pk}": 1,
        f"version_{other.pk}": 1,
        "confirm": "P2",
    }
    assert supervisor.post(f"/patients/{anna.pk}/merge/", data).status_code == 422
    done = supervisor.post(f"/patients/{anna.pk}/merge/", {**data, "confirm": "P1"})
    assert done["Location"] == f"/patients/{anna.pk}/"
    assert f'<a href="/patients/{anna.pk}/unmerge/">Undo…</a>' in notice(supervisor, done)
    assert "Merged from" in supervisor.get(f"/patients/{anna.pk}/").content.decode()
    assert "was merged into" in supervisor.get(f"/patients/{other.pk}/").content.decode()
    merge = PatientMerge.objects.get()
    page = supervisor.get(f"/patients/{anna.pk}/").content.decode()
    assert "MUELLER, Anna · P2 was merged into this patient" in page
    assert (
        "Merged into MÜLLER, Anna · P1" in supervisor.get(f"/patients/{other.pk}/").content.decode()
    )
    exam = merge.survivor.requests.get().procedures.get().steps.get()
    page = supervisor.get(f"/exams/{exam.pk}/").content.decode()
    assert "patient: MUELLER, Anna · P2 → MÜLLER, Anna · P1" in page
    back = supervisor.post(f"/patients/{anna.pk}/unmerge/", {"merge": merge.pk})
    assert back.status_code == 302
    other.refresh_from_db()
    assert other.merged_into is None
    page = supervisor.get(f"/patients/{anna.pk}/").content.decode()
    assert "A merge into this patient was taken back" in page


def test_merge_with_who_was_merged_a_moment_ago_leads_to_the_survivor(supervisor: Client) -> None:
    anna, other, third = patient("P1"), patient("P2"), patient("P3")
    scheduling.merge(third, other, by=OTTO)
    page = supervisor.get(f"/patients/{anna.pk}/merge/?with={other.pk}")
    assert page.status_code == 409
    text = html.unescape(page.content.decode())
    assert "MÜLLER, Anna · P2 was merged into MÜLLER, Anna · P3: choose that one." in text
    assert f'href="?with={third.pk}"' in text
    page = supervisor.get(f"/patients/{third.pk}/merge/?with={other.pk}")
    assert "was merged into this patient already" in page.content.decode()


def test_clerk_is_told_who_can_identify_an_unknown_patient(clerk: Client) -> None:
    who = patient("U1", "UNKNOWN^MALE^23NOV1042", is_unknown=True)
    for path in (f"/patients/{who.pk}/", "/patients/?unknown=1"):
        assert "Administrator, Supervisor" in clerk.get(path).content.decode()
        assert "Administrator, Supervisor" not in signed_in("Supervisor").get(path).content.decode()
        User.objects.filter(username="supervisor").delete()


def test_history_hides_none_of_many_changes(clerk: Client) -> None:
    anna = patient(sex="M")
    columns = [
        *("weight", "size", "state", "history", "smoking_status", "mother_birth_name"),
        *("responsible_person", "ethnic_group", "occupation", "address", "comments"),
    ]
    for column in columns:
        setattr(anna, column, "NO" if column == "smoking_status" else "1")
    anna.special_needs, anna.allergies, anna.sex, anna.name = "2", "3", "F", "Meier^Anna"
    scheduling.save_patient(anna, by=actor)
    page = clerk.get(f"/patients/{anna.pk}/").content.decode()
    assert "<summary>and 3 more</summary>" in page
    assert "special needs: – → 2" in page


def test_merge_page_shows_and_marks_every_column_that_differs(supervisor: Client) -> None:
    known: dict[str, Any] = {
        "pregnancy_status": 3,
        "special_needs": "Wheelchair",
        "weight": "61",
        "sex": "F",
    }
    anna, other = patient("P1", sex="M"), patient("P2", birth_date=dt.date(1990, 1, 1), **known)
    page = supervisor.get(f"/patients/{anna.pk}/merge/?with={other.pk}").content.decode()
    marked = re.findall(r"<dt>([^<]+)</dt><dd><mark>.*?</span>([^<]+)</mark>", page)
    assert marked == [
        *(("Date of birth", "–"), ("Sex", "Male"), ("Patient ID", "P1"), ("Weight (kg)", "–")),
        *(("Pregnancy", "–"), ("Special needs", "–")),
        *(("Date of birth", "1 Jan 1990"), ("Sex", "Female"), ("Patient ID", "P2")),
        *(("Weight (kg)", "61"), ("Pregnancy", "Definitely pregnant")),
        ("Special needs", "Wheelchair"),
    ]


def test_merge_of_two_who_were_both_changed_tells_of_both(supervisor: Client) -> None:
    anna, other = patient("P1"), patient("P2", "Mueller^Anna")
    for row, weight in ((anna, "70"), (other, "71")):
        row.weight = weight
        scheduling.save_patient(row, by=OTTO)
    data = {"with": other.pk, "survivor": anna.pk, "confirm": "P1"}
    data |= {f"version_{anna.pk}": 1, f"version_{other.pk}": 1}
    page = supervisor.post(f"/patients/{anna.pk}/merge/", data)
    assert page.status_code == 409
    text = page.content.decode()
    assert "weight (kg) – → 70, weight (kg) – → 71" in text
    assert f'name="version_{other.pk}" value="2"' in text


def test_merge_that_is_not_the_newest_is_not_taken_back(supervisor: Client) -> None:
    one, two, three = (patient(f"P{n}") for n in (1, 2, 3))
    first = scheduling.merge(two, one, by=actor)
    scheduling.merge(three, two, by=actor)
    page = supervisor.get(f"/patients/{one.pk}/unmerge/").content.decode()
    assert "Another merge came later: take that one back first." in page
    refused = supervisor.post(f"/patients/{one.pk}/unmerge/", {"merge": first.pk})
    assert refused.status_code == 422
    assert "Another merge of this patient came later: take that one back first." in (
        refused.content.decode()
    )


def test_clerks_do_not_merge_and_auditors_see_no_patient(clerk: Client) -> None:
    anna = patient()
    assert clerk.get(f"/patients/{anna.pk}/merge/").status_code == 403
    auditor = signed_in("Auditor")
    shown = step()
    for path in (f"/patients/{anna.pk}/", "/patients/", f"/exams/{shown.pk}/"):
        assert auditor.get(path).status_code == 403
    assert Patient.objects.count() == 2
    assert dt.date(2026, 11, 23) == MONDAY


# --- what nobody has touched ----------------------------------------------------------------------


def sent_back(page: str) -> dict[str, str]:
    """The fields of the page's form as a browser sends them, with its own line ends."""
    fields = dict(
        re.findall(r'<input type="(?:text|hidden|date)" name="([^"]+)" value="([^"]*)"', page)
    )
    for name, text in re.findall(r'<textarea name="([^"]+)"[^>]*>\n?(.*?)</textarea>', page, re.S):
        fields[name] = text.replace("\n", "\r\n")
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', page, re.S):
        fields[name] = "".join(re.findall(r'value="([^"]*)" selected', options))
    return {name: html.unescape(text) for name, text in fields.items() if "csrf" not in name}


@pytest.mark.parametrize(
    "stored",
    [
        {"name": "^Cher"},
        {"name": "=山田^太郎"},
        {"name": "Müller^Anna^^^"},
        {"birth_date": dt.date(1880, 1, 1)},
        {"patient_id": "A*1"},
        {"allergies": "Latex\\Iodine"},
    ],
)
def test_stored_patient_whom_nobody_touched_is_saved_without_a_change(
    clerk: Client, stored: dict[str, Any]
) -> None:
    anna = patient(**stored)
    before = trail.snapshot(anna)
    data = sent_back(clerk.get(f"/patients/{anna.pk}/edit/").content.decode())
    assert data["version"] == "1"
    assert clerk.post(f"/patients/{anna.pk}/edit/", data).status_code == 302
    anna.refresh_from_db()
    assert (trail.snapshot(anna), anna.version) == (before, 1)
    assert clerk.post(f"/patients/{anna.pk}/edit/", {**data, "weight": "70"}).status_code == 302
    anna.refresh_from_db()
    assert trail.snapshot(anna) == {**before, "weight": "70"}


@pytest.mark.parametrize("sign", ["*", "?"])
def test_wildcard_in_a_new_patient_id_is_told(clerk: Client, sign: str) -> None:
    response = clerk.post(f"/patients/{patient().pk}/edit/", {**PATIENT, "patient_id": f"P{sign}"})
    assert response.status_code == 422
    assert "which scanners read as a wildcard" in response.content.decode()


def test_imported_exam_that_nobody_touched_is_saved_without_a_change(clerk: Client) -> None:
    shown = booked(
        "10:00",
        "10:30",
        CommentsOnTheScheduledProcedureStep="one\ntwo",
        ScheduledPerformingPhysicianName=f"{'F' * 40}^{'G' * 23}",
        RequestedProcedurePriority="LOW",
    )
    data = sent_back(clerk.get(f"/exams/{shown.pk}/edit/").content.decode())
    assert data["step-comments"] == "one\r\ntwo"
    assert clerk.post(f"/exams/{shown.pk}/edit/", data).status_code == 302
    assert not AuditEvent.objects.filter(action="change").exists()
    # Somebody else's line is taken over by who has not touched the text.
    shown.comments = "one\ntwo\nthree"
    scheduling.save_step(shown, by=OTTO)
    data |= {"order-admission_id": "ADM7"}
    response = clerk.post(f"/exams/{shown.pk}/edit/", data)
    assert response.status_code == 409
    assert sent_back(response.content.decode())["step-comments"] == "one\r\ntwo\r\nthree"


def test_urgency_is_offered_as_when_booking(clerk: Client) -> None:
    def offered(priority: str) -> list[str]:
        shown = booked("10:00", "10:30", RequestedProcedurePriority=priority)
        page = clerk.get(f"/exams/{shown.pk}/edit/").content.decode()
        (options,) = re.findall(r'<select name="procedure-priority".*?</select>', page, re.S)
        return re.findall(r">([^<>\s]+)</option>", options)

    assert offered("STAT") == ["Routine", "Urgent", "Emergency"]
    assert offered("LOW") == ["Low", "Routine", "Urgent", "Emergency"]
    assert offered("") == ["–", "Routine", "Urgent", "Emergency"]
