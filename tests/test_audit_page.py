from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.cast import actor, book, patient, station
from tests.test_roles import signed_in
from worklist import scheduling
from worklist.audit import trail
from worklist.audit.codes import AUDIT_TRAIL
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor
from worklist.models import StepStatus, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def auditor() -> Client:
    user = User(username="aldo")
    user.set_password("quiet-lake-19")
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Auditor")]})
    client = Client()
    client.force_login(user)
    AuditEvent.objects.all().delete()
    return client


def shown(response: Any) -> list[AuditEvent]:
    """The events of a page, less the auditor's own looks at the trail."""
    events = [row["told"].event for row in response.context["told"]]
    return [event for event in events if event.object_label != AUDIT_TRAIL]


def search(client: Client, **query: Any) -> list[AuditEvent]:
    return shown(client.get(reverse("audit"), query))


def test_events_are_found_by_who_what_action_and_day(auditor: Client) -> None:
    anna = patient()
    trail.save(station(), by=actor)
    anna.name = "Meier^Anna"
    trail.save(anna, by=Actor("import_wl"))
    assert {event.action for event in search(auditor)} == {"create", "change"}
    assert [event.actor for event in search(auditor, who="IMPORT")] == ["import_wl"]
    assert [event.action for event in search(auditor, action="change")] == ["change"]
    assert [e.object_label[:3] for e in search(auditor, model="worklist.station")] == ["CT1"]
    today = timezone.localdate()
    tomorrow = today + dt.timedelta(days=1)
    assert len(search(auditor, start=today, end=today)) == 3
    assert search(auditor, start=tomorrow) == []
    assert search(auditor, end=today - dt.timedelta(days=1)) == []


def test_day_ends_at_midnight_of_the_site(auditor: Client) -> None:
    with timezone.override("Europe/Berlin"):
        event = trail.note("sign-in", by=actor)
        late = dt.datetime(2026, 11, 22, 23, 30, tzinfo=dt.UTC)
        AuditEvent.objects.filter(pk=event.pk).update(at=late)
        assert search(auditor, start="2026-11-23", end="2026-11-23") == [event]
        assert search(auditor, start="2026-11-22", end="2026-11-22") == []


def test_everything_about_a_patient_is_found_by_the_id_and_the_look_is_signed(
    auditor: Client,
) -> None:
    step = book(anna := patient(), stations=[station()])
    scheduling.set_status(step, StepStatus.ARRIVED, by=actor)
    book(patient("P2", "Smith^John"))
    response = auditor.post(reverse("audit"), {"identifier": "P1"})
    assert response["Location"] == f"/audit/?patient={anna.pk}"
    page = auditor.get(response["Location"])
    assert "MÜLLER, Anna" in page.content.decode()
    assert {(event.model.rpartition(".")[2], event.action) for event in shown(page)} == {
        ("patient", "create"),
        ("patient", "view"),
        ("imagingservicerequest", "create"),
        ("requestedprocedure", "create"),
        ("scheduledprocedurestep", "create"),
        ("scheduledprocedurestep", "change"),
    }
    assert "Smith" not in page.content.decode()
    view = AuditEvent.objects.get(action="view", model="worklist.patient")
    assert (view.actor, view.object_id) == ("aldo", str(anna.pk))


@pytest.mark.parametrize("by", ["accession_number", "step_id"])
def test_exam_is_found_by_its_identifiers(auditor: Client, by: str) -> None:
    step = book(patient())
    request = step.requested_procedure.request
    typed = step.step_id if by == "step_id" else request.accession_number
    response = auditor.post(reverse("audit"), {"identifier": typed, "who": "ines"})
    assert response["Location"] == f"/audit/?who=ines&step={step.pk}"
    models = {event.model for event in shown(auditor.get(response["Location"]))}
    assert "worklist.scheduledprocedurestep" in models
    assert "worklist.patient" not in models


def test_identifier_that_nobody_has_is_told(auditor: Client) -> None:
    response = auditor.post(reverse("audit"), {"identifier": "NOBODY"})
    assert response.status_code == 422
    assert "No patient or exam has this ID" in response.content.decode()


def test_changes_are_told_in_words(auditor: Client) -> None:
    step = book(patient(), stations=[station()])
    scheduling.set_status(step, StepStatus.ARRIVED, by=actor)
    anna = step.requested_procedure.request.patient
    anna.name, anna.sex, anna.is_unknown = "Yamada^Tarou=山田^太郎", "M", True
    trail.save(anna, by=actor)
    page = auditor.get(reverse("audit")).content.decode()
    for words in (
        "<del>Scheduled</del> → <ins>Arrived</ins>",
        "<ins>YAMADA, Tarou · 山田 太郎</ins>",
        "<ins>Male</ins>",
        "<del>no</del> → <ins>yes</ins>",
    ):
        assert words in page
    # A row that is named by its number is told by what it is called.
    assert f"<ins>{step.requested_procedure}</ins>" in page


def test_pages_follow_each_other_without_a_gap_and_without_counting(
    auditor: Client, django_assert_max_num_queries: Any
) -> None:
    made = [trail.note("sign-in", by=Actor(f"a{number}")).pk for number in range(120)]
    found: list[int] = []
    address = reverse("audit")
    for expected in (50, 50, 20):
        with django_assert_max_num_queries(12) as queries:
            response = auditor.get(address)
        assert not [query for query in queries.captured_queries if "COUNT(" in query["sql"]]
        assert len(shown(response)) == expected
        found += [event.pk for event in shown(response)]
        address = f"/audit/?before={response.context['older']}"
    assert found == made[::-1]
    assert response.context["older"] is None


