"""The journal of associations and queries: written by one thread, without the answers' waiting.

The same thread signs them in the audit trail. What cannot be written is dropped, counted and said
once in the log; nothing here raises into an answer. What is old is purged here, too.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import Error, close_old_connections, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from dicomscp.models import Association, Ended, Query
from dicomscp.signing import Signer
from dicomscp.tally import Tally
from worklist.audit import inserts

logger = logging.getLogger(__name__)

# What waits to be written: at most so many entries, and of their Identifiers so many bytes.
_MOST_ENTRIES = 10_000
_MOST_BYTES = 16 * 2**20
# Seconds in which entries gather before they are written together, and those that a stop waits.
_GATHERS = 0.2
_STOPS_WITHIN = 5.0
_BATCH = 200
_PURGED_AT_ONCE = 5000


@dataclass(frozen=True)
class End:
    """The end of an association that is in the journal."""

    association: uuid.UUID
    at: dt.datetime
    how: Ended


Entry = Association | Query | End


class Journal:
    """A bounded queue and the thread that empties it into the database."""

    def __init__(self, *, most_entries: int = _MOST_ENTRIES, most_bytes: int = _MOST_BYTES) -> None:
        self.dropped = 0
        self.tally = Tally()
        self._signer = Signer()
        # Entries that were dropped before they could be signed.
        self._never_signed = 0
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self._changed = threading.Condition()
        self._waiting: list[Entry] = []
        self._bytes = 0
        # How many entries were taken in, and how many of them are dealt with.
        self._taken = self._done = 0
        self._users = 0
        self._is_hurried = False
        self._thread: threading.Thread | None = None
        self._is_failing = False
        # The associations whose rows are there, until they end.
        self._stored: set[uuid.UUID] = set()

    def start(self) -> None:
        """Begin to write; each start is to be followed by a stop."""
        with self._changed:
            self._users += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end; a database that hangs is not waited for."""
        with self._changed:
            self._users -= 1
            if self._users:
                return
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join(_STOPS_WITHIN)

    def add(self, entry: Entry) -> None:
        """Have an entry written soon. Never waits and never raises; when full, it is dropped."""
        size = len(entry.identifier) if isinstance(entry, Query) else 0
        with self._changed:
            if self._thread is None:
                return
            self._count(entry)
            is_full = len(self._waiting) >= self._most_entries
            # An end takes the place of nothing: there is one for each row that was taken.
            if (is_full or self._bytes + size > self._most_bytes) and not isinstance(entry, End):
                self.dropped += 1
                self._never_signed += 1
                return
            self._waiting.append(entry)
            self._bytes += size
            self._taken += 1
            # Each waking costs the answers time: the writer is woken by what it waits for.
            if len(self._waiting) in (1, _BATCH):
                self._changed.notify_all()

    @property
    def unsigned(self) -> int:
        """How many calls and queries the audit trail will never hold."""
        return self._never_signed + self._signer.lost

    def _count(self, entry: Entry) -> None:
        if isinstance(entry, Association):
            self.tally.association(entry.reason)
        elif isinstance(entry, Query):
            self.tally.query(
                entry.calling,
                status=entry.status,
                matches=entry.matches,
                milliseconds=entry.milliseconds,
            )

    def flush(self, *, within: float = _STOPS_WITHIN) -> bool:
        """Wait until what was added so far is dealt with; False when it takes longer."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()
            upto = self._taken
            return self._changed.wait_for(lambda: self._done >= upto, within)

    # --- the writer's thread ----------------------------------------------------------------------

    def _run(self) -> None:
        is_last = False
        while not is_last:
            entries, is_last = self._gathered()
            self._write(entries, is_last=is_last)
            with self._changed:
                self._done += len(entries)
                self._changed.notify_all()

    def _gathered(self) -> tuple[list[Entry], bool]:
        """What has come in, which may be nothing; and whether it was the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over(), self._signer.due_in())
            # Those that come one after the other are written together.
            until = time.monotonic() + _GATHERS
            self._changed.wait_for(
                lambda: self._is_over() or self._is_hurried or len(self._waiting) >= _BATCH,
                until - time.monotonic(),
            )
            entries, self._waiting = self._waiting, []
            self._bytes = 0
            self._is_hurried = False
            return entries, self._is_over()

    def _is_over(self) -> bool:
        return self._thread is not threading.current_thread()

    def _write(self, entries: Sequence[Entry], *, is_last: bool) -> None:
        """Two transactions, that neither journal nor trail lacks what the other cannot hold."""
        try:
            # One that died since the last entries is found before it is used.
            with suppress(Error):
                close_old_connections()
            self._sign(entries, is_last=is_last)
            if entries:
                self._store(entries)
        except Exception as error:  # whatever it is, the next entries may fare better
            self.dropped += len(entries)
            if not self._is_failing:
                logger.error("the journal cannot be written: %s", type(error).__name__)
            self._is_failing = True
        else:
            if self._is_failing and entries:
                logger.warning("the journal is written again; lost so far: %d", self.dropped)
                self._is_failing = False
        finally:
            # Under load the next ones wait already: connecting costs as much as writing.
            if not self._waiting or self._is_failing:
                # To close it may fail, too: it is closed all the same.
                with suppress(Error):
                    connection.close()

    def _sign(self, entries: Sequence[Entry], *, is_last: bool) -> None:
        for entry in entries:
            if isinstance(entry, Association):
                self._signer.opened(entry)
            elif isinstance(entry, Query):
                self._signer.asked(entry)
            else:
                self._signer.ended(entry.association)
        self._signer.write(is_last=is_last)

    def _store(self, entries: Sequence[Entry]) -> None:
        opened = {entry.pk: entry for entry in entries if isinstance(entry, Association)}
        queries = [entry for entry in entries if isinstance(entry, Query)]
        ended = []
        for end in (entry for entry in entries if isinstance(entry, End)):
            row = opened.get(end.association) or Association(pk=end.association)
            row.closed, row.ended = end.at, end.how
            if end.association not in opened:
                ended.append(row)
        for query in queries:
            if query.association_id not in opened and query.association_id not in self._stored:
                # Its row was dropped, or could not be written.
                query.association = None
        with transaction.atomic():
            inserts.insert(list(opened.values()))
            inserts.insert(queries)
            Association.objects.bulk_update(ended, ["closed", "ended"], batch_size=_BATCH)
        self._stored |= {row.pk for row in opened.values() if not row.ended}
        self._stored -= {row.pk for row in ended}


# The process's own.
JOURNAL = Journal()


def count(before: dt.datetime) -> int:
    """How many rows `forget` would delete now."""
    newer = Query.objects.filter(association=OuterRef("pk"), at__gte=before)
    calls = Association.objects.filter(~Exists(newer), opened__lt=before)
    return Query.objects.filter(at__lt=before).count() + calls.count()


def forget(before: dt.datetime) -> Iterator[int]:
    """Delete what is older; how many rows that were, batch by batch: so nobody waits for long.

    An association goes when it is over, or as old as if it were.
    """
    yield from _delete(Query.objects.filter(at__lt=before))
    yield from _delete(Association.objects.filter(opened__lt=before, queries=None))


def _delete(rows: QuerySet[Any]) -> Iterator[int]:
    while keys := list(rows.values_list("pk", flat=True)[:_PURGED_AT_ONCE]):
        rows.model._default_manager.filter(pk__in=keys).delete()
        yield len(keys)
