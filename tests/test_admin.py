from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.cast import DAY, actor, book, code, patient, station
from worklist import scheduling
from worklist.admin.signed import SignedAdmin
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import (
    ClosedDay,
    Code,
    Counter,
    ImagingServiceRequest,
    OpeningHours,
    OrderSet,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepStatus,
    User,
    WallScreen,
)

pytestmark = pytest.mark.django_db

WRITABLE = (
    ClosedDay,
    Code,
    ImagingServiceRequest,
    OpeningHours,
    OrderSet,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    User,
    WallScreen,
    Group,
)
READ_ONLY = (AuditEvent, Counter)


@pytest.fixture
def boss() -> Client:
    return signed_in(is_superuser=True)


def signed_in(*permissions: str, is_superuser: bool = False) -> Client:
    user = User(username="boss", is_staff=True, is_superuser=is_superuser)
    user.set_password("boss-of-all-47")
    chosen = list(Permission.objects.filter(codename__in=permissions))
    trail.save(user, by=actor, lists={"user_permissions": chosen})
    client = Client(REMOTE_ADDR="10.1.2.3")
    client.force_login(user)
    return client


def url(model: type[models.Model], page: str, *args: Any) -> str:
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)


def rows(prefix: str, *filled: Mapping[str, Any], initial: int = 0) -> dict[str, Any]:
    """What a browser sends for the rows of an ordered list."""
    data = {f"{prefix}-TOTAL_FORMS": len(filled), f"{prefix}-INITIAL_FORMS": initial}
    for number, row in enumerate(filled):
        data |= {f"{prefix}-{number}-{name}": value for name, value in row.items()}
    return data


def form_of(client: Client, address: str) -> dict[str, Any]:
    """The page's form as a browser would send it back untouched."""
    context = client.get(address).context
    data = {}
    for form in (
        context["adminform"].form,
        *(
            form
            for inline in context["inline_admin_formsets"]
            for form in (inline.formset.management_form, *inline.formset.forms)
        ),
    ):
        for name in form.fields:
            value = form[name].value()
            if value is not None and value is not False:
                data[form.add_prefix(name)] = value
    return data


def last() -> AuditEvent:
    return AuditEvent.objects.order_by("-id")[0]


def errors(response: Any) -> str:
    return str(response.context["errors"]) if response.status_code == 200 else ""


def fill(number: int) -> None:
    """Everything once more."""
    made = code(f"C{number}")
    where = station(f"CT{number}", f"Scanner {number}")
    book(patient(f"P{number}"), stations=[where], codes=[made])
    kind = ProcedureType(code=f"K{number}", description="CT", modality="CT", default_station=where)
    trail.save(kind, by=actor, lists={"protocol_codes": [made], "allowed_stations": [where]})
    trail.save(OpeningHours(name=f"H{number}"), by=actor)
    closed = ClosedDay(day=DAY + dt.timedelta(days=number), station=where)
    trail.save(closed, by=actor)
    trail.save(
        OrderSet(code=f"O{number}", name="Trauma"), by=actor, lists={"procedure_types": [kind]}
    )
    trail.save(Group(name=f"G{number}"), by=actor, lists={"permissions": []})
    trail.save(User(username=f"u{number}"), by=actor)
    Counter.objects.create(name=f"n{number}")
    trail.save(WallScreen(name=f"Corridor {number}"), by=actor)


# --- every model ----------------------------------------------------------------------------------


def test_every_model_of_ours_has_a_page_that_signs() -> None:
    for model, page in admin.site._registry.items():
        assert isinstance(page, SignedAdmin), model
    assert set(admin.site._registry) == {*WRITABLE, *READ_ONLY}


@pytest.mark.parametrize("model", (*WRITABLE, *READ_ONLY))
def test_list_takes_as_many_queries_for_20_rows_as_for_2(
    boss: Client, model: type[models.Model]
) -> None:
    counts: list[int] = []
    for until in (2, 20):
        for number in range(2 if counts else 0, until):
            fill(number)
        boss.get(url(model, "changelist"))
        with CaptureQueriesContext(connection) as queries:
            response = boss.get(url(model, "changelist"))
        assert response.status_code == 200
        assert len(response.context["cl"].result_list) >= until
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("model", (*WRITABLE, *READ_ONLY))
def test_list_page_and_history_open_for_every_model(
    boss: Client, model: type[models.Model]
) -> None:
    fill(1)
    row = model._default_manager.all()[0]
    for address in (
        url(model, "changelist") + "?q=1",
        url(model, "change", row.pk),
        url(model, "history", row.pk),
    ):
        assert boss.get(address).status_code == 200, address
    assert boss.get(url(model, "add")).status_code == (403 if model in READ_ONLY else 200)


