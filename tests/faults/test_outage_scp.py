"""Queries while the database is away, hangs, is locked or not set up: 0xA700, soon, and back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.faults.databases import Postgres
from tests.faults.outages import (
    Fault,
    frozen,
    killed,
    locked,
    not_migrated,
    out_of_connections,
    stopped,
)
from tests.faults.scanners import OUT_OF_RESOURCES, Scanners
from tests.faults.site import Site, site_of
from tests.raw import SUCCESS

STEPS = 3
ANSWERED_WITHIN, BACK_WITHIN = 5.0, 2.0
# Seconds for which nobody takes a connection, that a query outlasts.
QUICK = 1.5


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with site_of(Postgres(), DICOM_ACCESS="known") as site:
        site.book(STEPS)
        yield site


@pytest.fixture(scope="module")
def port(site: Site) -> int:
    return site.start_scp()


def test_nobody_is_told_a_lie(port: int) -> None:
    """What each of the tests below counts on."""
    with Scanners(port) as scanners:
        scanners.all_come_to(SUCCESS)
    assert {(each.status, each.steps) for each in scanners.asked} == {(SUCCESS, STEPS)}


@pytest.mark.parametrize(
    "fault", [stopped, killed, frozen, out_of_connections, locked, not_migrated]
)
def test_an_outage_is_told_soon_and_over_soon(site: Site, port: int, fault: Fault) -> None:
    with Scanners(port) as scanners:
        usual = scanners.all_come_to(SUCCESS)
        with fault(site.database):
            for _ in range(2):
                scanners.all_come_to(OUT_OF_RESOURCES)
        took = scanners.all_come_to(SUCCESS)
    # What a machine with other things to do takes anyhow is none of the database's doing.
    assert took < BACK_WITHIN + 3 * usual
    refused = scanners.of(OUT_OF_RESOURCES)
    assert len(refused) + len(scanners.of(SUCCESS)) == len(scanners.asked)
    assert {each.steps for each in scanners.of(SUCCESS)} == {STEPS}
    assert {each.steps for each in refused} == {0}
    assert all(each.comment.startswith("Worklist ") for each in refused)
    slowest = max(each.seconds for each in refused)
    assert slowest < ANSWERED_WITHIN
    print(f"{fault.__name__}: {len(refused)} refused in {slowest:.1f} s, well after {took:.2f} s")


def test_a_quick_restart_costs_no_query(site: Site, port: int) -> None:
    assert isinstance(site.database, Postgres)
    was_quick = 0
    with Scanners(port) as scanners:
        for _ in range(6):
            before = time.monotonic()
            site.database.stop()
            site.database.start()
            away = time.monotonic() - before
            scanners.all_come_to(SUCCESS)
            if away > QUICK:
                scanners.asked.clear()
                continue
            was_quick += 1
            failed = [each for each in scanners.asked if not each.is_answered]
            assert failed == [], f"of a restart of {away:.2f} s"
            if was_quick == 3:
                break
    if not was_quick:
        pytest.skip("no restart of PostgreSQL was quick on this machine")
