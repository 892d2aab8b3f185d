"""A scanner is added step by step: the form, the calls that are heard and taken over, the sheet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp.models import Association, Query
from dicomscp.server import WorklistScp
from dicomscp.wire import client as wire
from tests import network
from tests.asking import query
from tests.cast import actor, station, step
from tests.pages import sign_in
from worklist import catalogue
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import Station, StationTitle, User

pytestmark = pytest.mark.django_db

HERE = "127.0.0.1"
NEW = {
    "name": "CT 1",
    "modality": "CT",
    "ae_title": "CT_01",
    "test_host": "10.1.2.31",
    "test_port": "104",
}


@pytest.fixture(autouse=True)
def known(settings: Any) -> None:
    settings.DICOM_ACCESS = "known"


@pytest.fixture
def admin() -> Client:
    return sign_in("Administrator")


def ct(title: str = "CT_01", **more: Any) -> Station:
    made = Station(name="CT 1", ae_title=title, modality="CT", **more)
    return catalogue.save_station(made, seen=None, by=actor)


def called(calling: str = "CT_01", address: str = "10.1.2.31", **more: Any) -> Association:
    usual = {"opened": timezone.now(), "called": "WORKLIST", "is_accepted": True, "reason": "known"}
    return Association.objects.create(calling=calling, address=address, **{**usual, **more})


def since(seconds: float = 60) -> str:
    return str(int((timezone.now() - dt.timedelta(seconds=seconds)).timestamp() * 1000))


def heard(client: Client, of: Station, *, part: bool = False, **more: str) -> Any:
    headers = {"HX-Request": "true"} if part else {}
    page = reverse("setup-scanner-listen", args=[of.pk])
    return client.get(page, {"from": since(), **more}, headers=headers)


def text(response: Any) -> str:
    return str(response.content.decode())


def take(client: Client, of: Station, call: Association, what: str) -> str:
    data = {"call": str(call.pk), "take": what, "from": since()}
    return text(client.post(reverse("setup-scanner-take", args=[of.pk]), data, follow=True))


# --- what is known of it --------------------------------------------------------------------------


def test_the_first_step_saves_signed_and_leads_to_listening(admin: Client) -> None:
    assert "every caller is answered" in text(admin.get(reverse("setup-scanner-add")))
    answer = admin.post(reverse("setup-scanner-add"), NEW | {"only_from": "on"})
    made = Station.objects.get()
    assert answer["Location"].startswith(reverse("setup-scanner-listen", args=[made.pk]) + "?from=")
    assert (made.ae_title, made.networks, made.test_host, made.test_port) == (
        "CT_01",
        "10.1.2.31",
        "10.1.2.31",
        104,
    )
    event = AuditEvent.objects.filter(model="worklist.station").latest("pk")
    assert (event.action, event.actor) == ("create", "administrator")


def test_without_an_address_there_is_no_port_and_no_restriction(admin: Client) -> None:
    admin.post(reverse("setup-scanner-add"), NEW | {"test_host": ""})
    made = Station.objects.get()
    assert (made.networks, made.test_host, made.test_port) == ("", "", None)


@pytest.mark.parametrize(
    ("typed", "field", "why"),
    [
        ({"ae_title": "CT1"}, "ae_title", "CT Ground Floor already has this AE title."),
        ({"ae_title": "CT01"}, "ae_title", "CT Ground Floor already has this AE title."),
        ({"ae_title": "A" * 17}, "ae_title", "at most 16"),
        ({"test_host": "10.1.2"}, "test_host", "neither a name nor an address"),
        ({"test_port": "70000"}, "test_port", "less than or equal to 65535"),
        ({"test_port": ""}, "", "Give both, the address and the port for tests."),
        ({"test_host": "ct1", "only_from": "on"}, "test_host", "write its address"),
        ({"test_host": "", "only_from": "on"}, "test_host", "write its address"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_typed_is_lost(
    admin: Client, typed: dict[str, str], field: str, why: str
) -> None:
    catalogue.save_station(station(), titles=["CT01"], seen=None, by=actor)
    answer = admin.post(reverse("setup-scanner-add"), NEW | {"name": "My CT"} | typed)
    assert answer.status_code == 422
    page = text(answer)
    assert why in page
    assert 'value="My CT"' in page
    assert not field or f'href="#id_{field}"' in page
    assert Station.objects.count() == 1


def test_a_caller_comes_with_what_is_known_of_it(admin: Client) -> None:
    page = reverse("setup-scanner-add")
    form = admin.get(page, {"ae_title": "CT-3", "address": "10.1.2.33"}).context["form"]
    values = {name: form[name].value() for name in ("ae_title", "test_host", "only_from")}
    assert values == {"ae_title": "CT-3", "test_host": "10.1.2.33", "only_from": True}


# --- who calls ------------------------------------------------------------------------------------


def test_whose_calls_are_heard(admin: Client) -> None:
    made = ct(networks="10.1.2.31")
    station("MR1", "MR")
    called()
    called("CT-01", "10.9.9.9", is_accepted=False, reason="stranger")
    called("NOBODY", "10.9.9.8", is_accepted=False, reason="stranger")
    called("", "10.1.2.31", is_accepted=False, reason="cert-untrusted")
    called("MR1", "10.1.2.31")
    called("MR1", "10.9.9.9")
    called(opened=timezone.now() - dt.timedelta(hours=1))
    page = text(heard(admin, made))
    assert page.count("<article") == 5
    assert "nearly its AE title" in page
    assert "capital and small letters, hyphens and underscores count" in page
    assert "its certificate is from an authority that is not trusted (TLS)" in page
    assert "DICOM_TLS_CA" in page
    assert "This AE title is another scanner&#x27;s: at the console it must be CT_01." in page
    assert "Is it this scanner?" in page
    # Of what came to nothing in TLS it is not known that it came without.
    assert page.count("without TLS") == 4


def test_the_part_comes_when_there_is_something_new_and_ends(admin: Client) -> None:
    made = ct()
    first = heard(admin, made, part=True)
    page = text(first)
    assert "<html" not in page
    assert "Nobody has called yet." in page
    token = page.partition("seen=")[2].partition('"')[0]
    assert heard(admin, made, part=True, seen=token).status_code == 204
    called()
    assert "<article" in text(heard(admin, made, part=True, seen=token))
    over = text(heard(admin, made, part=True, seen=token, until=since(0)))
    assert "hx-trigger" not in over
    assert "Listen again" in over


@pytest.mark.parametrize("moment", ["", "x", "9" * 14, "-1", "²"])
def test_a_moment_that_is_none_is_now(admin: Client, moment: str) -> None:
    made = ct()
    called(opened=timezone.now() - dt.timedelta(seconds=5))
    page = reverse("setup-scanner-listen", args=[made.pk])
    assert "Nobody has called yet." in text(admin.get(page, {"from": moment, "until": moment}))


def asks(call: Association, **keys: Any) -> Query:
    return Query.objects.create(
        association=call,
        at=timezone.now(),
        calling=call.calling,
        address=call.address,
        identifier=network.encode(query(**keys), is_explicit=False),
        transfer_syntax=ImplicitVRLittleEndian,
        keys=3,
        matches=2,
        sent=2,
        status=0,
        milliseconds=4,
    )


def test_what_was_asked_is_shown_to_those_who_may_see_queries_and_signed(admin: Client) -> None:
    made = ct()
    asked = asks(called(), PatientID="P77")
    page = text(heard(admin, made))
    assert "2 exams sent" in page
    assert "P77" in page
    event = AuditEvent.objects.filter(action="view").latest("pk")
    assert event.after == {"queries": [asked.pk]}
    user = User(username="engineer")
    right = Permission.objects.get(codename="manage_stations")
    trail.save(user, by=actor, lists={"user_permissions": [right]})
    client = Client()
    client.force_login(user)
    page = text(heard(client, made))
    assert "P77" not in page
    assert "It asked 1 time" in page
    assert not AuditEvent.objects.filter(action="view", actor="engineer").exists()


def test_the_page_takes_as_many_statements_for_many_calls(admin: Client) -> None:
    made = ct(networks="10.1.2.31")
    counts = []
    for number in (1, 15):
        for _ in range(number):
            asks(called())
            called("CT-01", is_accepted=False, reason="stranger")
        heard(admin, made)
        with CaptureQueriesContext(connection) as captured:
            heard(admin, made)
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 20


# --- what is taken over ---------------------------------------------------------------------------


def test_its_ae_title_is_taken_in_place_of_the_other_or_beside_it(admin: Client) -> None:
    made = ct()
    call = called("CT-01", is_accepted=False, reason="stranger")
    assert "The AE title of CT 1 is CT-01 now." in take(admin, made, call, "title")
    assert Station.objects.get().ae_title == "CT-01"
    other = called("ct-01", is_accepted=False, reason="stranger")
    assert "CT 1 is answered as ct-01, too." in take(admin, made, other, "further")
    assert [str(title) for title in StationTitle.objects.all()] == ["ct-01"]
    actors = AuditEvent.objects.filter(model="worklist.station").values_list("actor", flat=True)
    assert list(actors[:2]) == ["administrator", "administrator"]


def test_an_ae_title_of_another_scanner_is_not_taken(admin: Client) -> None:
    made = ct()
    station()
    call = called("CT1", "10.1.2.31")
    assert "CT Ground Floor already has this AE title." in take(admin, made, call, "title")
    assert "CT1: CT Ground Floor already has this AE title." in take(admin, made, call, "further")
    made.refresh_from_db()
    assert made.ae_title == "CT_01"


def test_its_address_is_taken_alone_or_beside_the_others(admin: Client) -> None:
    made = ct()
    assert "Answer it from 10.1.2.31 only" in (called(), text(heard(admin, made)))[1]
    take(admin, made, called(), "address")
    assert Station.objects.get().networks == "10.1.2.31"
    moved = called(address="10.1.2.99", is_accepted=False, reason="address")
    assert "Answer it from 10.1.2.99, too" in text(heard(admin, made))
    take(admin, made, moved, "address")
    assert Station.objects.get().networks == "10.1.2.31, 10.1.2.99"


def test_a_certificate_is_trusted(admin: Client) -> None:
    made = ct()
    call = called(certificate="ab" * 32, certificate_subject="CN=ct1", tls="TLSv1.3")
    page = text(heard(admin, made))
    assert "CN=ct1" in page
    assert "Answer it with this certificate only" in page
    take(admin, made, call, "certificate")
    assert Station.objects.get().certificates == "ab" * 32
    called(certificate="cd" * 32)
    page = text(heard(admin, made))
    assert page.count("Trust this certificate, too") == 1
    assert "Answer it with this certificate only" not in page


def test_what_a_call_did_not_show_is_not_taken(admin: Client) -> None:
    made = ct()
    stranger = called("NOBODY", is_accepted=False, reason="stranger", certificate="ab" * 32)
    for call, what in (
        (stranger, "address"),
        (stranger, "certificate"),
        (stranger, "x"),
        (called(), "title"),
        (called("", reason="silent", is_accepted=False), "title"),
    ):
        assert "nothing was changed" in take(admin, made, call, what)
    data = {"call": "x", "take": "title"}
    admin.post(reverse("setup-scanner-take", args=[made.pk]), data)
    made.refresh_from_db()
    assert (made.ae_title, made.networks, made.certificates) == ("CT_01", "", "")


# --- the last step and the sheet ------------------------------------------------------------------


def test_the_last_step_leads_on(admin: Client) -> None:
    made = ct(test_host=HERE, test_port=104)
    page = text(admin.get(reverse("setup-scanner-added", args=[made.pk])))
    assert "Test connection" in page
    for name in ("setup-scanner-shown", "setup-scanner-sheet"):
        assert reverse(name, args=[made.pk]) in page


def test_the_sheet_says_what_both_sides_enter(admin: Client, settings: Any) -> None:
    settings.DICOM_PUBLIC_HOST, settings.DICOM_PUBLIC_PORT = "worklist.example.org", 104
    settings.DICOM_TLS_PORT = 2762
    made = ct(networks="10.1.2.31", character_set="ISO_IR 100")
    page = text(admin.get(reverse("setup-scanner-sheet", args=[made.pk])))
    for said in (
        "echoscu -v -aet CT_01 -aec WORKLIST worklist.example.org 104",
        "<code>2762</code>",
        "the scanner must show a certificate",
        "Western European (ISO_IR 100)",
        "Explicit VR Little Endian",
        "Implicit VR Little Endian",
        "10.1.2.31",
    ):
        assert said in page


def test_an_address_that_is_a_guess_is_called_one(admin: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["worklist.example.org", "localhost"]
    page = reverse("setup-scanner-sheet", args=[ct().pk])
    told = text(admin.get(page, headers={"host": "worklist.example.org:8000"}))
    assert "worklist.example.org is where this page was opened." in told
    told = text(admin.get(page, headers={"host": "localhost:8000"}))
    assert "does not know under which address" in told
    assert "localhost" not in told.partition("<section")[2]


@pytest.mark.parametrize("name", ["added", "sheet", "add", "listen"])
def test_pages_take_a_fixed_number_of_statements(
    admin: Client, name: str, django_assert_max_num_queries: Any
) -> None:
    page = f"setup-scanner-{name}"
    path = reverse(page, args=[] if name == "add" else [ct().pk])
    admin.get(path)
    with django_assert_max_num_queries(14):
        admin.get(path)


def test_an_empty_board_leads_to_the_first_scanner(admin: Client) -> None:
    assert reverse("setup-scanner-add") in text(admin.get(reverse("today")))


# --- with a real SCP ------------------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind=HERE, port=0)
    scp.start()
    yield scp
    scp.stop()


def echo(port: int, calling: str) -> None:
    ae = AE(calling)
    ae.add_requested_context(Verification)
    ae.associate(HERE, port, ae_title="WORKLIST", evt_handlers=wire.HANDLERS).release()


def refused(port: int, calling: str) -> bool:
    ae = AE(calling)
    ae.add_requested_context(ModalityWorklistInformationFind)
    return ae.associate(HERE, port, ae_title="WORKLIST", evt_handlers=wire.HANDLERS).is_rejected


@pytest.mark.django_db(transaction=True)
def test_a_real_caller_is_heard_taken_over_and_then_answered(
    scp: WorklistScp, admin: Client
) -> None:
    step(stations=[])
    answer = admin.post(reverse("setup-scanner-add"), NEW | {"test_host": ""})
    listening = answer["Location"]
    made = Station.objects.get()
    echo(scp.port, "CT-01")
    assert refused(scp.port, "CT-01")
    network.over(scp)
    page = text(admin.get(listening))
    assert page.count("<article") == 2
    assert "The connection works." not in page  # it is not the one that is set up
    assert "Refused: its AE title is not set up" in page
    call = Association.objects.get(is_accepted=False)
    take(admin, made, call, "title")
    with network.association(scp.port, ImplicitVRLittleEndian, ae_title="CT-01") as assoc:
        assert len(network.ask(assoc, query()).pendings) == 1
    network.over(scp)
    page = text(admin.get(listening))
    assert "Let in: it is set up" in page
    assert "1 exam sent" in page
    assert "The connection works." in page
