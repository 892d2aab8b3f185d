"""The heartbeat of runscp: a row that says that it runs, and how; and what the rows say.

With each beat the audit trail is sealed. It has a thread and a connection of its own, and nothing
that fails here reaches an answer.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import Error, connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from dicomscp import certificates, replica
from dicomscp.journal import JOURNAL, Journal
from dicomscp.models import Heartbeat
from dicomscp.server import WorklistScp
from dicomscp.wire import bounds
from worklist.audit import seals
from worklist.version import VERSION

logger = logging.getLogger(__name__)

EVERY = dt.timedelta(seconds=10)
# It does not run, or cannot write: three beats in a row were missed.
STALE = dt.timedelta(seconds=30)
# Of one that ended without a word, so long is still told.
_TOLD = dt.timedelta(hours=24)
# Rows that are looked at: one that ends again and again makes many.
_MOST = 200
_STOPS_WITHIN = 2.0
_SEALS_WITHIN = 3.0
_CHANGING = (
    *("at", "stopped", "associations", "dropped", "unsigned", "counts", "certificates"),
    "replica",
)


class Heart:
    """Writes the row of one server, again and again."""

    def __init__(
        self,
        scp: WorklistScp,
        *,
        worker: int = 0,
        journal: Journal = JOURNAL,
        every: dt.timedelta = EVERY,
    ) -> None:
        self._scp, self._journal, self._every = scp, journal, every
        self._own: dict[str, Any] = {
            "id": uuid.uuid4(),
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "worker": worker,
            "version": VERSION,
            "ae_title": scp.ae_title.strip(),
            "port": scp.port,
            "tls_port": scp.tls_port if scp.has_tls else None,
        }
        self._stopping = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write that it ended; a database that hangs is not waited for."""
        self._stopping.set()
        self._thread.join(_STOPS_WITHIN)

    def _run(self) -> None:
        self._beat()
        while not self._stopping.wait(self._every.total_seconds()):
            self._beat()
            self._seal()
        self._beat(is_last=True)

    def _seal(self) -> None:
        """Close what has come to the audit trail meanwhile; what is much takes several times."""
        try:
            seals.seal(within=_SEALS_WITHIN)
        except Exception as error:  # what is not sealed now is with the next time
            logger.error("the audit trail cannot be sealed: %s", type(error).__name__)
        finally:
            _let_go()

    def _beat(self, *, is_last: bool = False) -> None:
        try:
            row = Heartbeat(
                **self._own,
                started=Now(),
                at=Now(),
                stopped=Now() if is_last else None,
                associations=self._scp.open_associations,
                dropped=self._journal.dropped,
                unsigned=self._journal.unsigned,
                counts={**self._journal.tally.counts(), "bounds": dict(bounds.refused)},
                certificates=_certificates(),
                replica=told.as_json() if (told := replica.told()) else None,
            )
            # In one statement: a row that somebody deleted is there again.
            Heartbeat.objects.bulk_create(
                [row], update_conflicts=True, unique_fields=["id"], update_fields=_CHANGING
            )
        except Exception as error:  # whatever it is, the next one may be written
            if not self._is_failing:
                logger.error("the heartbeat cannot be written: %s", type(error).__name__)
            self._is_failing = True
        else:
            if self._is_failing:
                logger.warning("the heartbeat is written again")
            self._is_failing = False
        finally:
            _let_go()


def _let_go() -> None:
    # It is closed even where to close it fails, and the heart goes on.
    with suppress(Error):
        connection.close()


@contextmanager
def beating(scp: WorklistScp, *, worker: int = 0, every: dt.timedelta = EVERY) -> Iterator[None]:
    """A heart that beats for this server, or this worker of several, to the end of the block."""
    heart = Heart(scp, worker=worker, every=every)
    heart.start()
    try:
        yield
    finally:
        heart.stop()


def _certificates() -> list[dict[str, str]]:
    try:
        endings = certificates.endings()
    except certificates.SettingsError as error:
        return [{"error": str(error)}]
    return [
        {"setting": each.setting, "subject": each.subject, "ends": each.ends.isoformat()}
        for each in endings
    ]


# --- what the rows say ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process of runscp, as it was last heard of; times by the database's clock."""

    row: Heartbeat
    now: dt.datetime

    @property
    def age(self) -> dt.timedelta:
        """Since it was heard of."""
        return max(self.now - self.row.at, dt.timedelta())

    @property
    def is_alive(self) -> bool:
        return self.row.stopped is None and self.age <= STALE

    @property
    def up(self) -> dt.timedelta:
        """How long it runs, or ran."""
        return self.row.at - self.row.started


def processes() -> list[Process]:
    """What runs; else, the one that ran last. One statement.

    One that died within a day is told, too, unless another has taken its port.
    """
    rows = Heartbeat.objects.annotate(now=Now()).order_by("-at", "pk")[:_MOST]
    found = [Process(row, row.now) for row in rows]
    told: list[Process] = []
    for process in found:
        # One that was killed and has started again is there twice for a while.
        is_first = all(_seat(process) != _seat(other) for other in told)
        if process.is_alive and is_first:
            told.append(process)
    taken = {_place(process) for process in told}
    for process in found:
        has_died = process.row.stopped is None and STALE < process.age < _TOLD
        if has_died and _place(process) not in taken:
            taken.add(_place(process))
            told.append(process)
    return told or found[:1]


def is_running() -> bool:
    """Whether any server can be called. One statement."""
    return any(process.is_alive for process in processes())


def _seat(process: Process) -> tuple[str, int, int]:
    return process.row.host, process.row.port, process.row.worker


def _place(process: Process) -> tuple[str, int]:
    return process.row.ae_title, process.row.port


def old(before: dt.datetime) -> QuerySet[Heartbeat]:
    """What was last heard of before this moment."""
    return Heartbeat.objects.filter(at__lt=before)


def forget(before: dt.datetime) -> int:
    """Delete what is old; answers how many rows that were."""
    return old(before).delete()[0]
