"""What is signed though no row is written: sign-ins, refusals, looks at the trail itself."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from tests import tools
from tests.cast import actor, station
from worklist import demo
from worklist.audit import happenings, trail
from worklist.audit.models import AuditEvent
from worklist.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "quiet-lake-19"


@pytest.fixture
def ines() -> User:
    user = User(username="ines")
    user.set_password(PASSWORD)
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name="Clerk")]})
    AuditEvent.objects.all().delete()
    return user


def try_to_sign_in(client: Client, name: str = "ines", password: str = "wrong") -> Any:
    return client.post(reverse("sign-in"), {"username": name, "password": password})


@pytest.fixture
def empty_trail() -> None:
    """Without what the migrations have signed."""
    AuditEvent.objects.all().delete()


def signed() -> list[tuple[str, str, int]]:
    events = AuditEvent.objects.order_by("pk")
    return [(event.action, event.actor, event.outcome) for event in events]


def test_a_sign_in_that_fails_is_signed_under_the_name_that_was_claimed(
    client: Client, ines: User
) -> None:
    try_to_sign_in(client, "inse")
    assert signed() == [("sign-in", "inse", 4)]
    event = AuditEvent.objects.get()
    assert event.address == "127.0.0.1"
    assert "wrong" not in str(vars(event))


def test_a_form_that_is_not_filled_in_is_no_try(client: Client, ines: User) -> None:
    try_to_sign_in(client, password="")
    assert signed() == []


def test_a_lock_is_signed_and_so_is_each_try_that_makes_it_last_longer(
    client: Client, ines: User
) -> None:
    for _ in range(10):
        try_to_sign_in(client)
    assert signed() == [
        *[("sign-in", "ines", 4)] * 9,
        ("lock", "ines", 12),
        ("sign-in", "ines", 8),
    ]
    assert AuditEvent.objects.get(action="lock").after == {"minutes": 15}
    try_to_sign_in(client, password=PASSWORD)
    assert signed()[11:] == [("lock", "ines", 12), ("sign-in", "ines", 8)]


def test_who_leaves_is_signed(client: Client, ines: User) -> None:
    try_to_sign_in(client, password=PASSWORD)
    client.post(reverse("sign-out"))
    assert signed() == [("sign-in", "ines", 0), ("sign-out", "ines", 0)]
    client.post(reverse("sign-out"))
    assert len(signed()) == 2


def test_who_switches_users_has_left(client: Client, ines: User) -> None:
    client.force_login(ines)
    client.post(reverse("switch-user"))
    assert signed() == [("sign-out", "ines", 0)]


def test_who_is_signed_out_by_the_clock_has_not_asked_for_it(client: Client, ines: User) -> None:
    client.force_login(ines)
    session = client.session
    session["seen"] = int(time.time()) - 3600
    session.save()
    client.get(reverse("home"))
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.reason) == ("sign-out", "ines", "idle")


def test_a_page_that_one_may_not_see_is_signed(client: Client, ines: User) -> None:
    client.force_login(ines)
    assert client.get(reverse("setup-scanners")).status_code == 403
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.outcome) == ("deny", "ines", 8)
    assert event.object_label == "/setup/scanners/"
    assert event.after == {"permission": "worklist.manage_stations"}


def test_a_refused_caller_is_signed(empty_trail: None) -> None:
    refused = happenings.caller_refused(
        calling="STRANGER", called="WORKLIST", address="10.9.9.9", why="not on the list"
    )
    trail.sign([refused])
    assert signed() == [("refuse", "STRANGER", 8)]
    assert AuditEvent.objects.get().reason == "not on the list"


def test_a_program_signs_its_start_and_its_stop(empty_trail: None) -> None:
    with happenings.running("runscp", ae_title="WORKLIST"):
        assert signed() == [("start", "runscp", 0)]
    assert signed() == [("start", "runscp", 0), ("stop", "runscp", 0)]


def test_a_database_that_is_away_holds_no_start_up_and_the_log_tells(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: object, **options: object) -> None:
        raise OperationalError("no route to Müller")

    monkeypatch.setattr(AuditEvent, "save", away)
    with happenings.running("runscp"):
        pass
    assert [record.message for record in caplog.records] == [
        "the start of runscp is not in the audit trail: OperationalError",
        "the stop of runscp is not in the audit trail: OperationalError",
    ]


def test_the_web_signs_its_start_and_its_stop(transactional_db: None, empty_trail: None) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": tools.database_url(),
        "DJANGO_SETTINGS_MODULE": "worklist.settings",
    }
    command = [*demo.gunicorn("127.0.0.1:0"), "--log-level", "info"]
    with subprocess.Popen(
        command, cwd=demo.ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as web:
        try:
            assert web.stderr is not None
            assert any("Booting worker" in line for line in web.stderr)
            assert signed() == [("start", "web", 0)]
            web.terminate()
            web.communicate(timeout=60)
        finally:
            web.kill()
    assert signed() == [("start", "web", 0), ("stop", "web", 0)]


def test_the_trail_tells_who_read_it(client: Client, ines: User) -> None:
    ines.groups.set([Group.objects.get(name="Auditor")])
    client.force_login(ines)
    trail.save(station(), by=actor)
    page = client.get(reverse("audit"), {"action": "create"})
    assert [row["told"].event.action for row in page.context["told"]] == ["create"]
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.object_label, event.after) == (
        "view",
        "audit trail",
        {"action": "create"},
    )
    # The next page of the same search is the same look.
    client.get(reverse("audit"), {"before": event.pk})
    assert AuditEvent.objects.latest("pk") == event


def test_the_page_tells_what_failed_and_hides_what_only_machines_read(
    client: Client, ines: User
) -> None:
    ines.groups.set([Group.objects.get(name="Auditor")])
    client.force_login(ines)
    trail.sign(
        [
            happenings.query(
                calling="CT1",
                called="WORKLIST",
                address="10.0.0.9",
                identifier=b"M\xfcller",
                transfer_syntax="1.2.840.10008.1.2",
                status=0xA700,
                comment="5001 matches, limit 5000",
            )
        ]
    )
    page = client.get(reverse("audit")).content.decode()
    assert '<strong class="bad">Worklist query failed</strong>' in page
    assert "5001 matches" in page
    assert "TfxsbGVy" not in page
