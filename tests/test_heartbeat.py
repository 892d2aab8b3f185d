"""The heartbeat of runscp: a row that is renewed, and that no answer depends on."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import heartbeat
from dicomscp.heartbeat import EVERY, STALE, Heart, processes
from dicomscp.journal import JOURNAL
from dicomscp.models import Heartbeat
from dicomscp.server import WorklistScp
from dicomscp.tally import BOUNDS, OTHERS, Tally
from tests import network
from tests.asking import query
from tests.cast import step
from tests.processes import Start, runscp
from tests.waiting import until
from worklist.audit import seals, trail
from worklist.audit.models import Seal
from worklist.audit.trail import Actor

__all__ = ["runscp"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)
SOON = dt.timedelta(milliseconds=20)


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


def beat(**more: Any) -> Heartbeat:
    now = timezone.now()
    usual = {
        "host": "scp1",
        "pid": 7,
        "version": "1",
        "ae_title": "WORKLIST",
        "port": 11112,
        "started": now - dt.timedelta(days=6, hours=3),
        "at": now,
    }
    return Heartbeat.objects.create(**{**usual, **more})


def test_the_audit_trail_is_sealed_with_each_beat(scp: WorklistScp) -> None:
    with heartbeat.beating(scp, every=SOON):
        for action in ("view", "print"):
            event = trail.note(action, by=Actor("anna"))
            until(Seal.objects.filter(upto__gte=event.pk).exists)
    assert seals.verify().faults == []


def test_a_server_says_that_it_runs_and_how(scp: WorklistScp) -> None:
    step()
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        network.ask(assoc, query())
        with heartbeat.beating(scp, every=SOON):
            row = until(Heartbeat.objects.first)
            assert (row.ae_title, row.port, row.tls_port) == ("WORKLIST", scp.port, None)
            assert (row.associations, row.dropped, row.stopped) == (1, JOURNAL.dropped, None)
            assert row.host
            assert row.version
            until(lambda: Heartbeat.objects.filter(at__gt=row.at).exists())
            (process,) = processes()
            assert process.is_alive
            assert process.age < STALE
    row = Heartbeat.objects.get()
    assert row.stopped is not None
    assert row.started <= row.at == row.stopped
    assert not processes()[0].is_alive


def test_runscp_beats_and_says_that_it_has_stopped(runscp: Start) -> None:
    process = runscp("--port", "0")
    assert process.stdout is not None
    process.stdout.readline()
    row = until(Heartbeat.objects.first)
    assert row.pid == process.pid
    assert processes()[0].is_alive
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    row.refresh_from_db()
    assert row.stopped is not None


def test_without_its_table_answers_do_not_change(
    scp: WorklistScp, caplog: pytest.LogCaptureFixture
) -> None:
    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def told(what: str) -> int:
        return sum(what in record.message for record in caplog.records)

    step()
    caplog.set_level("WARNING")
    rename("dicomscp_heartbeat", "gone")
    try:
        heart = Heart(scp, every=SOON)
        heart.start()
        until(lambda: told("heartbeat cannot be written: "))
        with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
            assert len(network.ask(assoc, query()).pendings) == 1
    finally:
        rename("gone", "dicomscp_heartbeat")
    until(lambda: told("heartbeat is written again"))
    heart.stop()
    assert told("heartbeat cannot be written: ") == 1
    assert Heartbeat.objects.count() == 1


def test_a_row_that_was_deleted_is_there_again(scp: WorklistScp) -> None:
    with heartbeat.beating(scp, every=SOON):
        until(Heartbeat.objects.first)
        Heartbeat.objects.all().delete()
        until(Heartbeat.objects.first)


def test_what_does_not_beat_does_not_run() -> None:
    now = timezone.now()
    beat(at=now - STALE - dt.timedelta(seconds=1))
    (process,) = processes()
    assert not process.is_alive
    Heartbeat.objects.update(at=now - EVERY)
    (process,) = processes()
    assert process.is_alive
    assert process.up.days == 6


def test_one_that_died_is_told_until_another_has_taken_its_port() -> None:
    now = timezone.now()
    hour = dt.timedelta(hours=1)
    beat(host="old", at=now - hour)
    beat(host="died", port=104, at=now - hour)
    beat(host="long ago", port=105, at=now - 25 * hour)
    beat(host="ended", port=106, at=now - hour, stopped=now - hour)
    beat(host="runs")
    assert [process.row.host for process in processes()] == ["runs", "died"]
    Heartbeat.objects.exclude(host="long ago").delete()
    assert [process.row.host for process in processes()] == ["long ago"]


def test_one_that_was_started_again_is_told_once() -> None:
    now = timezone.now()
    beat(at=now - EVERY, pid=7)
    beat(at=now, pid=8)
    beat(at=now, pid=9, host="scp2")
    assert sorted(process.row.pid for process in processes()) == [8, 9]


def test_old_rows_are_forgotten() -> None:
    now = timezone.now()
    beat(at=now - dt.timedelta(days=31))
    beat()
    assert heartbeat.forget(now - dt.timedelta(days=30)) == 1
    assert Heartbeat.objects.count() == 1


# --- what it counts -------------------------------------------------------------------------------


def test_queries_are_counted_by_title_status_and_seconds() -> None:
    tally = Tally()
    for milliseconds in (0, 5, 6, 999_999):
        tally.query("CT1", status=0, matches=3, milliseconds=milliseconds)
    tally.query("MR1", status=0xA700, matches=None, milliseconds=5)
    tally.query("MR1", status=None, matches=2, milliseconds=5)
    tally.association("known")
    tally.association("known")
    counts = tally.counts()
    assert counts["queries"] == {"CT1": {"0000": 4}, "MR1": {"A700": 1, "none": 1}}
    assert counts["matches"] == {"CT1": 12, "MR1": 2}
    assert counts["within"] == [4, 1, *[0] * (len(BOUNDS) - 2), 1]
    assert counts["milliseconds"] == 1_000_020
    assert counts["associations"] == {"known": 2}


def test_invented_titles_are_counted_together() -> None:
    tally = Tally()
    for number in range(1000):
        tally.query(f"X{number}", status=0, matches=1, milliseconds=1)
    counts = tally.counts()
    assert len(counts["queries"]) <= 201
    assert counts["queries"][OTHERS]["0000"] >= 799
    assert sum(counts["matches"].values()) == 1000


def test_what_goes_over_the_line_is_counted(scp: WorklistScp) -> None:
    before = JOURNAL.tally.counts()
    step()
    with network.association(scp.port, ImplicitVRLittleEndian, ae_title="TALLY1") as assoc:
        network.ask(assoc, query())
        network.ask(assoc, query(PatientID="x" * 70))
    scp.stop()
    after = JOURNAL.tally.counts()
    assert after["queries"]["TALLY1"] == {"0000": 1, "A900": 1}
    assert after["matches"]["TALLY1"] == 1
    assert after["associations"]["any"] == before["associations"].get("any", 0) + 1
    assert sum(after["within"]) == sum(before["within"]) + 2
