from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from tests.cast import DAY, actor, book, code, patient, station
from worklist import catalogue, clock
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.catalogue import CodedText, sheet
from worklist.models import (
    ClosedDay,
    Code,
    OpeningHours,
    OpeningTime,
    OrderSet,
    ProcedureType,
    Station,
    StepStatus,
    User,
)
from worklist.views.setup.hours import read_stretches

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: dt.datetime.combine(DAY, dt.time(10, 42)))


@pytest.fixture
def admin() -> Client:
    return signed_in("Administrator")


def signed_in(role: str) -> Client:
    user = User(username=role.lower())
    user.set_password("quiet-lake-19")
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name=role)]})
    client = Client()
    client.force_login(user)
    return client


def kind(short: str = "CTHEAD", **more: Any) -> ProcedureType:
    made = ProcedureType(**{"code": short, "description": "CT head", "modality": "CT", **more})
    return catalogue.save_procedure_type(
        made, allowed_stations=[], requested_code=None, protocol_codes=[], seen=None, by=actor
    )


def form_of(response: Any) -> dict[str, Any]:
    """What a browser would send back untouched."""
    form = response.context["form"]
    data: dict[str, Any] = {"version": response.context["version"]}
    for one in (form, *form.others):
        for each in [one.management_form, *one.forms] if hasattr(one, "forms") else [one]:
            for name in each.fields:
                value = each[name].value()
                if value is not None and value is not False:
                    data[each.add_prefix(name)] = value
    return data


def last() -> AuditEvent:
    return AuditEvent.objects.order_by("-id")[0]


# --- two people at once ---------------------------------------------------------------------------


def test_save_on_an_old_version_is_told_so_with_both_values(admin: Client) -> None:
    ct1 = station()
    page = reverse("setup-scanner", args=[ct1.pk])
    mine = form_of(admin.get(page)) | {"name": "CT One", "location": "Room 9"}
    ct1.name = "CT 1"
    trail.save(ct1, by=actor)
    response = admin.post(page, mine)
    assert response.status_code == 422
    text = response.content.decode()
    assert "Somebody else has saved this first" in text
    assert "ines changed it" in text
    (name, where) = response.context["conflict"].differences
    assert (name.label, name.before, name.after) == ("Name", "CT 1", "CT One")
    assert (where.before, where.after) == ("", "Room 9")
    # What was typed is still there, and is saved once it was seen beside the other.
    again = form_of(response)
    assert again["name"] == "CT One"
    assert admin.post(page, again).status_code == 302
    assert Station.objects.get().name == "CT One"


def test_untouched_forms_save_nothing(admin: Client) -> None:
    ct1 = station()
    hours = OpeningHours(name="Weekdays")
    times = [OpeningTime(weekday=0, opens=dt.time(8), closes=dt.time(12))]
    catalogue.save_opening_hours(hours, times, seen=None, by=actor)
    head, chest = kind(), kind("CTCHEST", description="CT chest")
    catalogue.save_procedure_type(
        head,
        allowed_stations=[ct1],
        requested_code=CodedText("CTH", "99SITE", "CT head"),
        protocol_codes=[CodedText("P1", "99SITE", "Standard")],
        seen=None,
        by=actor,
    )
    trauma = OrderSet(code="TRAUMA", name="Trauma")
    catalogue.save_order_set(trauma, [head, chest], seen=None, by=actor)
    closed = ClosedDay(day=DAY, station=ct1)
    catalogue.save_closed_day(closed, seen=None, by=actor)
    events = AuditEvent.objects.count()
    for name, row in (
        ("setup-scanner", ct1),
        ("setup-hours-edit", hours),
        ("setup-procedure", head),
        ("setup-order-set", trauma),
        ("setup-closed-day", closed),
    ):
        page = reverse(name, args=[row.pk])
        response = admin.post(page, form_of(admin.get(page)))
        assert response.status_code == 302, (name, response.context["form"].mistakes())
    assert AuditEvent.objects.count() == events