@pytest.mark.parametrize("model", READ_ONLY)
def test_trail_and_counters_are_read_alone(boss: Client, model: type[models.Model]) -> None:
    fill(1)
    row = model._default_manager.all()[0]
    rows = set(model._default_manager.values_list("pk", flat=True))
    assert boss.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert boss.post(url(model, "change", row.pk), {}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    boss.post(url(model, "changelist"), action)
    # That somebody tried is signed; nothing is gone.
    assert rows <= set(model._default_manager.values_list("pk", flat=True))


def test_wall_screen_shows_its_link_and_the_trail_does_not(boss: Client) -> None:
    assert "given when it is saved" in boss.get(url(WallScreen, "add")).content.decode()
    assert boss.post(url(WallScreen, "add"), {"name": "Corridor"}).status_code == 302
    screen = WallScreen.objects.get()
    for address in (url(WallScreen, "changelist"), url(WallScreen, "change", screen.pk)):
        assert screen.get_absolute_url() in boss.get(address).content.decode()
    assert screen.key not in f"{last().before} {last().after}"


# --- signatures -----------------------------------------------------------------------------------


def test_patient_is_added_changed_and_deleted_under_a_signature(boss: Client) -> None:
    new = {"name": "Müller^Anna", "patient_id": "P1"}
    response = boss.post(url(Patient, "add"), new)
    assert response.status_code == 302, errors(response)
    anna = Patient.objects.get()
    assert (last().action, last().actor, last().address) == ("create", "boss", "10.1.2.3")
    boss.post(url(Patient, "change", anna.pk), {**new, "name": "Meier^Anna"})
    assert (last().before, last().after) == ({"name": "Müller^Anna"}, {"name": "Meier^Anna"})
    events = AuditEvent.objects.count()
    boss.post(url(Patient, "change", anna.pk), {**new, "name": "Meier^Anna"})
    assert AuditEvent.objects.count() == events
    boss.post(url(Patient, "delete", anna.pk), {"post": "yes"})
    assert not Patient.objects.exists()
    assert (last().action, last().before["name"]) == ("delete", "Meier^Anna")


def test_selected_rows_are_deleted_each_under_a_signature(boss: Client) -> None:
    keys = [patient(f"P{number}").pk for number in range(3)]
    data = {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
    boss.post(url(Patient, "changelist"), data)
    assert not Patient.objects.exists()
    assert AuditEvent.objects.filter(action="delete", actor="boss").count() == 3


@pytest.mark.parametrize("by_action", [True, False])
def test_row_that_others_need_is_not_deleted(boss: Client, by_action: bool) -> None:
    book(anna := patient(), stations=[station()])
    for row in (anna, Station.objects.get()):
        data = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        page = url(type(row), "changelist") if by_action else url(type(row), "delete", row.pk)
        response = boss.post(page, data, follow=True)
        assert "would require deleting the following protected" in response.content.decode()
    assert Patient.objects.exists()
    assert Station.objects.exists()
    assert not AuditEvent.objects.filter(action="delete").exists()


def test_row_that_became_needed_a_moment_ago_is_not_deleted(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = patient()
    page = SignedAdmin.get_deleted_objects

    def then_somebody_books(*args: Any) -> Any:
        found = page(*args)
        book(anna)
        return found

    monkeypatch.setattr(SignedAdmin, "get_deleted_objects", then_somebody_books)
    response = boss.post(url(Patient, "delete", anna.pk), {"post": "yes"})
    assert response.status_code == 302
    assert Patient.objects.exists()
    assert not AuditEvent.objects.filter(action="delete").exists()


# --- steps ----------------------------------------------------------------------------------------


def test_step_is_booked_with_lists_and_identifier_under_one_signature(boss: Client) -> None:
    procedure = book(patient()).requested_procedure
    ct1, mr1 = station(), station("MR1", "MR 3 T")
    thorax = code()
    data = {
        "requested_procedure": procedure.pk,
        "start_date": "2024-07-06",
        "start_time": "09:30",
        "modality": "CT",
        "status": "SCHEDULED",
        **rows(
            "stepstation_set",
            {"position": "2", "station": ct1.pk},
            {"position": "1", "station": mr1.pk},
            {},
        ),
        **rows("stepprotocolcode_set", {"code": thorax.pk}),
    }
    response = boss.post(url(ScheduledProcedureStep, "add"), data)
    assert response.status_code == 302, errors(response)
    step = ScheduledProcedureStep.objects.get(start_date=dt.date(2024, 7, 6))
    assert step.step_id.startswith("S")
    assert step.station_names == "MR 3 T\\CT Ground Floor"
    assert trail.ordered(step, "stations") == [mr1, ct1]
    assert AuditEvent.objects.filter(actor="boss").count() == 1
    assert last().after["stations"] == ["MR1 MR 3 T", "CT1 CT Ground Floor"]
    assert last().after["protocol_codes"] == [str(thorax)]


def test_untouched_step_is_saved_without_a_change(boss: Client) -> None:
    step = book(patient(), stations=[station(), station("MR1", "MR")], codes=[code()])
    events = AuditEvent.objects.count()
    page = url(ScheduledProcedureStep, "change", step.pk)
    response = boss.post(page, form_of(boss, page))
    assert response.status_code == 302, errors(response)
    assert AuditEvent.objects.count() == events


def test_station_leaves_the_list_under_a_signature() -> None:
    step = book(patient(), stations=[station(), station("MR1", "MR")])
    client = signed_in("change_scheduledprocedurestep", "view_scheduledprocedurestep")
    page = url(ScheduledProcedureStep, "change", step.pk)
    data = form_of(client, page) | {"stepstation_set-0-DELETE": "on"}
    response = client.post(page, data)
    assert response.status_code == 302, errors(response)
    assert last().before["stations"] == ["CT1 CT Ground Floor", "MR1 MR"]
    assert last().after["stations"] == ["MR1 MR"]


def test_same_station_twice_is_told_at_the_form(boss: Client) -> None:
    step = book(patient(), stations=[station()])
    page = url(ScheduledProcedureStep, "change", step.pk)
    data = form_of(boss, page)
    data |= {"stepstation_set-1-station": station().pk}
    response = boss.post(page, data)
    assert response.status_code == 200
    assert "duplicate" in errors(response)


def test_identifiers_are_made_once_and_then_fixed(boss: Client) -> None:
    anna = patient()
    boss.post(url(ImagingServiceRequest, "add"), {"patient": anna.pk})
    request = ImagingServiceRequest.objects.get()
    boss.post(url(RequestedProcedure, "add"), {"request": request.pk})
    procedure = RequestedProcedure.objects.get()
    assert request.accession_number.startswith("A")
    assert procedure.procedure_id.startswith("R")
    assert procedure.study_instance_uid.startswith("2.25.")
    for row in (request, procedure):
        page = url(type(row), "change", row.pk)
        names = {"accession_number": "X", "procedure_id": "X", "study_instance_uid": "1.2"}
        assert boss.post(page, form_of(boss, page) | names).status_code == 302
    assert ImagingServiceRequest.objects.get().accession_number == request.accession_number
    assert RequestedProcedure.objects.get().study_instance_uid == procedure.study_instance_uid


def test_identifier_that_is_given_is_taken(boss: Client) -> None:
    data = {"patient": patient().pk, "accession_number": "ACC-7"}
    boss.post(url(ImagingServiceRequest, "add"), data)
    assert ImagingServiceRequest.objects.get().accession_number == "ACC-7"


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "Müller\\Anna", "backslash"),
        ("name", "A^B^C^D^E^F", "at most 5"),
        ("name", "x" * 65, "the limit is 64"),
        ("patient_id", "P\t1", "control character U+0009"),
        ("patient_id", "x" * 65, "at most 64"),
        ("weight", "heavy", "not a decimal number"),
        ("other_ids", "a\\b", "one value a line"),
        ("other_ids", "a\n" + "x" * 65, "the limit is 64"),
    ],
)
def test_form_says_why_a_text_cannot_be_stored(
    boss: Client, field: str, value: str, why: str
) -> None:
    response = boss.post(url(Patient, "add"), {"name": "A^B", "patient_id": "P1", field: value})
    assert response.status_code == 200
    assert why in errors(response).replace("&#x27;", "'")
    assert not Patient.objects.exists()


