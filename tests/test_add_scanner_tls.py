"""A scanner is added while it calls by TLS: what its certificate was good for, and trusting it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from dicomscp.models import Association
from dicomscp.server import WorklistScp
from tests import network, tools
from tests.test_add_scanner import NEW, admin, take
from tests.test_tls import HERE, Pki, Scps, call, is_answered, pki, scps
from worklist.models import Station

pytestmark = [pytest.mark.django_db(transaction=True), tools.needs("openssl")]

__all__ = ["admin", "pki", "scps"]  # fixtures


@pytest.fixture
def scp(scps: Scps, settings: Any) -> Iterator[WorklistScp]:
    settings.DICOM_ACCESS, settings.DICOM_TLS_PORT = "known", 2762
    yield scps.start()


def test_the_certificate_of_a_real_call_is_taken_over(
    scp: WorklistScp, pki: Pki, admin: Client
) -> None:
    listening = admin.post("/setup/scanners/add/", {**NEW, "test_host": HERE})["Location"]
    made = Station.objects.get()
    title = made.ae_title

    def page() -> str:
        network.over(scp)
        return admin.get(listening).content.decode()

    # What is no use tells no AE title: its address alone says whose call it was.
    assert not is_answered(call(scp.tls_port, pki.files(pki.expired), calling=title))
    assert "its certificate has expired (TLS)" in page()
    assert is_answered(call(scp.tls_port, pki.files(pki.ct1), calling=title))
    shown = page()
    assert "Let in: it is set up" in shown
    assert "CN=ct1" in shown
    assert 'value="certificate"' in shown
    association = Association.objects.get(is_accepted=True)
    take(admin, made, association, "certificate")
    made.refresh_from_db()
    assert made.certificates == association.certificate != ""
    assert call(scp.tls_port, pki.files(pki.mr1), calling=title).is_rejected
    assert call(scp.port, None, calling=title).is_rejected
    assert "did not show a certificate that is this scanner" in page()
    assert is_answered(call(scp.tls_port, pki.files(pki.ct1), calling=title))