# --- scanners -------------------------------------------------------------------------------------


def test_scanner_is_set_up_under_a_signature(admin: Client) -> None:
    new = {"name": "CT 1", "ae_title": "CT01", "modality": "CT", "is_active": "on"}
    response = admin.post(reverse("setup-scanner-new"), new, follow=True)
    assert "CT 1 is saved." in response.content.decode()
    assert Station.objects.get().ae_title == "CT01"
    assert (last().action, last().actor) == ("create", "administrator")


@pytest.mark.parametrize(
    ("title", "why"),
    [
        ("CT-RÖNTGEN", "contains &#x27;Ö&#x27;"),
        ("", "required"),
        ("CT1", "CT Ground Floor already has this AE title."),
        ("CT01", "CT Ground Floor already has this AE title."),
        ("A" * 17, "at most 16"),
    ],
)
def test_ae_title_that_cannot_be_is_told_at_the_field(admin: Client, title: str, why: str) -> None:
    catalogue.save_station(station(), titles=["CT01"], seen=None, by=actor)
    response = admin.post(reverse("setup-scanner-new"), {"name": "CT", "ae_title": title})
    assert response.status_code == 422
    assert why in response.content.decode().replace("&quot;", "&#x27;")
    assert 'href="#id_ae_title"' in response.content.decode()


def test_scanner_with_open_exams_goes_out_of_use_only_when_confirmed(admin: Client) -> None:
    ct1 = station()
    book(patient(), stations=[ct1])
    book(patient("P2"), stations=[ct1], status=StepStatus.COMPLETED)
    book(patient("P3"), stations=[ct1], start_date=DAY - dt.timedelta(days=1))
    page = reverse("setup-scanner", args=[ct1.pk])
    data = form_of(admin.get(page))
    del data["is_active"]
    response = admin.post(page, data)
    assert response.status_code == 422
    assert "1 exam is still booked" in response.content.decode()
    assert Station.objects.get().is_active
    assert admin.post(page, data | {"confirm": "1"}).status_code == 302
    assert not Station.objects.get().is_active


def test_modality_that_came_from_elsewhere_stays(admin: Client) -> None:
    odd = Station(ae_title="X1", modality="HC")
    trail.save(odd, by=actor)
    page = reverse("setup-scanner", args=[odd.pk])
    assert admin.post(page, form_of(admin.get(page))).status_code == 302
    assert Station.objects.get().modality == "HC"


# --- opening hours --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("8-12", [("08:00", "12:00")]),
        ("13:00–17:30, 8:00–12:00", [("08:00", "12:00"), ("13:00", "17:30")]),
        ("8.30 to 12 and 13 bis 17", [("08:30", "12:00"), ("13:00", "17:00")]),
        ("0-24", [("00:00", "23:59")]),
        ("8-12, 12-16", [("08:00", "12:00"), ("12:00", "16:00")]),
    ],
)
def test_stretches_are_read_as_people_write_them(
    text: str, expected: list[tuple[str, str]]
) -> None:
    read = [(f"{opens:%H:%M}", f"{closes:%H:%M}") for opens, closes in read_stretches(text)]
    assert read == expected


@pytest.mark.parametrize("text", ["8", "25-26", "12-8", "8-12, 11-13", "8:75-9", "open", "8-8"])
def test_stretch_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read_stretches(text)


def test_week_is_saved_under_one_signature(admin: Client) -> None:
    data = {"name": "Weekdays", "day0": "8-12, 13-17", "day4": "8-12"}
    events = AuditEvent.objects.count()
    assert admin.post(reverse("setup-hours-new"), data).status_code == 302
    assert AuditEvent.objects.count() == events + 1
    times = ["Mon 08:00-12:00", "Mon 13:00-17:00", "Fri 08:00-12:00"]
    assert last().after["times"] == times
    page = reverse("setup-hours-edit", args=[OpeningHours.objects.get().pk])
    data = form_of(admin.get(page)) | {"day4": ""}
    assert admin.post(page, data).status_code == 302
    assert last().after == {"times": times[:2]}
    stale = admin.post(page, data | {"day4": "9-10"})
    assert stale.status_code == 422
    (times_change,) = stale.context["conflict"].differences
    assert times_change.label == "Opening times"


