"""The broker under soak: PostgreSQL, web and SCP, what they hold, and what is done to them."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.load import knock
from benchmarks.packets import WrongAnswerError
from benchmarks.soak.ledger import KILLED, RESTARTED, Excuses
from benchmarks.soak.people import Desk
from benchmarks.web.__main__ import ROOT, free_port, gunicorn, wait_for
from tests.replicas import Cluster
from worklist import children

WORKERS = 2
_READY_WITHIN = 60.0
_FAULTS = re.compile(r"^Traceback|C-FIND failed", re.MULTILINE)
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


@dataclass(frozen=True)
class Held:
    """What the programs hold at a moment; megabytes."""

    at: float
    scp_memory: float
    scp_threads: int
    scp_descriptors: int
    web_memory: float
    web_threads: int
    web_descriptors: int
    connections: int


class Site:
    """What runs."""

    def __init__(self, database: Cluster, folder: Path) -> None:
        self._database, self._folder = database, folder
        self.excuses = Excuses()
        self.web_port, self.port = free_port(), free_port()
        self._began = time.monotonic()
        self._web = self._start("web", gunicorn(self.web_port, threads=8))
        words = ("--bind", "127.0.0.1", "--port", str(self.port), "--workers", str(WORKERS))
        self._scp = self._start("scp", [sys.executable, "manage.py", "runscp", *words])
        wait_for(self._web, self.web_port)
        deadline = time.monotonic() + _READY_WITHIN
        while True:
            with suppress(OSError, WrongAnswerError):
                knock(self.port)
                break
            if time.monotonic() > deadline or self._scp.poll() is not None:
                raise SystemExit("runscp does not answer")
            time.sleep(0.1)

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log(name).open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=children.die_with_parent,
            )

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def stop(self) -> None:
        children.stop([self._scp, self._web], within=15)

    def faults(self) -> int:
        """How often the SCP said that something went wrong in it.

        What goes wrong in the web is a save that failed.
        """
        return len(_FAULTS.findall(self.log("scp").read_text()))

    def held(self) -> Held:
        scp, web = self._scp.pid, self._web.pid
        return Held(
            time.monotonic() - self._began,
            *(figures.memory(scp), figures.threads(scp), _descriptors(scp)),
            *(figures.memory(web), figures.threads(web), _descriptors(web)),
            # The one that asks is none of theirs.
            int(self._database.value(_CONNECTIONS)) - 1,
        )

    def kill_a_worker(self) -> None:
        """As the system does that has no memory left."""
        _, *workers = figures.family(self._scp.pid)
        with self.excuses.during(KILLED):
            os.kill(workers[0], signal.SIGKILL)

    def restart_the_database(self) -> None:
        with self.excuses.during(RESTARTED):
            self._database.restart()


def _descriptors(pid: int) -> int:
    found = 0
    for each in figures.family(pid):
        with suppress(OSError):
            found += len(list(Path(f"/proc/{each}/fd").iterdir()))
    return found


# --- what the database holds ----------------------------------------------------------------------


@dataclass(frozen=True)
class Stock:
    """What there is to ask for and to book."""

    today: dt.date
    # From this day on there is nothing but what clerks book.
    later: dt.date
    # The patients of each scanner today, by its AE title.
    patients: dict[str, Counter[str]]
    desk: Desk


def stock(scanners: int) -> Stock:
    """As the database has it, which was filled; read by the ORM, once."""
    from benchmarks.web.site import site
    from worklist.models import Patient, ScheduledProcedureStep, Station

    found = site()
    stations = list(Station.objects.order_by("pk")[:scanners])
    by_title: dict[str, Counter[str]] = {each.ae_title: Counter() for each in stations}
    steps = ScheduledProcedureStep.objects.filter(start_date=found.today).values_list(
        "stepstation__station__ae_title", "requested_procedure__request__patient__patient_id"
    )
    for title, patient in steps:
        if title in by_title:
            by_title[title][patient] += 1
    known: dict[int, str] = dict(
        Patient.objects.filter(pk__in=found.patients).values_list("pk", "patient_id")
    )
    times = _times(found.free_from, [(each.pk, each.ae_title) for each in stations])
    # Nobody is booked twice.
    desk = Desk(times, found.kinds, iter(known.items()))
    return Stock(found.today, found.free_from, by_title, desk)


def _times(since: dt.date, stations: list[Any]) -> Iterator[tuple[int, str, dt.date, dt.time]]:
    """Scanners at times at which nothing is booked yet, one exam an hour."""
    for days in count():
        for hour in range(8, 17):
            for station, title in stations:
                yield station, title, since + dt.timedelta(days=days), dt.time(hour)