def test_page_takes_as_many_queries_for_20_events_as_for_2(
    auditor: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(2):
        book(patient(f"P{number}"), stations=[station()])
    auditor.get(reverse("audit"))
    with django_assert_max_num_queries(20) as first:
        auditor.get(reverse("audit"))
    for number in range(2, 12):
        book(patient(f"P{number}"), stations=[station()])
    with django_assert_max_num_queries(len(first)):
        auditor.get(reverse("audit"))


def test_download_holds_what_the_search_finds_and_is_an_event(auditor: Client) -> None:
    anna = patient("=P1")
    anna.comments = "=cmd()"
    trail.save(anna, by=actor, reason="typing error")
    trail.note("sign-in", by=Actor("tom"))
    content = auditor.get(reverse("audit-csv"), {"who": "ines"}).getvalue().decode("utf-8-sig")
    heading, change, create = list(csv.reader(io.StringIO(content)))
    assert heading[:5] == ["at", "who", "address", "action", "outcome"]
    assert (change[1], change[3], change[8]) == ("ines", "Changed", "typing error")
    assert change[9] == "Patient Comments:  → =cmd()"
    assert not any(cell.startswith("=") for cell in (*change, *create))
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor) == ("export", "aldo")
    assert event.after == {"who": "ines", "rows": 2}


@pytest.mark.parametrize("query", ["patient=x", "before=x", "step=999999", "action=nothing"])
def test_address_that_somebody_has_typed_breaks_nothing(auditor: Client, query: str) -> None:
    assert auditor.get("/audit/?{query}").status_code in (200, 422)


# --- who saw whom ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("get", "/exams/{exam}/", {}),
        ("get", "/exams/{exam}/edit/", {}),
        ("post", "/exams/{exam}/edit/", {"versions": "0-0-0"}),
        ("get", "/exams/{exam}/move/", {}),
        ("post", "/exams/{exam}/move/", {"day": "2026-11-25", "time": "11:00", "version": "7"}),
        ("get", "/exams/{exam}/cancel/", {}),
        ("post", "/exams/{exam}/cancel/", {"why": "Equipment", "version": "7"}),
        ("get", "/exams/{exam}/status/", {}),
        ("post", "/exams/{exam}/status/", {"status": "ARRIVED", "version": "7"}),
        ("get", "/exams/{exam}/slip/", {}),
        ("get", "/exams/{exam}/dicom/", {}),
        ("get", "/patients/{anna}/", {}),
        ("get", "/patients/{anna}/edit/", {}),
        ("post", "/patients/{anna}/edit/", {"family": "X", "patient_id": "P1", "version": "77"}),
        ("get", "/patients/{anna}/merge/", {}),
        ("get", "/patients/{other}/merge/", {"with": "{anna}"}),
        ("post", "/patients/{other}/merge/", {"q": "müller"}),
        ("post", "/patients/", {"q": "müller"}),
        ("post", "/exams/new/patients/", {"patient_query": "müller"}),
        ("post", "/walk-in/", {"patient_query": "müller", "act": "find-patient"}),
        ("get", "/walk-in/", {"patient": "{anna}"}),
        ("get", "/exams/new/", {"patient": "{anna}"}),
        (
            "post",
            "/exams/new/slots/?part=twins",
            {"new": "1", "family": "Müller", "given": "Anna", "born": "9.9.48", "sex": "F"},
        ),
        ("get", "/today/", {"day": "2024-07-05"}),
        ("post", "/today/?day=2026-11-25", {"q": "müller"}),
        (
            "get",
            "/move/",
            {"station": "{ct1}", "day": "2024-07-05", "after": "08:00", "minutes": 5},
        ),
        ("get", "/print/day/", {"day": "2024-07-05"}),
        ("get", "/export/exams.csv", {"day": "2024-07-05"}),
    ],
)
def test_who_saw_a_patient_is_found_by_the_patient(
    auditor: Client, method: str, path: str, data: dict[str, Any] | None
) -> None:
    ct1 = station()
    anna = patient(birth_date=dt.date(1948, 9, 9), sex="F")
    other = patient("P2", "Smith^John")
    seen = book(anna, stations=[ct1])
    keys = {"exam": seen.pk, "anna": anna.pk, "other": other.pk, "ct1": ct1.pk}
    supervisor = signed_in("Supervisor")
    asked = {name: str(value).format(**keys) for name, value in data.items()} if data else None
    AuditEvent.objects.all().delete()
    response = getattr(supervisor, method)(path.format(**keys), asked)
    if response.status_code == 302:
        response = supervisor.get(response["Location"])
    assert response.status_code in (200, 409, 422)
    found = [e for e in search(auditor, patient=anna.pk) if e.actor == "supervisor"]
    assert [event.action for event in found] in (["view"], ["print"], ["export"])
    if found[0].model != "worklist.scheduledprocedurestep":
        assert "MÜLLER, Anna · P1" in auditor.get("/audit/?who=supervisor").content.decode()
    assert not [e for e in search(auditor, patient=10 * anna.pk + 1) if e.actor == "supervisor"]


def test_board_that_refreshes_is_signed_once_for_each_patient() -> None:
    book(patient(), stations=[station()])
    clerk = signed_in("Clerk")

    def shown() -> list[list[int]]:
        clerk.get("/today/?day=2024-07-05")
        clerk.get("/today/?day=2024-07-05&view=times")
        events = AuditEvent.objects.filter(action="view").order_by("pk")
        return [event.after["patients"] for event in events]

    (first,) = shown()
    john = patient("P2", "Smith^John")
    book(john, stations=[station()])
    assert shown() == [first, [john.pk]]
    # Ten minutes later it is a look of its own.
    AuditEvent.objects.update(at=timezone.now() - dt.timedelta(minutes=11))
    assert shown() == [first, [john.pk], [*first, john.pk]]
