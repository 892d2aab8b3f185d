"""Where a request came from, behind proxies: what they saw, never what a browser says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.cast import actor
from worklist.audit.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "10.1.2.3", "172.18.0.5"),
        (1, "10.1.2.3", "10.1.2.3"),
        (1, "8.8.8.8, 10.1.2.3", "10.1.2.3"),
        (2, "8.8.8.8, 10.1.2.3,172.18.0.9", "10.1.2.3"),
        (2, "10.1.2.3", "172.18.0.5"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "unknown", "172.18.0.5"),
        (1, "", "172.18.0.5"),
        (1, None, "172.18.0.5"),
    ],
)
def test_the_trail_holds_the_address_that_the_outermost_proxy_saw(
    settings: Any, proxies: int, forwarded: str | None, address: str
) -> None:
    settings.PROXIES = proxies
    client = Client(REMOTE_ADDR="172.18.0.5")
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    client.post("/sign-in/", {"username": actor.name, "password": "wrong"}, headers=headers)
    failed = AuditEvent.objects.get(action="sign-in")
    assert failed.address == address


def test_a_lock_behind_a_proxy_leaves_the_colleagues_alone(settings: Any) -> None:
    settings.PROXIES = 1
    client = Client(REMOTE_ADDR="172.18.0.5")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        client.post(
            "/sign-in/",
            {"username": "ines", "password": "wrong"},
            headers={"X-Forwarded-For": "10.1.2.3"},
        )
    locked = AuditEvent.objects.get(action="lock")
    assert (locked.actor, locked.address) == ("ines", "10.1.2.3")
    elsewhere = client.post(
        "/sign-in/",
        {"username": "ines", "password": "wrong"},
        headers={"X-Forwarded-For": "10.1.2.4"},
    )
    assert elsewhere.status_code == 422
    assert AuditEvent.objects.filter(action="lock").count() == 1
