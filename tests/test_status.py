"""/status/: what runs, who asks and what went wrong, in words that say what to do."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from dicomscp import access, callers
from dicomscp.models import Association, Heartbeat, Query
from tests.cast import actor, station
from tests.certificates import Authority
from tests.pages import sign_in
from tests.test_heartbeat import beat
from worklist import delivery
from worklist.audit import trail
from worklist.audit.models import AuditEvent, Delivery
from worklist.version import VERSION

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


def asked(calling: str = "CT1", *, ago: dt.timedelta = MINUTE, **more: Any) -> Query:
    usual = {
        "at": timezone.now() - ago,
        "keys": 1,
        "sent": 0,
        "status": 0,
        "milliseconds": 4,
        "identifier": b"M\xfcller",
    }
    return Query.objects.create(calling=calling, **{**usual, **more})


def refused(calling: str, *, ago: dt.timedelta = MINUTE, reason: str = "stranger") -> None:
    at = timezone.now() - ago
    Association.objects.create(
        opened=at, closed=at, calling=calling, address="10.1.2.31", is_accepted=False, reason=reason
    )


def look(role: str = "Administrator") -> str:
    answer = sign_in(role).get("/status/")
    assert answer.status_code == 200
    return answer.content.decode()


def text(html: str) -> str:
    """The page as it is read, on one line."""
    body = html[html.index("<main") : html.index("</main>")]
    return unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", body)))


def test_what_runs_is_told() -> None:
    beat(associations=2)
    page = look()
    told = text(page)
    assert f"Version {VERSION}" in told
    running = r"WORKLIST on port 11112, up 6 d 3 h, 2 associations open, heartbeat \d+ s ago"
    assert re.search(running, told)
    assert re.search(r"(SQLite|PostgreSQL) [\d.]+, [\d.]+.(KB|MB), all migrations applied", told)
    assert "state-bad" not in page


def test_a_server_that_does_not_run_is_told_with_the_command_that_starts_it() -> None:
    assert "It is not running, and never was. Start it: python manage.py runscp" in text(look())
    heart = beat(at=timezone.now() - 3 * MINUTE)
    told = text(look())
    assert "WORKLIST on port 11112 is not running: last heard of 3 min ago on scp1" in told
    assert "Start it: python manage.py runscp" in told
    heart.stopped = heart.at
    heart.save()
    assert "it was stopped 3 min ago on scp1" in text(look())


def test_what_the_journal_lost_is_told() -> None:
    beat(dropped=2, unsigned=1)
    assert "3 entries of the journal or the audit trail were lost since its start" in text(look())


def test_scanners_say_when_they_asked_and_who_is_silent() -> None:
    for title in ("CT1", "MR1", "US1"):
        station(title, name=f"Room {title}")
    now = timezone.now() - dt.timedelta(seconds=10)
    for number in range(10):
        asked("CT1", at=now - (1 + 10 * number) * MINUTE)
        asked("MR1", at=now - 3 * HOUR - 10 * number * MINUTE)
    page = look()
    found = re.findall(r"<code>(\w+)</code></th>(.*?)</tr>", page, re.S)
    rows = {title: text(f"<main>{row}</main>") for title, row in found}
    assert "1 min ago" in rows["CT1"]
    assert "10 min" in rows["CT1"]
    assert "silent" not in rows["CT1"]
    assert "3 h 0 min ago silent" in rows["MR1"]
    assert "never" in rows["US1"]


def test_the_last_day_is_counted() -> None:
    for milliseconds in (3, 4, 61):
        asked(milliseconds=milliseconds)
    asked(status=0xA700, milliseconds=5)
    asked(status=None, milliseconds=5)
    asked(status=0xFE00, milliseconds=5)
    asked(ago=25 * HOUR, milliseconds=9999, status=0xC001)
    told = text(look())
    assert "Queries 6 Failed ✗ 2 Show those that failed Median 5 ms Slowest 61 ms" in told


def test_refused_callers_are_added_with_one_click() -> None:
    station()
    for _ in range(5):
        refused("CT-01")
    refused("CT1", reason="address")
    refused("OLD", ago=25 * HOUR)
    page = look()
    told = text(page)
    assert "Refused calls 6" in told
    assert "CT-01 10.1.2.31 ×5: its AE title is not set up Add" in told
    assert "/setup/scanners/new/?ae_title=CT-01&amp;networks=10.1.2.31" in page
    assert "?ae_title=CT1" not in page
    assert "OLD" not in told
    assert {caller.calling for caller in callers.to_look_at()} == {"CT-01", "CT1", "OLD"}


def test_who_may_not_set_up_reads_and_is_offered_nothing() -> None:
    ct1 = station()
    ct1.test_host, ct1.test_port = "10.1.2.31", 104
    ct1.save()
    refused("CT-01")
    assert "/setup/" in look()
    assert "/setup/" not in look("Technologist")


def test_certificates_are_those_that_the_server_reads() -> None:
    ends = timezone.now() + dt.timedelta(days=9, hours=1)
    beat(
        certificates=[
            {"setting": "DICOM_TLS_CERT", "subject": "CN=scp", "ends": ends.isoformat()},
            {"setting": "DICOM_TLS_CA", "subject": "CN=ca", "ends": "2020-01-01T00:00:00+00:00"},
            {"error": "DICOM_TLS_KEY /x: it cannot be read."},
        ]
    )
    page = look()
    told = text(page)
    assert "The one of DICOM_TLS_CERT ends in 9 days, on" in told
    assert "The one of DICOM_TLS_CA has ended on" in told
    assert "DICOM_TLS_KEY /x: it cannot be read." in told
    assert page.count('class="state-bad"') == 3


def test_without_a_server_certificates_are_those_of_the_settings(
    tmp_path: Path, settings: Any
) -> None:
    identity = Authority.make(tmp_path / "authority").issue("scp")
    settings.DICOM_TLS_PORT, settings.DICOM_TLS_CLIENT = 2762, "off"
    settings.DICOM_TLS_CERT = str(identity.certificate)
    assert "The one of DICOM_TLS_CERT ends in " in text(look())
    settings.DICOM_TLS_CERT = str(tmp_path / "gone.pem")
    assert "gone.pem" in text(look())


def test_events_that_wait_for_the_collector_are_told(settings: Any) -> None:
    settings.AUDIT_SYSLOG_HOST = "siem"
    sign_in("Administrator")
    trail.note("start", by=actor)
    AuditEvent.objects.update(at=timezone.now() - MINUTE)
    newest = AuditEvent.objects.latest("pk").pk
    Delivery.objects.create(collector="siem:6514", last=newest - 1)
    assert delivery.backlog("siem:6514").count == delivery.waiting("siem:6514") == 1
    assert delivery.backlog("other:6514").count == AuditEvent.objects.count()
    beat()
    page = look()
    assert "1 event waits for the collector, the oldest for 1 min" in text(page)
    assert "state-bad" not in page
    AuditEvent.objects.update(at=timezone.now() - HOUR)
    assert "See that its sender runs, and what it says: python manage.py send_audit" in text(look())
    Delivery.objects.update(last=AuditEvent.objects.latest("pk").pk)
    assert "Everything was sent to the collector" in text(look())


@pytest.mark.parametrize(
    ("replica", "told", "is_well"),
    [
        ({"state": "read", "behind": 1.2}, "Queries are read from it; what it shows is 1 s", True),
        ({"state": "away", "behind": 80.0}, "It does not answer: queries are read from the", False),
        ({"state": "behind", "behind": 80.0}, "It is behind (1 min): queries are read from", False),
        ({"state": "behind", "behind": None}, "It is behind (unknown): queries are read", False),
        ({"state": "no replica", "behind": None}, "It is no replica of the database", False),
        (None, "", True),
    ],
)
def test_a_replica_is_told_as_the_server_sees_it(
    replica: dict[str, Any] | None, told: str, is_well: bool
) -> None:
    beat(replica=replica)
    page = look()
    assert ("Replica" in text(page)) == (replica is not None)
    assert told in text(page)
    assert ("state-soon" not in page) == is_well
    assert "state-bad" not in page


def test_set_up_mode_is_told() -> None:
    access.let_anybody_in(by=actor)
    assert "Callers that are not set up are answered until" in text(look())


def test_text_for_support_holds_no_secrets_and_nobody(settings: Any) -> None:
    station("CT1")
    beat()
    asked()
    refused("CT-01")
    match = re.search(r"<pre id=\"support\".*?>(.*?)</pre>", look(), re.S)
    assert match
    told = unescape(match[1])
    assert f"Version: {VERSION}" in told
    assert "JOURNAL_DAYS=30" in told
    assert "Refused calls of 24 h: stranger 1" in told
    for secret in (settings.SECRET_KEY, str(settings.DATABASES["default"]["NAME"]), "ller"):
        assert secret not in told


def test_more_scanners_and_calls_take_no_more_statements(
    django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    client = sign_in("Administrator")
    station()
    asked()
    beat()
    client.get("/status/")
    with django_assert_max_num_queries(20) as first:
        client.get("/status/")
    for number in range(12):
        station(f"MR{number}")
        asked(f"MR{number}")
        refused(f"X{number}")
        beat(port=number)
    with django_assert_num_queries(len(first)):
        client.get("/status/")
    assert Heartbeat.objects.count() == 13
