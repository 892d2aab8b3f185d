"""A disk without room: nothing that was typed or saved is lost, and queries are honest."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

import pytest

from benchmarks.web.browser import Answer
from tests.faults.clerks import Clerk, faults
from tests.faults.databases import Postgres, Sqlite
from tests.faults.disks import let_nothing_grow
from tests.faults.outages import full
from tests.faults.scanners import OUT_OF_RESOURCES, Scanners
from tests.faults.site import Site, open_site
from tests.pages import fields
from tests.raw import SUCCESS
from tests.waiting import until

ANSWERED_WITHIN, BACK_WITHIN = 5.0, 2.0
# Bookings that may yet find room in what a database has at hand.
MOST = 200

NoRoom = Callable[[Site], AbstractContextManager[None]]


@contextmanager
def disk_is_full(site: Site) -> Iterator[None]:
    with full(site.database):
        yield


@contextmanager
def broker_may_write_nothing(site: Site) -> Iterator[None]:
    """As on a full disk, for a database that is a file: not even its log takes a byte."""
    assert site.master and site.scp
    mine = [site.master.pid, *site.workers(), site.scp.pid]
    let_nothing_grow(mine)
    yield
    let_nothing_grow(mine, may=True)


@contextmanager
def servers_log_has_no_room(site: Site) -> Iterator[None]:
    """PostgreSQL ends itself, and is started again once there is room."""
    assert isinstance(site.database, Postgres)
    let_nothing_grow(site.database.everyone())
    yield
    site.database.process.wait(30)
    site.database.start()


class Bookings:
    """One after the other, and when each was acknowledged (monotonic)."""

    def __init__(self, site: Site) -> None:
        self.clerk = Clerk(site, 0, threading.Event())
        self.saved: list[float] = []
        self._turns = count()

    def save(self) -> tuple[str, Answer]:
        """Book somebody: whom, and what was said."""
        name, form = self.clerk.typed(next(self._turns))
        return name, self.send(name, form)

    def send(self, name: str, form: dict[str, Any]) -> Answer:
        before = time.monotonic()
        answer = self.clerk.send(name, form)
        assert time.monotonic() - before < ANSWERED_WITHIN
        assert answer.status in (302, 503), answer.text
        if answer.status == 302:
            self.saved.append(time.monotonic())
        return answer

    def save_until_refused(self) -> tuple[str, Answer]:
        for _ in range(MOST):
            name, answer = self.save()
            if answer.status == 503:
                return name, answer
        pytest.fail(f"{MOST} bookings have found room")

    def send_again(self, name: str, page: Answer) -> None:
        """What was typed is on the page, to be sent once more."""
        assert "Refresh" not in page.headers, "a form that is asked for again would be empty"
        (form,) = re.findall(r"<form.*?</form>", page.text, re.S)
        kept = fields(form.replace("<form", '<form id="kept"'), "kept")
        assert self.send(name, kept).status == 302


def signed_queries(site: Site) -> int:
    with site.database.connect() as connection:
        (found,) = connection.execute(
            "SELECT count(*) FROM audit_auditevent WHERE action = 'query'"
        ).fetchone()
    return int(found)


def time_until_well(bookings: Bookings, scanners: Scanners) -> float:
    """Seconds until the board is shown, and each scanner answered."""
    before = time.monotonic()
    until(lambda: bookings.clerk.browser.get("/today/").status == 200)
    return max(time.monotonic() - before, scanners.all_come_to(SUCCESS))


@pytest.mark.parametrize(
    ("make", "no_room"),
    [
        pytest.param(lambda: Postgres(on_small_disk=True), disk_is_full, id="postgres"),
        pytest.param(Postgres, servers_log_has_no_room, id="postgres's log"),
        pytest.param(lambda: Sqlite(on_small_disk=True), disk_is_full, id="sqlite"),
        pytest.param(Sqlite, broker_may_write_nothing, id="sqlite that may not grow"),
    ],
)
def test_no_room_is_told_and_nothing_is_lost(
    make: Callable[[], Postgres | Sqlite], no_room: NoRoom
) -> None:
    with open_site(make()) as site:
        port = site.start_scp()
        bookings = Bookings(site)
        for _ in range(3):
            assert bookings.save()[1].status == 302
        with Scanners(port, number=2) as scanners:
            usual = time_until_well(bookings, scanners)
            with no_room(site):
                refused = [bookings.save_until_refused() for _ in range(4)]
                asked = len(scanners.asked)
                until(lambda: len(scanners.asked) > asked + 4)
            # What a machine with other things to do takes anyhow is none of the database's doing.
            assert time_until_well(bookings, scanners) < BACK_WITHIN + 3 * usual
            for name, page in refused:
                bookings.send_again(name, page)
            scanners.all_come_to(SUCCESS)
        assert {each.status for each in scanners.asked} <= {SUCCESS, OUT_OF_RESOURCES}
        for each in scanners.of(SUCCESS):
            known = sum(at < each.at for at in bookings.saved)
            assert known <= each.steps <= len(bookings.clerk.sent)
        clerk = bookings.clerk
        with site.database.connect() as connection:
            assert list(faults(connection, clerk.saved, clerk.sent)) == []
        # What scanners asked meanwhile is signed now.
        until(lambda: signed_queries(site) >= len(scanners.asked), "the queries in the trail")
        done = site.manage("verify_audit")
        assert done.returncode == 0, done.stderr
        told = len(scanners.of(OUT_OF_RESOURCES))
        print(f"{len(clerk.saved)} saved; {told} of {len(scanners.asked)} queries refused")
