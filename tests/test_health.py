"""Probes and `manage.py healthcheck`: what lives, what is ready, and what is wrong in words."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from dicomscp import heartbeat
from dicomscp.models import Heartbeat
from dicomscp.server import WorklistScp
from tests import breaking
from tests.pages import sign_in
from tests.test_heartbeat import SOON, beat
from tests.waiting import until
from worklist import database
from worklist.audit.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outside world: no database."""

    def cursor(*args: object) -> None:
        raise OperationalError("no route to host")

    monkeypatch.setattr(connection, "cursor", cursor)


@pytest.fixture
def one_missing() -> Iterator[None]:
    migration = MigrationRecorder.Migration.objects.filter(app="dicomscp").latest("pk")
    migration.delete()
    yield
    migration.save(force_insert=True)


def ask(path: str, **more: Any) -> tuple[int, str]:
    answer = Client().get(path, **more)
    return answer.status_code, answer.content.decode()


def check(**options: Any) -> str:
    told = io.StringIO()
    call_command("healthcheck", stdout=told, **options)
    (line,) = told.getvalue().splitlines()
    return line


def test_the_process_lives_and_is_ready(db: None, django_assert_max_num_queries: Any) -> None:
    database.missing_migrations()
    with django_assert_max_num_queries(0):
        assert ask("/healthz") == (200, "ok\n")
    with django_assert_max_num_queries(2):
        assert ask("/readyz") == (200, "ok\n")


def test_without_a_database_it_lives_and_is_not_ready(away: None) -> None:
    assert ask("/healthz") == (200, "ok\n")
    assert ask("/readyz") == (503, "database unavailable\n")


def test_without_a_migration_it_is_not_ready(one_missing: None) -> None:
    assert ask("/readyz") == (503, "migrations missing: 1; run manage.py migrate\n")


def test_a_probe_is_not_sent_to_the_proxy(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert ask("/readyz")[0] == 200
    assert ask("/sign-in/")[0] == 301


def test_what_answers_beats_and_has_its_database_is_healthy(scp: WorklistScp) -> None:
    with heartbeat.beating(scp, every=SOON):
        until(Heartbeat.objects.exists)
        line = check(port=scp.port)
    assert line.startswith(f"healthy: WORKLIST at 127.0.0.1 port {scp.port} answers C-ECHO; ")
    assert line.endswith(" answers; heartbeat 0 s ago")
    assert ("SQLite" if connection.vendor == "sqlite" else "PostgreSQL") in line


def test_without_a_heart_it_is_not(scp: WorklistScp) -> None:
    with pytest.raises(CommandError, match=r"^unhealthy: .* answers, but has no heartbeat of it$"):
        check(port=scp.port)
    beat(port=scp.port)
    heart = Heartbeat.objects.get()
    heart.at -= 100 * SOON + heartbeat.STALE
    heart.save()
    with pytest.raises(CommandError, match=r"its last heartbeat is 3[23] s old$"):
        check(port=scp.port)


def test_what_does_not_answer_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    beat(port=port)
    with pytest.raises(CommandError) as told:
        check(port=port)
    assert str(told.value).startswith(f"unhealthy: WORKLIST at 127.0.0.1 port {port}: ")
    assert "\n" not in str(told.value)


def test_without_its_database_it_is_not(scp: WorklistScp, away: None) -> None:
    with pytest.raises(CommandError, match=r"database does not answer \(OperationalError\)$"):
        check(port=scp.port)


def test_without_a_migration_it_is_not(scp: WorklistScp, one_missing: None) -> None:
    with pytest.raises(CommandError, match=r"lacks 1 migration\(s\): run manage.py migrate$"):
        check(port=scp.port)


def test_the_web_is_asked_whether_it_is_ready(live_server: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = [".example.org", "worklist.example.org"]
    assert check(web=live_server.url) == f"healthy: {live_server.url} is ready"
    settings.ALLOWED_HOSTS = []
    with pytest.raises(CommandError, match=r"answers 400: Bad Request$"):
        check(web=live_server.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CommandError, match="does not answer"):
        check(web=f"http://127.0.0.1:{port}")


def test_a_web_that_is_not_ready_says_why(live_server: Any, one_missing: None) -> None:
    with pytest.raises(CommandError, match="answers 503: migrations missing: 1; run"):
        check(web=live_server.url)


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_a_server_that_cannot_write_its_files_is_a_database_that_is_away() -> None:
    client = Client(raise_request_exception=False)
    with breaking.writes_fail(AuditEvent, "XX000"):
        answer = client.post("/sign-in/", {"username": "nobody", "password": "none"})
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_a_session_that_cannot_be_stored_is_no_fault_of_the_request() -> None:
    client = sign_in("Clerk")
    client.raise_request_exception = False
    # Ended by an administrator.
    with breaking.writes_fail(Session, "57P01"):
        answer = client.get("/today/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    Session.objects.all().delete()
    # Signed out meanwhile, elsewhere.
    assert client.get("/today/").status_code == 302
