"""Soak the broker: many scanners and some clerks for minutes, with faults sprinkled in."""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.soak.hostile import Hostile
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.people import Clerk, Met, Scanner
from benchmarks.soak.report import Soak, report
from benchmarks.soak.site import Held, Site, stock
from benchmarks.web.__main__ import manage, prepare_environment
from benchmarks.web.browser import Browser
from tests import replicas

ACCOUNT = "benchmark"
# Seconds: what is under way then comes to its end, held connections of the hostile included.
_SETTLES_WITHIN = 25.0
# How often a worker is killed and the database restarted: once at least.
_KILLED_EVERY, _RESTARTED_EVERY = 90.0, 240.0
# So that none falls on a kill, in long runs.
_SAMPLES = 5


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    with replicas.primary() as database, tempfile.TemporaryDirectory() as folder:
        prepare_environment(database.url)
        # Each scanner has an address of its own; those of the hostile are others.
        os.environ |= {"DICOM_ACCESS": "known", "AUDIT_KEY": secrets.token_hex(32)}
        manage("migrate", "--verbosity=0")
        rows = (str(options.steps), f"--today={options.today}", f"--stations={options.scanners}")
        manage("synthesize", *rows, "--modalities=1", "--to-do", "--force")
        manage("collectstatic", "--no-input", "--verbosity=0")
        soak = run(options, database, Path(folder))
    report(soak)
    raise SystemExit(0 if soak.is_well() else 1)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    made.add_argument("--minutes", type=float, default=15.0)
    made.add_argument("--scanners", type=int, default=40)
    made.add_argument(
        "--every", type=float, default=2.0, help="seconds between a scanner's queries (2)"
    )
    made.add_argument("--clerks", type=int, default=3)
    made.add_argument("--steps", type=int, default=20_000)
    made.add_argument("--today", type=int, default=500, help="steps of the day (500)")
    return made


def run(options: argparse.Namespace, database: replicas.Cluster, folder: Path) -> Soak:
    """Soak it for so many minutes."""
    import django

    django.setup()
    from django.db import connections
    from django.urls import reverse

    from benchmarks.web.site import account

    password = secrets.token_urlsafe(16)
    account(ACCOUNT, password)
    there = stock(options.scanners)
    connections.close_all()
    ledger, asked, booked = Ledger(there.patients), Met(), Met()
    over, peace, lock = threading.Event(), threading.Event(), threading.Lock()
    site = Site(database, folder)
    try:
        people: list[threading.Thread] = [
            Scanner(
                *(title, f"127.0.1.{number + 1}", site.port, ledger, asked, over),
                today=there.today,
                later=there.later,
                every=options.every,
            )
            for number, title in enumerate(there.patients)
        ]
        for _ in range(options.clerks):
            browser = Browser("127.0.0.1", site.web_port)
            browser.sign_in(ACCOUNT, password)
            clerk = (browser, reverse("exam-new"), there.desk, lock, ledger, booked, over)
            people.append(Clerk(*clerk, every=options.every))
        hostile = Hostile(site.port, next(iter(there.patients)), peace, every=0.5)
        seconds = options.minutes * 60
        with _running(people, over):
            # Everything that is kept is there, and what comes later is more.
            time.sleep(min(20.0, seconds / 4))
            held = [site.held()]
            with _running([hostile], peace):
                held += _sprinkle(site, seconds)
            time.sleep(min(_SETTLES_WITHIN, seconds))
            held.append(site.held())
    finally:
        site.stop()
    return Soak(
        minutes=options.minutes,
        scanners=options.scanners,
        clerks=options.clerks,
        asked=asked,
        booked=booked,
        excuses=site.excuses,
        harms=hostile.done,
        held=held,
        said=site.faults(),
    )


@contextmanager
def _running(threads: Sequence[threading.Thread], over: threading.Event) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _sprinkle(site: Site, seconds: float) -> list[Held]:
    """Kill and restart, evenly over the time; answers what was held in between."""
    due: list[tuple[float, Callable[[], Held | None]]] = []
    for what, every in (
        (site.kill_a_worker, _KILLED_EVERY),
        (site.restart_the_database, _RESTARTED_EVERY),
    ):
        times = max(1, int(seconds / every))
        due += [(seconds * (number + 0.5) / times, what) for number in range(times)]
    due += [(seconds * number / _SAMPLES, site.held) for number in range(1, _SAMPLES)]
    began, held = time.monotonic(), []
    # The database last where both are due: what it does to a worker is no other worker's fault.
    for at, act in sorted(due, key=lambda each: each[0]):
        time.sleep(max(0.0, began + at - time.monotonic()))
        found = act()
        if found:
            held.append(found)
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    return held


if __name__ == "__main__":
    main()
