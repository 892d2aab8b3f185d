"""/metrics, and the alert rules and the dashboard that are made of it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import heartbeat
from dicomscp.models import Heartbeat
from dicomscp.server import WorklistScp
from dicomscp.tally import Tally
from tests import network
from tests.asking import query
from tests.cast import station, step
from tests.pages import sign_in
from tests.test_heartbeat import SOON, beat
from tests.test_status import HOUR, MINUTE, asked
from tests.waiting import until

DOCS = Path(__file__).resolve().parent.parent / "docs"
pytestmark = pytest.mark.django_db

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(**more: Any) -> Samples:
    answer = Client().get("/metrics", **more)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.content.decode())
    samples = [sample for family in families for sample in family.samples]
    found = {(each.name, frozenset(each.labels.items())): each.value for each in samples}
    assert len(found) == len(samples), "a sample is there twice"
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def counts() -> dict[str, Any]:
    tally = Tally()
    for milliseconds in (4, 40, 20_000):
        tally.query("CT1", status=0, matches=3, milliseconds=milliseconds)
    tally.query("CT-1", status=0, matches=1, milliseconds=4)
    tally.query("STRANGER", status=0xA700, matches=None, milliseconds=4)
    tally.query("EVIL", status=None, matches=1, milliseconds=4)
    for reason in ("known", "known", "stranger"):
        tally.association(reason)
    return {**tally.counts(), "bounds": {"malformed": 5}}


def fill() -> None:
    ct1 = station("CT1")
    ct1.titles.create(ae_title="CT-1")
    station("MR1")
    station("US1")
    now = timezone.now()
    ends = [
        {"setting": "DICOM_TLS_CA", "subject": "a", "ends": f"{now + dt.timedelta(days=90)}"},
        {"setting": "DICOM_TLS_CA", "subject": "b", "ends": f"{now + dt.timedelta(days=9)}"},
    ]
    replica = {"state": "behind", "behind": 80.5}
    beat(replica=replica, counts=counts(), associations=2, dropped=4, unsigned=1, certificates=ends)
    for number in range(10):
        asked("CT1", ago=(1 + 10 * number) * MINUTE)
        asked("MR1", ago=3 * HOUR + 10 * number * MINUTE)


def test_everything_is_counted_by_station_and_status(settings: Any) -> None:
    settings.AUDIT_SYSLOG_HOST = "siem"
    fill()
    found = scrape()
    here = {"process": "scp1:11112"}
    assert value(found, "worklist_replica_read", **here) == 0
    assert value(found, "worklist_replica_behind_seconds", **here) == 80.5
    assert value(found, "worklist_queries_total", station="CT1", status="0000", **here) == 4
    assert value(found, "worklist_queries_total", station="other", status="A700", **here) == 1
    assert value(found, "worklist_queries_total", station="other", status="none", **here) == 1
    assert value(found, "worklist_matches_total", station="CT1", **here) == 10
    assert value(found, "worklist_query_seconds_bucket", le="0.005", **here) == 4
    assert value(found, "worklist_query_seconds_bucket", le="0.05", **here) == 5
    assert value(found, "worklist_query_seconds_bucket", le="10.0", **here) == 5
    assert value(found, "worklist_query_seconds_bucket", le="+Inf", **here) == 6
    assert value(found, "worklist_query_seconds_count", **here) == 6
    assert value(found, "worklist_query_seconds_sum", **here) == pytest.approx(20.056)
    assert value(found, "worklist_associations_total", reason="known", **here) == 2
    assert value(found, "worklist_refused_callers_total", reason="stranger", **here) == 1
    assert value(found, "worklist_refused_callers_total", reason="address", **here) == 0
    assert value(found, "worklist_associations_open", **here) == 2
    assert value(found, "worklist_journal_dropped_total", **here) == 4
    assert value(found, "worklist_audit_lost_total", **here) == 1
    assert value(found, "worklist_bounds_passed_total", bound="malformed", **here) == 5
    assert value(found, "worklist_bounds_passed_total", bound="connections", **here) == 0
    assert 0 <= value(found, "worklist_heartbeat_age_seconds", **here) < 30
    assert 59 <= value(found, "worklist_station_asked_seconds", station="CT1") < 70
    assert ("worklist_station_asked_seconds", frozenset({("station", "US1")})) not in found
    silent = [value(found, "worklist_station_silent", station=s) for s in ("CT1", "MR1", "US1")]
    assert silent == [0, 1, 0]
    left = value(found, "worklist_certificate_seconds", setting="DICOM_TLS_CA")
    assert 8.9 * 86400 < left < 9.1 * 86400
    assert value(found, "worklist_missing_migrations") == 0
    assert value(found, "worklist_database_bytes") > 0
    assert value(found, "worklist_audit_waiting") > 0


def test_processes_are_told_apart_and_one_that_has_stopped_is_not_told() -> None:
    now = timezone.now()
    beat(counts=counts())
    beat(counts=counts(), port=104)
    for worker in (1, 2):
        beat(counts=counts(), port=105, worker=worker)
    # One of them was killed and is replaced already.
    beat(counts=counts(), port=105, worker=2, at=now - dt.timedelta(seconds=9))
    beat(host="died", port=107, at=now - 5 * MINUTE, associations=3)
    beat(host="ended", port=106, at=now - MINUTE, stopped=now - MINUTE)
    found = scrape()
    ages = {
        dict(labels)["process"]: age
        for (name, labels), age in found.items()
        if name == "worklist_heartbeat_age_seconds"
    }
    assert set(ages) == {"scp1:11112", "scp1:104", "scp1:105/1", "scp1:105/2", "died:107"}
    assert ages["died:107"] > 290
    assert value(found, "worklist_associations_open", process="died:107") == 0
    Heartbeat.objects.exclude(host="ended").delete()
    assert not [name for name, _ in scrape() if name == "worklist_heartbeat_age_seconds"]


@pytest.mark.django_db(transaction=True)
def test_what_goes_over_the_line_arrives() -> None:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    try:
        station("METRIC1")
        step()
        with heartbeat.beating(scp, every=SOON):
            with network.association(scp.port, ImplicitVRLittleEndian, ae_title="METRIC1") as assoc:
                network.ask(assoc, query())

            def matches() -> list[float]:
                return [
                    count
                    for (name, labels), count in scrape().items()
                    if name == "worklist_matches_total" and ("station", "METRIC1") in labels
                ]

            until(lambda: matches() == [1])
    finally:
        scp.stop()


def test_more_stations_and_processes_take_no_more_statements(
    django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    fill()
    Client().get("/metrics")
    with django_assert_max_num_queries(10) as first:
        Client().get("/metrics")
    for number in range(10):
        station(f"US{number}")
        beat(port=number)
        asked(f"US{number}")
    with django_assert_num_queries(len(first)):
        Client().get("/metrics")


# --- who may read it ------------------------------------------------------------------------------


def test_only_the_addresses_of_the_setting_and_who_may_see_queries_read_it(settings: Any) -> None:
    settings.METRICS_ALLOW = [ip_network("10.1.2.0/24"), ip_network("::1")]

    def status(client: Client, address: str = "10.9.9.9", **headers: str) -> int:
        return client.get("/metrics", REMOTE_ADDR=address, headers=headers).status_code

    nobody = Client()
    assert [status(nobody, each) for each in ("10.1.2.3", "::1")] == [200, 200]
    assert [status(nobody, each) for each in ("10.9.9.9", "127.0.0.1", "")] == [403] * 3
    assert status(sign_in("Technologist")) == 200
    assert status(sign_in("Auditor")) == 403
    # What a proxy passes on comes from the proxy's address, whoever asks.
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP"):
        assert status(nobody, "10.1.2.3", **{name: "10.1.2.3"}) == 403


def test_without_a_database_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def cursor(*args: object) -> None:
        raise OperationalError("no route to host")

    monkeypatch.setattr(connection, "cursor", cursor)
    answer = Client().get("/metrics")
    assert (answer.status_code, answer.content) == (503, b"database unavailable\n")


# --- what is made of it ---------------------------------------------------------------------------


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))["groups"]:
        yield from group["rules"]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each stands, and what it asks."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads((DOCS / "dashboard.json").read_text("utf-8"))["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_rules_and_dashboard_name_what_there_is(settings: Any) -> None:
    settings.AUDIT_SYSLOG_HOST = "siem"
    fill()
    samples = scrape()
    there = {name for name, _ in samples}
    named = {
        (where, name)
        for where, asked in expressions()
        for name in re.findall(r"worklist_\w+", asked)
    }
    assert len({where for where, _ in named}) > 15
    assert {(where, name) for where, name in named if name not in there} == set()
    labels: dict[str, set[str]] = {}
    for name, pairs in samples:
        labels.setdefault(name, set()).update(dict(pairs))
    for where, text in expressions():
        for name, by in re.findall(r"by \(([\w, ]+)\) \(\w+\((worklist_\w+)", text):
            wanted = set(name.split(", "))
            assert wanted <= labels[by], where


def test_each_rule_can_be_read_by_who_is_woken_by_it() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_a_dashboard_has_no_two_panels_in_one_place() -> None:
    board = json.loads((DOCS / "dashboard.json").read_text("utf-8"))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in board["panels"]}) == len(places)
