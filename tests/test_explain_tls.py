"""Explain, of scanners that call by TLS: certificates, and connections that came to nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

import pytest
from django.utils import timezone

from dicomscp.explain import explanation, remedies, short, words
from dicomscp.explain.story import Cause, Explanation
from dicomscp.models import Association, Query
from tests.asking import query
from tests.cast import actor, step
from tests.test_explain_faults import Scanner, booked, ct, scanner, told_first
from tests.test_explain_page import logged
from worklist import catalogue
from worklist.models import Station

__all__ = ["scanner"]

ONE, OTHER = "1" * 64, "2" * 64


def told(shown_to: Station) -> Explanation:
    return explanation.of_station(step(stations=["CT_1"]), Station.objects.get(pk=shown_to.pk))


def with_certificate(asked: Query, certificate: str) -> None:
    assert asked.association is not None
    Association.objects.filter(pk=asked.association.pk).update(certificate=certificate)


@pytest.fixture
def ct1(db: None, settings: Any) -> Station:
    settings.DICOM_ACCESS = "known"
    made = Station(ae_title="CT_1", name="CT 1", modality="CT", certificates=ONE)
    return catalogue.save_station(made, seen=None, by=actor)


def test_one_that_showed_its_certificate_is_not_told_to_be_turned_away(ct1: Station) -> None:
    with_certificate(logged(query({"Modality": "CT"})), ONE)
    assert Cause.REJECTED not in told(ct1).causes


def test_one_whose_certificate_is_another_by_now_would_be_turned_away(ct1: Station) -> None:
    with_certificate(logged(query({"Modality": "CT"})), OTHER)
    found = told(ct1)
    assert found.cause is Cause.REJECTED
    assert "did not show a certificate that is this scanner's" in " ".join(short.answer(found))
    assert "It showed a certificate that is not trusted for it." in short.answer(found)


def test_the_certificate_of_the_last_call_counts(ct1: Station) -> None:
    first = logged(query({"Modality": "CT"}))
    with_certificate(first, OTHER)
    Association.objects.create(
        opened=timezone.now(),
        calling="CT_1",
        address="10.1.2.31",
        contexts="Modality Worklist Information Model - FIND: Implicit VR Little Endian",
        is_accepted=True,
        reason="known",
        certificate=ONE,
    )
    assert Cause.REJECTED not in told(ct1).causes


def test_a_certificate_that_is_not_known_is_not_told_to_be_wrong(ct1: Station) -> None:
    logged(query({"Modality": "CT"}), association=None)
    assert Cause.REJECTED not in told(ct1).causes


@pytest.mark.django_db(transaction=True)
def test_tls_where_none_is_served(scanner: Scanner) -> None:
    shown = booked()
    ct(networks="127.0.0.1")
    context = ssl.create_default_context()
    with contextlib.suppress(OSError):
        line = socket.create_connection(("127.0.0.1", scanner.port), timeout=10)
        with line, context.wrap_socket(line, server_hostname="worklist"):
            pass
    scanner.over()
    told_first(shown, Cause.REJECTED, "it spoke TLS on the port", "TLS is not served here")
    found = explanation.of_station(shown, Station.objects.get())
    assert "which came to no association" in words.sections(found)[0].lines[0].text
    # It has told no AE title that could be taken over.
    assert remedies.of(found) == ()
    # Who asks afterwards has got over it.
    scanner.ask()
    told_first(shown, Cause.DELIVERED, well=True)
