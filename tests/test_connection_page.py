"""The scanner's page: its connection is tested, its certificates are trusted."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dicomscp.models import Association
from tests.cast import actor, station
from tests.test_trial import HERE, free_port, scanner
from worklist import catalogue
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import Station, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Client:
    user = User(username="service")
    trail.save(user, by=actor)
    user.groups.add(Group.objects.get(name="Administrator"))
    client = Client()
    client.force_login(user)
    return client


def at(port: int, host: str = HERE) -> Station:
    made = station()
    made.test_host, made.test_port = host, port
    return catalogue.save_station(made, seen=None, by=actor)


def tried(client: Client, of: Station, **headers: str) -> Any:
    return client.post(reverse("setup-scanner-test", args=[of.pk]), headers=headers)


# --- the test of a connection ---------------------------------------------------------------------


def test_a_connection_is_tested_and_signed(admin: Client) -> None:
    with scanner() as port:
        ct1 = at(port)
        page = tried(admin, ct1).content.decode()
    assert "<html" in page
    assert "The connection works." in page
    assert f"{HERE} answers on port {port}" in page
    event = AuditEvent.objects.get(action="test")
    assert (event.actor, event.model, event.object_id) == (
        "service",
        "worklist.station",
        str(ct1.pk),
    )
    assert event.after == {"address": f"{HERE} {port}", "result": "good"}


def test_with_htmx_a_part_of_the_page_comes_back(admin: Client) -> None:
    answer = tried(admin, at(free_port()), **{"HX-Request": "true"})
    page = answer.content.decode()
    assert "<html" not in page
    assert "refuses connections" in page
    assert "HX-Request" in answer["Vary"]


def test_nothing_in_the_request_says_where_to_call(admin: Client) -> None:
    ct1 = at(free_port())
    with socket.create_server((HERE, 0)) as other:
        other.settimeout(0.3)
        port = str(other.getsockname()[1])
        where = {"test_host": HERE, "test_port": port, "host": HERE, "port": port}
        admin.post(reverse("setup-scanner-test", args=[ct1.pk]) + f"?port={port}", where)
        with pytest.raises(TimeoutError):
            other.accept()


def test_without_an_address_nothing_is_called(admin: Client) -> None:
    answer = tried(admin, station())
    assert answer.status_code == 422
    assert "save its address and port for tests" in answer.content.decode()
    assert not AuditEvent.objects.filter(action="test").exists()


def test_a_page_that_is_opened_calls_nobody(admin: Client) -> None:
    with socket.create_server((HERE, 0)) as listens:
        listens.settimeout(0.3)
        ct1 = at(listens.getsockname()[1])
        page = admin.get(reverse("setup-scanner", args=[ct1.pk])).content.decode()
        assert "Test connection" in page
        assert admin.get(reverse("setup-scanner-test", args=[ct1.pk])).status_code == 405
        with pytest.raises(TimeoutError):
            listens.accept()


@pytest.mark.parametrize(
    ("host", "stored"),
    [
        (" 10.1.2.31 ", "10.1.2.31"),
        ("fd00::31", "fd00::31"),
        ("ct-1.radiology.example.org", "ct-1.radiology.example.org"),
        ("CT_1", "CT_1"),
        ("http://10.1.2.31/", None),
        ("10.1.2.31:104", None),
        ("user@host", None),
        ("10.1.2", None),
        ("2130706433", None),
        ("a b", None),
        ("-x", None),
        ("[::1]", None),
    ],
)
def test_what_is_no_name_and_no_address_is_refused(host: str, stored: str | None) -> None:
    made = station()
    made.test_host, made.test_port = host, 104
    if stored is None:
        with pytest.raises(ValidationError, match="neither a name nor an address"):
            catalogue.save_station(made, seen=None, by=actor)
    else:
        catalogue.save_station(made, seen=None, by=actor)
        assert Station.objects.get().test_host == stored


@pytest.mark.parametrize(("host", "port"), [("", 104), ("ct1", None), ("ct1", 0), ("ct1", 65536)])
def test_address_and_port_come_together_and_in_bounds(host: str, port: int | None) -> None:
    made = station()
    made.test_host, made.test_port = host, port
    with pytest.raises(ValidationError):
        catalogue.save_station(made, seen=None, by=actor)
    with pytest.raises(IntegrityError), transaction.atomic():
        Station.objects.update(test_host=host, test_port=port)


# --- certificates ---------------------------------------------------------------------------------

FIRST, SECOND = "ab" * 32, "cd" * 32


def shown(fingerprint: str, calling: str = "CT1", subject: str = "CN=ct1") -> None:
    Association.objects.create(
        opened=timezone.now(),
        calling=calling,
        address="10.1.2.31",
        is_accepted=True,
        reason="known",
        certificate=fingerprint,
        certificate_subject=subject,
    )


def test_a_certificate_that_was_seen_is_trusted_by_a_click_and_let_go(admin: Client) -> None:
    ct1 = station()
    shown(FIRST)
    page, change = (
        reverse(name, args=[ct1.pk]) for name in ("setup-scanner", "setup-scanner-certificate")
    )
    told = admin.get(page).content.decode()
    assert "CN=ct1" in told
    assert "ABAB ABAB" in told
    assert "No certificate is bound to this scanner" in told
    admin.post(change, {"trust": FIRST})
    assert Station.objects.get().certificates == FIRST
    assert "is answered only when it shows a certificate" in admin.get(page).content.decode()
    admin.post(change, {"distrust": FIRST})
    assert Station.objects.get().certificates == ""
    actors = AuditEvent.objects.filter(model="worklist.station").values_list("actor", flat=True)
    assert list(actors[:2]) == ["service", "service"]


def test_what_was_never_shown_under_its_titles_is_not_trusted_by_a_click(admin: Client) -> None:
    ct1 = station()
    shown(SECOND, calling="MR1")
    change = reverse("setup-scanner-certificate", args=[ct1.pk])
    for given in ({"trust": SECOND}, {"trust": FIRST}, {"distrust": FIRST}, {}):
        page = admin.post(change, given, follow=True).content.decode()
        assert "nothing was changed" in page
    assert Station.objects.get().certificates == ""


def test_without_tls_nothing_is_said_of_certificates(admin: Client, settings: Any) -> None:
    page = reverse("setup-scanner", args=[station().pk])
    assert "Certificates" not in admin.get(page).content.decode()
    settings.DICOM_TLS_PORT = 2762
    assert "None was shown so far." in admin.get(page).content.decode()


def test_the_page_takes_as_many_statements_for_many_certificates(admin: Client) -> None:
    page = reverse("setup-scanner", args=[station().pk])
    admin.get(page)
    counts = []
    for number in (1, 30):
        for each in range(number):
            shown(f"{each:064x}")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            admin.get(page)
        counts.append(len(captured))
    assert counts[0] == counts[1]