# --- closed days ----------------------------------------------------------------------------------


def test_closing_a_day_with_booked_exams_asks_first(admin: Client) -> None:
    ct1, mr1 = station(), station("MR1", "MR 3 T")
    book(patient(), stations=[ct1])
    data = {"day": DAY.isoformat(), "station": mr1.pk, "reason": "Service"}
    assert admin.post(reverse("setup-closed-day-new"), data).status_code == 302
    data["station"] = ct1.pk
    response = admin.post(reverse("setup-closed-day-new"), data)
    assert response.status_code == 422
    assert "1 exam is booked on 5 Jul 2024" in response.content.decode()
    data["confirm"] = "1"
    assert admin.post(reverse("setup-closed-day-new"), data).status_code == 302
    listed = admin.get(reverse("setup-closed-days")).context["rows"]
    assert sorted((row["closed"].station.ae_title, row["exams"]) for row in listed) == [
        ("CT1", 1),
        ("MR1", 0),
    ]


def test_day_is_closed_once(admin: Client) -> None:
    for expected in (302, 422):
        response = admin.post(reverse("setup-closed-day-new"), {"day": DAY.isoformat()})
        assert response.status_code == expected
    assert "closed already" in response.content.decode()


def test_day_is_opened_again_unless_somebody_changed_it(admin: Client) -> None:
    closed = ClosedDay(day=DAY)
    catalogue.save_closed_day(closed, seen=None, by=actor)
    page = reverse("setup-closed-day-delete", args=[closed.pk])
    assert "Somebody else" in admin.post(page, {"version": 7}, follow=True).content.decode()
    assert ClosedDay.objects.exists()
    assert "working day" in admin.post(page, {"version": 1}, follow=True).content.decode()
    assert not ClosedDay.objects.exists()
    assert last().action == "delete"


# --- procedures -----------------------------------------------------------------------------------


def a_procedure(**more: Any) -> dict[str, Any]:
    return {
        "description": "CT head",
        "code": "CTHEAD",
        "modality": "CT",
        "minutes": "15",
        "is_active": "on",
        "protocol-TOTAL_FORMS": "3",
        "protocol-INITIAL_FORMS": "0",
        **more,
    }


def coded(prefix: str, value: str, scheme: str = "99SITE", meaning: str = "x") -> dict[str, str]:
    return {f"{prefix}-value": value, f"{prefix}-scheme": scheme, f"{prefix}-meaning": meaning}


def test_codes_are_found_or_made(admin: Client) -> None:
    known = code("CTTH", "x")
    data = a_procedure(
        **coded("requested", "CTTH"),
        **coded("protocol-0", "P2"),
        **coded("protocol-2", "a-long-code-value-of-more-than-16"),
    )
    assert admin.post(reverse("setup-procedure-new"), data).status_code == 302
    head = ProcedureType.objects.get()
    assert head.requested_procedure_code == known
    protocols = list(trail.ordered(head, "protocol_codes"))
    assert [str(each) for each in protocols] == [
        "P2 99SITE x",
        "a-long-code-value-of-more-than-16 99SITE x",
    ]
    assert Code.objects.get(long_value__startswith="a-long").value == ""
    page = reverse("setup-procedure", args=[head.pk])
    untouched = form_of(admin.get(page))
    cleared = untouched | coded("protocol-0", "", "", "")
    assert admin.post(page, cleared).status_code == 302
    assert len(trail.ordered(head, "protocol_codes")) == 1


