"""The audit trail, event by event, to a syslog collector: each at least once, in its order.

Whoever writes events knows nothing of it. A cursor (`Delivery`) says how far the collector has
them; it moves on only when the collector has shown that it read a batch.
"""

from __future__ import annotations

import datetime as dt
import socket
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Min, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from worklist import audited
from worklist.audit import syslog
from worklist.audit.models import AuditEvent, Delivery
from worklist.audit.syslog import Collector

_BATCH = 200


def collector() -> Collector:
    """The collector that the settings name. Raises OSError when a file of theirs is no good."""
    context = syslog.context(
        ca=settings.AUDIT_SYSLOG_CA,
        certificate=settings.AUDIT_SYSLOG_CERT,
        key=settings.AUDIT_SYSLOG_KEY,
    )
    return Collector(settings.AUDIT_SYSLOG_HOST, settings.AUDIT_SYSLOG_PORT, context)


class Sender:
    """Sends what one collector has not had yet, a batch at a time."""

    def __init__(self, to: Collector) -> None:
        self._collector = to
        self._settled = _Settled()

    @property
    def waits_for_writers(self) -> bool:
        """Whether there are events that may not be sent before others that are being written."""
        return self._settled.is_waiting

    def send_some(self) -> int:
        """Send the next batch and answer how many events it held; 0: nothing can be sent now.

        Raises OSError when the collector may not have them: nothing is lost, the next call sends
        them again.
        """
        Delivery.objects.get_or_create(collector=str(self._collector))
        with _alone():
            cursors = Delivery.objects.filter(collector=str(self._collector))
            if connection.features.has_select_for_update:
                cursors = cursors.select_for_update()
            last = cursors.get().last
            until = self._settled.until()
            fresh = AuditEvent.objects.filter(pk__gt=last, pk__lte=until).order_by("pk")
            events = list(fresh[:_BATCH])
            if events:
                frames = [_frame(event, message) for event, message in audited.in_xml(events)]
                syslog.deliver(frames, self._collector)
                sent = Delivery.objects.filter(collector=str(self._collector))
                sent.update(last=events[-1].pk, at=timezone.now())
        return len(events)


@dataclass(frozen=True)
class Backlog:
    """What a collector has not had yet: how many events, and since when the oldest waits."""

    count: int
    since: dt.datetime | None


def backlog(to: str) -> Backlog:
    """What a collector ("host:port") has not had yet, in one statement."""
    last = Delivery.objects.filter(collector=to).values("last")
    fresh = AuditEvent.objects.filter(pk__gt=Coalesce(Subquery(last), 0))
    found = fresh.aggregate(count=Count("pk"), since=Min("at"))
    return Backlog(found["count"], found["since"])


def waiting(to: str) -> int:
    """How many events a collector ("host:port") has not had yet."""
    return backlog(to).count


def _alone() -> AbstractContextManager[None]:
    """On PostgreSQL a second sender waits for the first one's batch, and sends none of it again.

    A transaction of SQLite would keep every writer waiting.
    """
    return transaction.atomic() if connection.features.has_select_for_update else nullcontext()


def _frame(event: AuditEvent, message: bytes) -> bytes:
    return syslog.frame(
        message,
        at=event.at,
        host=socket.gethostname(),
        program=settings.AE_TITLE,
        is_failure=event.outcome != 0,
    )


class _Settled:
    """Up to which number no more events can appear.

    Numbers are given before a transaction commits: 6 may be there while 5 is still to come. Whoever
    was given a number holds the lock of a writer on the table until its transaction is over. So a
    number that has been seen is settled once all who held that lock just after have let go of it.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._holders: set[str] | None = None
        self._until = 0

    @property
    def is_waiting(self) -> bool:
        return self._holders is not None

    def until(self) -> int:
        newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        if connection.vendor != "postgresql":
            # One writer at a time: numbers are committed as they are given.
            return newest
        if self._holders is not None:
            self._let_go(self._holders & _writers())
        if self._holders is None and newest > self._until:
            self._seen = newest
            self._let_go(_writers())
        return self._until

    def _let_go(self, holders: set[str]) -> None:
        self._holders = holders or None
        if not holders:
            self._until = self._seen


def _writers() -> set[str]:
    """The transactions, other than our own, that write events at this moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT virtualtransaction FROM pg_locks"
            " WHERE relation = %s::regclass AND mode = 'RowExclusiveLock' AND granted"
            " AND pid IS DISTINCT FROM pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [AuditEvent._meta.db_table],
        )
        return {row[0] for row in cursor.fetchall()}