def test_several_values_are_typed_one_a_line(boss: Client) -> None:
    data = {"name": "A^B", "patient_id": "P1", "other_ids": "X1\r\n X2 \n\n"}
    boss.post(url(Patient, "add"), data)
    assert Patient.objects.get().other_ids == "X1\\X2"
    page = boss.get(url(Patient, "change", Patient.objects.get().pk))
    assert "X1\nX2</textarea>" in page.content.decode()


# --- search ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("muller", 1),
        ("MÜLLER anna", 1),
        ("anna muller", 1),
        ("Müller^Anna", 1),
        ("山田", 1),
        ("lukasiewicz", 1),
        ("p_", 0),
        ("%", 0),
        ("^", 0),
        ("nobody", 0),
        ("", 3),
    ],
)
def test_search_counts_neither_accents_nor_case(boss: Client, typed: str, found: int) -> None:
    for number, name in enumerate(("Müller^Anna", "Yamada^Tarou=山田^太郎", "Łukasiewicz^Jan")):
        book(patient(f"X{number}", name))
    for model in (Patient, ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep):
        response = boss.get(url(model, "changelist"), {"q": typed})
        assert response.context["cl"].result_count == found, model


def test_steps_are_found_by_each_of_their_identifiers(boss: Client) -> None:
    step = book(patient())
    book(patient("P2", "Smith^John"))
    procedure = step.requested_procedure
    for typed in (procedure.request.accession_number, procedure.procedure_id, step.step_id, "p1"):
        response = boss.get(url(ScheduledProcedureStep, "changelist"), {"q": typed.lower()})
        assert [row.pk for row in response.context["cl"].result_list] == [step.pk], typed