def test_code_with_a_newer_scheme_version_stays_the_code(admin: Client) -> None:
    plain = Code(value="C1", scheme="99SITE", meaning="x")
    newer = Code(value="C1", scheme="99SITE", meaning="x", scheme_version="2026")
    for each in (plain, newer):
        trail.save(each, by=actor)
    head = ProcedureType(code="K", description="CT", modality="CT", requested_procedure_code=newer)
    trail.save(head, by=actor)
    page = reverse("setup-procedure", args=[head.pk])
    response = admin.post(page, form_of(admin.get(page)) | {"minutes": 5})
    assert response.status_code == 302, response.context["form"].mistakes()
    assert ProcedureType.objects.get().requested_procedure_code == newer


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"minutes": "0"}, "id_minutes"),
        ({"code": "with space"}, "id_code"),
        ({"description": "a\\b"}, "id_description"),
        ({"requested-meaning": "only"}, "id_requested-value"),
        ({"protocol-1-value": "a\\b"}, "id_protocol-1-value"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    admin: Client, more: dict[str, str], field: str
) -> None:
    response = admin.post(reverse("setup-procedure-new"), a_procedure(**more))
    assert response.status_code == 422
    assert field in [mistake.field for mistake in response.context["form"].mistakes()]
    assert not ProcedureType.objects.exists()


def test_usual_scanner_is_one_of_the_allowed(admin: Client) -> None:
    ct1, ct2 = station(), station("CT2", "CT 2")
    data = a_procedure(allowed_stations=[ct1.pk], default_station=ct2.pk)
    response = admin.post(reverse("setup-procedure-new"), data)
    assert "one of the allowed scanners" in response.content.decode()


def test_duplicate_is_filled_from_its_source_and_needs_a_name_of_its_own(admin: Client) -> None:
    head = ProcedureType(code="CTHEAD", description="CT head", modality="CT", minutes=15)
    catalogue.save_procedure_type(
        head,
        allowed_stations=[station()],
        requested_code=None,
        protocol_codes=[CodedText("P1", "99SITE", "Standard")],
        seen=None,
        by=actor,
    )
    page = reverse("setup-procedure-new") + f"?copy={head.pk}"
    data = form_of(admin.get(page))
    assert admin.post(page, data).status_code == 422
    assert admin.post(page, data | {"code": "CTHEAD2"}).status_code == 302
    copy = ProcedureType.objects.get(code="CTHEAD2")
    assert copy.minutes == 15
    assert list(copy.allowed_stations.all()) == [station()]
    assert [str(one) for one in copy.protocol_codes.all()] == ["P1 99SITE Standard"]


@pytest.mark.parametrize(
    ("typed", "found"), [("", 2), ("SCHADEL", 1), ("ct", 2), ("ctabdo", 1), ("ct knee", 0)]
)
def test_catalogue_is_searched_without_accents_and_case(
    admin: Client, typed: str, found: int
) -> None:
    kind("CTSKULL", description="CT Schädel")
    kind("CTABDO", description="CT abdomen")
    response = admin.get(reverse("setup-procedures"), {"q": typed})
    assert len(response.context["page"].object_list) == found


def test_procedure_is_taken_out_of_use_from_the_list(admin: Client) -> None:
    head = kind()
    page = reverse("setup-procedure-active", args=[head.pk])
    response = admin.post(page + "?q=ct", {"active": "0", "version": head.version})
    assert response["Location"] == "/setup/procedures/?q=ct"
    assert not ProcedureType.objects.get().is_active
    stale = admin.post(page, {"active": "1", "version": head.version}, follow=True)
    assert "Somebody else" in stale.content.decode()
    assert not ProcedureType.objects.get().is_active


# --- order sets -----------------------------------------------------------------------------------


