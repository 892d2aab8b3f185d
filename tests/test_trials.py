"""All connections are tested at once, from /status/ and in bounded time."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dicomscp import trials
from dicomscp.trial import Verdict
from dicomscp.trials import Peer
from tests.cast import actor, station
from tests.pages import sign_in
from tests.test_trial import HERE, free_port, listener, scanner
from worklist import catalogue
from worklist.audit.models import AuditEvent
from worklist.models import Station


def peer(port: int) -> Peer:
    return Peer(HERE, port, "CT1")


def until(over: threading.Event) -> Callable[[socket.socket], None]:
    """Take a connection, and say nothing."""

    def say_nothing(connection: socket.socket) -> None:
        over.wait(10)

    return say_nothing


# --- many peers -----------------------------------------------------------------------------------


def test_each_peer_has_its_own_verdict_in_order() -> None:
    with scanner() as one, scanner() as other:
        ports = (one, free_port(), other)
        made = trials.attempt([peer(port) for port in ports], calling="WORKLIST")
    told = [(each.trial.port, each.trial.verdict) for each in made if each.trial]
    verdicts = (Verdict.GOOD, Verdict.REFUSED, Verdict.GOOD)
    assert told == list(zip(ports, verdicts, strict=True))
    assert trials.attempt([], calling="WORKLIST") == []


def test_peers_that_say_nothing_are_waited_for_together() -> None:
    over = threading.Event()
    with listener(until(over)) as port:
        began = time.monotonic()
        made = trials.attempt([peer(port)] * 5, calling="WORKLIST", step=1)
        took = time.monotonic() - began
        over.set()
    assert [each.trial.verdict for each in made if each.trial] == [Verdict.SILENT] * 5
    # One after the other would be five seconds.
    assert took < 4


def test_what_takes_too_long_is_not_waited_for() -> None:
    over = threading.Event()
    calls = 0
    counting = threading.Lock()

    def say_nothing(connection: socket.socket) -> None:
        nonlocal calls
        with counting:
            calls += 1
        over.wait(10)

    with listener(say_nothing) as port:
        began = time.monotonic()
        made = trials.attempt([peer(port)] * 40, calling="WORKLIST", within=0.3, step=1)
        assert time.monotonic() - began < 1
        assert [each.trial for each in made] == [None] * 40
        # Never more than sixteen at once, and those that had not begun never do.
        assert sum(each.was_called for each in made) == 16
        # The next ones have their turn when those are over.
        (last,) = trials.attempt([peer(port)], calling="WORKLIST", step=0.2)
        assert last.trial is not None
        over.set()
    # A plain connection and one for the association, each.
    assert calls <= 2 * 17


# --- the button of /status/ -----------------------------------------------------------------------

PATH = "/status/test/"


def at(title: str, port: int | None, **more: Any) -> Station:
    made = station(title, name=f"Room {title}")
    made.test_host, made.test_port = (HERE, port) if port else ("", None)
    for name, value in more.items():
        setattr(made, name, value)
    return catalogue.save_station(made, seen=None, by=actor)


def rows(page: str) -> dict[str, str]:
    part = page[page.index('<div id="trials">') :]
    found = re.findall(r"<code>(\w+)</code></th>(.*?)</tr>", part, re.S)
    return {
        title: unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", row))) for title, row in found
    }


@pytest.fixture
def admin(db: None) -> Client:
    return sign_in("Administrator")


def test_all_scanners_in_use_with_an_address_are_tested_and_signed(admin: Client) -> None:
    assert reverse("status-test") == PATH
    with scanner() as port:
        ct1 = at("CT1", port)
        mr1 = at("MR1", free_port())
        at("US1", None)
        at("OLD", port, is_active=False)
        answer = admin.post(PATH)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "<html" in page
    assert "1 of 2 connections work." in page
    told = rows(page)
    assert set(told) == {"CT1", "MR1"}
    assert "✓ The connection works. It answers C-ECHO" in told["CT1"]
    assert f"{HERE} {port}" in told["CT1"]
    assert "✗ The connection does not work." in told["MR1"]
    assert "refuses connections to port" in told["MR1"]
    assert "Look whether the port is the right one" in told["MR1"]
    events = AuditEvent.objects.filter(action="test").order_by("pk")
    assert [(each.actor, each.object_id, each.after) for each in events] == [
        ("administrator", str(ct1.pk), {"address": f"{HERE} {port}", "result": "good"}),
        ("administrator", str(mr1.pk), {"address": f"{HERE} {mr1.test_port}", "result": "refused"}),
    ]


def test_with_htmx_the_table_alone_comes_back(admin: Client) -> None:
    at("CT1", free_port())
    answer = admin.post(PATH, headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert page.strip().startswith('<div id="trials">')
    assert "0 of 1 connection works." in page
    assert "HX-Request" in answer["Vary"]


def test_who_took_too_long_is_told_and_signed_only_if_called(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    attempt = trials.attempt
    monkeypatch.setattr(trials, "attempt", lambda *a, **k: attempt(*a, **k, within=0.3, step=1))
    with listener(until(over)) as port:
        for number in range(20):
            at(f"CT{number}", port)
        page = admin.post(PATH).content.decode()
        over.set()
    assert page.count("Not tested to the end.") == 20
    results = AuditEvent.objects.filter(action="test").values_list("after__result", flat=True)
    assert list(results) == ["unfinished"] * 16


def test_a_page_that_is_opened_calls_nobody(admin: Client) -> None:
    with socket.create_server((HERE, 0)) as listens:
        listens.settimeout(0.3)
        at("CT1", listens.getsockname()[1])
        assert "Test all" in admin.get("/status/").content.decode()
        assert admin.get(PATH).status_code == 405
        with pytest.raises(TimeoutError):
            listens.accept()


def test_nothing_in_the_request_says_where_to_call(admin: Client) -> None:
    ct1 = at("CT1", free_port())
    with socket.create_server((HERE, 0)) as other:
        other.settimeout(0.3)
        port = str(other.getsockname()[1])
        where = {"test_host": HERE, "test_port": port, "host": HERE, "port": port}
        admin.post(f"{PATH}?port={port}&station={ct1.pk}", where)
        with pytest.raises(TimeoutError):
            other.accept()


def test_without_an_address_there_is_nothing_to_press(admin: Client) -> None:
    at("CT1", None)
    assert "Test all" not in admin.get("/status/").content.decode()
    answer = admin.post(PATH)
    assert answer.status_code == 422
    assert "No scanner in use has an address for tests" in answer.content.decode()
    assert not AuditEvent.objects.filter(action="test").exists()


def test_who_may_not_test_one_may_not_test_all(db: None) -> None:
    at("CT1", free_port())
    client = sign_in("Technologist")
    assert "Test all" not in client.get("/status/").content.decode()
    assert client.post(PATH).status_code == 403
    assert not AuditEvent.objects.filter(action="test").exists()


def test_more_scanners_take_no_more_statements(
    admin: Client, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    at("CT1", free_port())
    admin.post(PATH)
    with django_assert_max_num_queries(25) as first:
        admin.post(PATH)
    for number in range(5):
        at(f"MR{number}", free_port())
    with django_assert_num_queries(len(first)):
        admin.post(PATH)
