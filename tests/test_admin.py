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
    OpeningHours,
    OrderSet,
    ProcedureType,
    Station,
    User,
    WallScreen,
    Group,
)
# What is of a patient: clerks' pages write it.
OF_PATIENTS = (ImagingServiceRequest, Patient, RequestedProcedure, ScheduledProcedureStep)
READ_ONLY = (*OF_PATIENTS, AuditEvent, Counter)


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


def test_lists_take_as_many_queries_for_20_rows_as_for_2(boss: Client) -> None:
    counts: list[dict[Any, int]] = []
    for until in (2, 20):
        for number in range(2 if counts else 0, until):
            fill(number)
        counts.append(
            {model: queries_of_list(boss, model, until) for model in WRITABLE + READ_ONLY}
        )
    assert counts[0] == counts[1]


def queries_of_list(boss: Client, model: type[models.Model], rows: int) -> int:
    boss.get(url(model, "changelist"))
    with CaptureQueriesContext(connection) as queries:
        response = boss.get(url(model, "changelist"))
    assert response.status_code == 200
    assert len(response.context["cl"].result_list) >= rows
    return len(queries)


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
def test_rows_that_are_read_alone_are_written_by_nobody(
    boss: Client, model: type[models.Model]
) -> None:
    fill(1)
    row = model._default_manager.all()[0]
    before = list(model._default_manager.values())
    page = url(model, "change", row.pk)
    assert b'name="_save"' not in boss.get(page).content
    assert boss.post(page, {"name": "X"}).status_code == 403
    assert boss.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert boss.post(url(model, "add"), {"name": "X"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    boss.post(url(model, "changelist"), action)
    assert [values for values in model._default_manager.values() if values in before] == before


# --- looks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", OF_PATIENTS)
@pytest.mark.parametrize("page", ["change", "history"])
def test_each_look_at_what_is_of_a_patient_is_signed(
    boss: Client, model: type[models.Model], page: str
) -> None:
    anna = book(patient()).requested_procedure.request.patient
    row = model._default_manager.get()
    events = AuditEvent.objects.count()
    assert boss.get(url(model, page, row.pk)).status_code == 200
    assert AuditEvent.objects.count() == events + 1
    look = last()
    assert (look.action, look.actor, look.address) == ("view", "boss", "10.1.2.3")
    assert (look.model, look.object_id) == ("worklist.patient", str(anna.pk))
    assert look.after == {"page": f"{model._meta.label_lower} {row.pk} {page}"}


@pytest.mark.parametrize("model", OF_PATIENTS)
def test_list_of_what_is_of_patients_is_one_look_without_their_names(
    boss: Client, model: type[models.Model]
) -> None:
    keys = [book(patient(f"P{n}")).requested_procedure.request.patient.pk for n in range(3)]
    events = AuditEvent.objects.count()
    response = boss.get(url(model, "changelist"), {"q": "muller", "o": "1"})
    assert response.context["cl"].result_count == 3
    assert AuditEvent.objects.count() == events + 1
    look = last()
    assert (look.action, look.actor, look.model) == ("view", "boss", "")
    assert look.after == {
        "page": model._meta.label_lower,
        "rows": 3,
        "query": ["o", "q"],
        "patients": keys,
    }


def test_trail_read_here_is_a_look_as_well(boss: Client) -> None:
    patient()
    event = last()
    boss.get(url(AuditEvent, "changelist"), {"q": "worklist.patient"})
    assert (last().action, last().after["page"]) == ("view", "audit.auditevent")
    boss.get(url(AuditEvent, "change", event.pk))
    assert (last().action, last().after) == (
        "view",
        {"page": f"audit.auditevent {event.pk} change"},
    )


def test_look_that_is_refused_is_no_look() -> None:
    anna = patient()
    client = signed_in("view_station")
    for page in (url(Patient, "change", anna.pk), url(Patient, "changelist")):
        assert client.get(page).status_code == 403
        assert last().action == "deny"
    assert not AuditEvent.objects.filter(action="view").exists()


@pytest.mark.parametrize("model", OF_PATIENTS)
def test_patients_are_not_listed_past_the_trail(boss: Client, model: type[models.Model]) -> None:
    book(patient())
    for source, field in (
        ("imagingservicerequest", "patient"),
        ("requestedprocedure", "request"),
        ("scheduledprocedurestep", "requested_procedure"),
    ):
        query = {"app_label": "worklist", "model_name": source, "field_name": field, "term": "P"}
        assert boss.get(reverse("admin:autocomplete"), query).status_code == 403


# --- two people at once ---------------------------------------------------------------------------

SET_UP: dict[type[models.Model], tuple[str, str]] = {
    ClosedDay: ("reason", "Easter"),
    Code: ("meaning", "Thorax"),
    OpeningHours: ("name", "Winter"),
    OrderSet: ("name", "Fall"),
    ProcedureType: ("description", "CT head"),
    Station: ("location", "Room 3"),
    User: ("first_name", "Ines"),
    Group: ("name", "Night"),
}


@pytest.mark.parametrize(("model", "changed"), SET_UP.items())
def test_old_form_is_told_and_saves_nothing(
    boss: Client, model: type[models.Model], changed: tuple[str, str]
) -> None:
    fill(1)
    column, value = changed
    row = model._default_manager.order_by("-pk")[0]
    page = url(model, "change", row.pk)
    form = form_of(boss, page)
    setattr(row, column, value)
    trail.save(row, by=trail.Actor("otto"))
    events = AuditEvent.objects.count()
    response = boss.post(page, form)
    assert response.status_code == 200
    assert f"otto changed this meanwhile ({label(model, column)}" in errors(response)
    assert f"→ {value})" in errors(response)
    assert getattr(model._default_manager.get(pk=row.pk), column) == value
    assert AuditEvent.objects.count() == events
    # Who has been told, and saves again, means it.
    again = form | {"seen": response.context["adminform"].form["seen"].value()}
    assert boss.post(page, again).status_code == 302
    assert getattr(model._default_manager.get(pk=row.pk), column) != value


def label(model: type[models.Model], column: str) -> str:
    field: Any = model._meta.get_field(column)
    return str(field.verbose_name)


@pytest.mark.parametrize("model", SET_UP)
def test_untouched_form_of_the_newest_version_saves_nothing(
    boss: Client, model: type[models.Model]
) -> None:
    fill(1)
    page = url(model, "change", model._default_manager.order_by("-pk")[0].pk)
    events = AuditEvent.objects.count()
    response = boss.post(page, form_of(boss, page))
    assert response.status_code == 302, errors(response)
    assert AuditEvent.objects.count() == events


def test_form_that_does_not_say_what_it_saw_is_not_saved(boss: Client) -> None:
    where = station()
    page = url(Station, "change", where.pk)
    for seen in ("", "x", "9" * 5000):
        response = boss.post(page, form_of(boss, page) | {"seen": seen, "location": "Room 9"})
        assert "Load the page again" in errors(response)
    assert Station.objects.get().location == where.location


def test_list_that_somebody_changed_makes_a_form_old(boss: Client) -> None:
    thorax, head = code(), code("H", "Head")
    kind = kind_with(thorax)
    page = url(ProcedureType, "change", kind.pk)
    form = form_of(boss, page)
    trail.save(kind, by=trail.Actor("otto"), lists={"protocol_codes": [head]})
    assert "otto changed this meanwhile" in errors(boss.post(page, form))
    assert trail.ordered(kind, "protocol_codes") == [head]


# --- signatures -----------------------------------------------------------------------------------


def test_station_is_added_changed_and_deleted_under_a_signature(boss: Client) -> None:
    new = {"ae_title": "CT1", "name": "Scanner", "modality": "CT", "is_active": "on"}
    response = boss.post(url(Station, "add"), form_of(boss, url(Station, "add")) | new)
    assert response.status_code == 302, errors(response)
    where = Station.objects.get()
    assert (last().action, last().actor, last().address) == ("create", "boss", "10.1.2.3")
    page = url(Station, "change", where.pk)
    boss.post(page, form_of(boss, page) | {"name": "Scanner 2"})
    assert (last().before, last().after) == ({"name": "Scanner"}, {"name": "Scanner 2"})
    boss.post(url(Station, "delete", where.pk), {"post": "yes"})
    assert not Station.objects.exists()
    assert (last().action, last().before["name"]) == ("delete", "Scanner 2")


def test_selected_rows_are_deleted_each_under_a_signature(boss: Client) -> None:
    keys = [station(f"CT{number}").pk for number in range(3)]
    data = {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
    boss.post(url(Station, "changelist"), data)
    assert not Station.objects.exists()
    assert AuditEvent.objects.filter(action="delete", actor="boss").count() == 3


@pytest.mark.parametrize("by_action", [True, False])
def test_row_that_others_need_is_not_deleted(boss: Client, by_action: bool) -> None:
    book(patient(), stations=[station()], codes=[code()])
    for row in (Station.objects.get(), Code.objects.get()):
        data = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        page = url(type(row), "changelist") if by_action else url(type(row), "delete", row.pk)
        response = boss.post(page, data, follow=True)
        assert "would require deleting the following protected" in response.content.decode()
    assert Station.objects.exists()
    assert Code.objects.exists()
    assert not AuditEvent.objects.filter(action="delete").exists()


def test_row_that_became_needed_a_moment_ago_is_not_deleted(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = station()
    page = SignedAdmin.get_deleted_objects

    def then_somebody_books(*args: Any) -> Any:
        found = page(*args)
        book(patient(), stations=[where])
        return found

    monkeypatch.setattr(SignedAdmin, "get_deleted_objects", then_somebody_books)
    response = boss.post(url(Station, "delete", where.pk), {"post": "yes"})
    assert response.status_code == 302
    assert Station.objects.exists()
    assert not AuditEvent.objects.filter(action="delete").exists()


# --- lists of related rows ------------------------------------------------------------------------


def kind_with(*codes: Code) -> ProcedureType:
    kind = ProcedureType(code="K1", description="CT", modality="CT")
    trail.save(kind, by=actor, lists={"protocol_codes": codes})
    return kind


def test_row_and_its_lists_are_saved_under_one_signature(boss: Client) -> None:
    thorax, head, where = code(), code("H", "Head"), station()
    data = {
        "code": "K1",
        "description": "CT",
        "modality": "CT",
        "minutes": "20",
        "allowed_stations": [where.pk],
        **rows(
            "proceduretypecode_set",
            {"position": "2", "code": thorax.pk},
            {"position": "1", "code": head.pk},
            {},
        ),
    }
    response = boss.post(url(ProcedureType, "add"), data)
    assert response.status_code == 302, errors(response)
    assert trail.ordered(ProcedureType.objects.get(), "protocol_codes") == [head, thorax]
    assert AuditEvent.objects.filter(actor="boss").count() == 1
    assert last().after["protocol_codes"] == [str(head), str(thorax)]
    assert last().after["allowed_stations"] == [str(where)]


def test_row_leaves_the_list_under_a_signature() -> None:
    thorax, head = code(), code("H", "Head")
    client = signed_in("change_proceduretype", "view_proceduretype")
    page = url(ProcedureType, "change", kind_with(thorax, head).pk)
    response = client.post(page, form_of(client, page) | {"proceduretypecode_set-0-DELETE": "on"})
    assert response.status_code == 302, errors(response)
    assert last().before["protocol_codes"] == [str(thorax), str(head)]
    assert last().after["protocol_codes"] == [str(head)]


def test_same_row_twice_is_told_at_the_form(boss: Client) -> None:
    thorax = code()
    page = url(ProcedureType, "change", kind_with(thorax).pk)
    data = form_of(boss, page) | {"proceduretypecode_set-1-code": thorax.pk}
    response = boss.post(page, data)
    assert response.status_code == 200
    assert "duplicate" in errors(response)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "CT\\1", "backslash"),
        ("name", "CT\t1", "control character U+0009"),
        ("name", "x" * 17, "at most 16"),
    ],
)
def test_form_says_why_a_text_cannot_be_stored(
    boss: Client, field: str, value: str, why: str
) -> None:
    new = {"ae_title": "CT1", "name": "Scanner", "modality": "CT", field: value}
    response = boss.post(url(Station, "add"), new)
    assert response.status_code == 200
    assert why in errors(response).replace("&#x27;", "'")
    assert not Station.objects.exists()


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
        ("mueller", 1),
        ("götz", 1),
        ("p_", 0),
        ("%", 0),
        ("^", 0),
        ("nobody", 0),
        ("", 4),
    ],
)
def test_search_counts_neither_accents_nor_case(boss: Client, typed: str, found: int) -> None:
    names = ("Müller^Anna", "Yamada^Tarou=山田^太郎", "Łukasiewicz^Jan", "Goetz^Ina")
    for number, name in enumerate(names):
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
    where = station()
    model = {"app_label": "worklist", "model_name": "closedday"}
    query = {**model, "field_name": "station", "term": "ground ct"}
    (found,) = boss.get(reverse("admin:autocomplete"), query).json()["results"]
    assert found["id"] == str(where.pk)


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
    # The first look is one of them.
    assert len(boss.get(page, {"p": 2}).context["events"]) == 12


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
        "seen": form_of(boss, page)["seen"],
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


# --- wall screens --------------------------------------------------------------------------------


def test_wall_screen_shows_its_link_and_the_trail_does_not(boss: Client) -> None:
    assert "given when it is saved" in boss.get(url(WallScreen, "add")).content.decode()
    assert boss.post(url(WallScreen, "add"), {"name": "Corridor"}).status_code == 302
    screen = WallScreen.objects.get()
    for address in (url(WallScreen, "changelist"), url(WallScreen, "change", screen.pk)):
        assert screen.get_absolute_url() in boss.get(address).content.decode()
    assert screen.key not in f"{last().before} {last().after}"