def an_order_set(*rows: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    data = {"name": "Trauma", "code": "TRAUMA", "is_active": "on", **more}
    data |= {"item-TOTAL_FORMS": len(rows), "item-INITIAL_FORMS": 0}
    for number, (place, key) in enumerate(rows):
        data |= {f"item-{number}-position": place, f"item-{number}-procedure_type": key}
    return data


def test_order_set_books_in_the_order_of_its_places(admin: Client) -> None:
    head, chest = kind(), kind("CTCHEST", description="CT chest")
    data = an_order_set((2, head.pk), ("", ""), (1, chest.pk))
    assert admin.post(reverse("setup-order-set-new"), data).status_code == 302
    assert trail.ordered(OrderSet.objects.get(), "procedure_types") == [chest, head]


@pytest.mark.parametrize(("count", "why"), [(0, "at least one"), (2, "twice")])
def test_order_set_that_books_nothing_or_one_exam_twice_is_refused(
    admin: Client, count: int, why: str
) -> None:
    head = kind()
    data = an_order_set(*[(number, head.pk) for number in range(count)])
    response = admin.post(reverse("setup-order-set-new"), data)
    assert response.status_code == 422
    assert why in response.content.decode()


# --- who may, and how many queries ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("permission", "mine", "not_mine"),
    [
        ("manage_stations", "setup-scanners", "setup-procedures"),
        ("manage_catalogue", "setup-procedures", "setup-scanners"),
    ],
)
def test_each_half_of_the_setup_asks_for_its_right(
    permission: str, mine: str, not_mine: str
) -> None:
    user = User(username="half")
    right = Permission.objects.get(codename=permission)
    trail.save(user, by=actor, lists={"user_permissions": [right]})
    client = Client()
    client.force_login(user)
    page = client.get(reverse(mine))
    assert page.status_code == 200
    assert reverse(not_mine) not in page.content.decode()
    assert client.get(reverse(not_mine)).status_code == 403


@pytest.mark.parametrize(
    "name",
    [
        "setup-scanners",
        "setup-hours",
        "setup-closed-days",
        "setup-procedures",
        "setup-order-sets",
        "setup-procedures-csv",
    ],
)
def test_list_takes_as_many_queries_for_20_rows_as_for_2(
    admin: Client, name: str, django_assert_max_num_queries: Any
) -> None:
    def fill(number: int) -> None:
        hours = OpeningHours(name=f"H{number}")
        times = [OpeningTime(weekday=number % 7, opens=dt.time(8), closes=dt.time(12))]
        catalogue.save_opening_hours(hours, times, seen=None, by=actor)
        where = Station(ae_title=f"CT{number}", modality="CT", opening_hours=hours)
        catalogue.save_station(where, seen=None, by=actor)
        closed = ClosedDay(day=DAY + dt.timedelta(days=number), station=where)
        catalogue.save_closed_day(closed, seen=None, by=actor)
        row = kind(f"K{number}", default_station=where)
        order_set = OrderSet(code=f"O{number}", name=f"Set {number}")
        catalogue.save_order_set(order_set, [row], seen=None, by=actor)
        book(patient(f"P{number}"), stations=[where])

    for number in range(2):
        fill(number)
    admin.get(reverse(name))
    with django_assert_max_num_queries(20) as first:
        admin.get(reverse(name))
    for number in range(2, 20):
        fill(number)
    with django_assert_max_num_queries(len(first)):
        admin.get(reverse(name))


def test_form_without_its_version_saves_over_nothing() -> None:
    ct1 = station("CT1", "CT 1")
    client = signed_in("Administrator")
    told = client.post(
        f"/setup/scanners/{ct1.pk}/", {"name": "Other", "ae_title": "CT1", "modality": "CT"}
    )
    assert told.status_code == 422
    ct1.refresh_from_db()
    assert ct1.name == "CT 1"


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 17, "-1", "x", "²", ""])
def test_numbers_that_no_row_has_are_not_found(number: str) -> None:
    client = signed_in("Administrator")
    assert client.get("/setup/procedures/new/", {"copy": number}).status_code == 404


def test_sheet_of_too_many_rows_is_refused() -> None:
    client = signed_in("Administrator")
    content = "code,description,modality,minutes\n" + "X,Y,CT,5\n" * (sheet.MAX_LINES + 1)
    told = client.post("/setup/procedures/import/", {"content": content})
    assert told.status_code == 422
    assert b"more than 5000 rows" in told.content