def test_autocomplete_finds_as_the_list_does(boss: Client) -> None:
    anna = patient()
    where = {"app_label": "worklist", "model_name": "imagingservicerequest"}
    query = {**where, "field_name": "patient", "term": "muller"}
    (found,) = boss.get(reverse("admin:autocomplete"), query).json()["results"]
    assert found["id"] == str(anna.pk)


# --- history --------------------------------------------------------------------------------------


def test_history_says_who_when_from_where_and_what(boss: Client) -> None:
    step = book(patient())
    scheduling.set_status(step, StepStatus.ARRIVED, by=actor)
    page = boss.get(url(ScheduledProcedureStep, "history", step.pk)).content.decode()
    for text in ("ines", "10.0.0.7", "Changed", "Scheduled Procedure Step Status"):
        assert text in page
    assert "<del>Scheduled</del> → Arrived" in page


def test_history_of_another_object_is_not_shown(boss: Client) -> None:
    anna, john = patient(), patient("P2", "Smith^John")
    assert "SMITH" not in boss.get(url(Patient, "history", anna.pk)).content.decode()
    assert "SMITH" in boss.get(url(Patient, "history", john.pk)).content.decode()


def test_long_history_has_pages(boss: Client) -> None:
    anna = patient()
    for number in range(60):
        anna.comments = f"note {number}"
        trail.save(anna, by=actor)
    page = url(Patient, "history", anna.pk)
    assert len(boss.get(page).context["events"]) == 50
    assert len(boss.get(page, {"p": 2}).context["events"]) == 11


def test_history_is_for_those_who_may_see_the_object() -> None:
    anna = patient()
    assert signed_in().get(url(Patient, "history", anna.pk)).status_code == 403


# --- accounts -------------------------------------------------------------------------------------


def test_account_is_made_and_its_password_never_stands_in_the_trail(boss: Client) -> None:
    password = {"password1": "Quiet-Lake-19", "password2": "Quiet-Lake-19"}
    data = {"username": "ines", "usable_password": "true", **password}
    response = boss.post(url(User, "add"), data)
    assert response.status_code == 302, errors(response)
    ines = User.objects.get(username="ines")
    assert ines.check_password("Quiet-Lake-19")
    assert (last().action, last().actor) == ("create", "boss")
    changed = {"password1": "Other-Lake-20", "password2": "Other-Lake-20"}
    page = reverse("admin:auth_user_password_change", args=[ines.pk])
    assert boss.post(page, {"usable_password": "true", **changed}).status_code == 302
    ines.refresh_from_db()
    assert ines.check_password("Other-Lake-20")
    assert (last().actor, last().after) == ("boss", {"password": "(hidden)"})
    for event in AuditEvent.objects.all():
        assert "md5" not in str(event.before) + str(event.after)


def test_groups_of_an_account_are_signed_for(boss: Client) -> None:
    ines = User(username="ines")
    ines.set_password("Quiet-Lake-19")
    trail.save(ines, by=actor)
    group = Group(name="Night shift")
    trail.save(group, by=actor)
    page = url(User, "change", ines.pk)
    data = {
        "username": "ines",
        "groups": [group.pk],
        "is_active": "on",
    }
    response = boss.post(page, data)
    assert response.status_code == 302, errors(response)
    assert last().after["groups"] == ["Night shift"]
    assert list(User.objects.get(username="ines").groups.all()) == [group]


def test_who_may_only_see_sees_steps_and_changes_none() -> None:
    step = book(patient(), stations=[station()])
    client = signed_in("view_scheduledprocedurestep")
    page = url(ScheduledProcedureStep, "change", step.pk)
    assert "CT1" in client.get(page).content.decode()
    assert client.post(page, {}).status_code == 403


def test_day_of_the_step_narrows_the_list(boss: Client) -> None:
    book(patient())
    book(patient("P2"), start_date=DAY + dt.timedelta(days=1))
    day = {"start_date__year": 2024, "start_date__month": 7, "start_date__day": 5}
    response = boss.get(url(ScheduledProcedureStep, "changelist"), day)
    assert response.context["cl"].result_count == 1
