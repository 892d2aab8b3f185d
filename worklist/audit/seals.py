"""The chain of seals over the trail: what is taken out of it, or put in later, does not go unseen.

Events are written by many transactions at once, each as fast as it can: none waits for a place in
a chain. A seal closes those that there are since the last one, and names that one's digest. An
event whose transaction ends after a later one's was sealed is closed by the next seal, by name.
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from django.db import connection, models, transaction
from django.utils import timezone

from worklist.audit import marks
from worklist.audit.models import AuditEvent, Seal

# Events that one seal closes at most, and those that are held in memory at the same time.
_MOST = 5000
_CHUNK = 200
# No transaction that has taken an event's number is open for longer than this.
_LATE = dt.timedelta(hours=24)
# PostgreSQL's number for the lock of whoever seals: one at a time, nobody waits.
_LOCK = 0x5EA1

Ranges = list[list[int]]
# An event's number, and the digest of what it holds.
_Closed = tuple[int, str]


@dataclass(frozen=True)
class Report:
    """What a look at the whole trail found; `faults` are sentences, none when it is as it was."""

    events: int = 0
    seals: int = 0
    unsealed: int = 0
    faults: list[str] = field(default_factory=list)


def last() -> Seal | None:
    """The end of the chain."""
    return Seal.objects.order_by("-number").first()


def seal(*, within: float = math.inf) -> int:
    """Close the events that no seal has closed yet; how many that were.

    After so many seconds the rest is left for the next time. Does nothing while another process is
    at it. Raises Django's database errors.
    """
    count, deadline = 0, time.monotonic() + within
    while closed := _seal_some():
        count += closed
        if time.monotonic() > deadline:
            break
    return count


def _seal_some() -> int:
    with transaction.atomic():
        if not _is_ours():
            return 0
        before = last()
        start = before.upto if before else 0
        missing = _missing_before(before)
        key = next(marks.known_keys())
        late = [
            one
            for low, high in missing
            for one in _closed(AuditEvent.objects.filter(pk__range=(low, high)), key)
        ]
        events = list(_closed(AuditEvent.objects.filter(pk__gt=start), key))
        if not events and not late:
            return 0
        upto = events[-1][0] if events else start
        made = Seal(
            number=before.number + 1 if before else 1,
            at=timezone.now(),
            upto=upto,
            late=[pk for pk, _ in late],
            missing=_gaps([pk for pk, _ in events], start, upto),
            previous=before.digest if before else "",
        )
        made.digest = _digest(made, [*events, *late], key)
        made.save(force_insert=True)
        return len(events) + len(late)


def _is_ours() -> bool:
    """Whether nobody else seals, until the transaction ends. On SQLite nobody else writes."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def _missing_before(before: Seal | None) -> Ranges:
    """Numbers that recent seals did not find and none has closed since: rolled back, or late."""
    if before is None:
        return []
    recent = Seal.objects.filter(at__gte=before.at - _LATE).order_by("number")
    closed = {pk for one in recent for pk in one.late}
    return [
        run for one in recent for low, high in one.missing for run in _without(low, high, closed)
    ]


def _without(low: int, high: int, closed: set[int]) -> Iterator[list[int]]:
    start = low
    for pk in sorted(pk for pk in closed if low <= pk <= high):
        if start < pk:
            yield [start, pk - 1]
        start = pk + 1
    if start <= high:
        yield [start, high]


def _gaps(keys: Sequence[int], start: int, upto: int) -> Ranges:
    """The runs of numbers after `start`, up to `upto`, that are not among these."""
    return list(_without(start + 1, upto, set(keys)))


def _closed(events: models.QuerySet[AuditEvent], key: bytes) -> Iterator[_Closed]:
    """These events as a seal closes them, the first ones of them if they are too many."""
    for event in events.order_by("pk")[:_MOST].iterator(chunk_size=_CHUNK):
        yield _close(event, key)


def _close(event: AuditEvent, key: bytes) -> _Closed:
    return event.pk, marks.digest(marks.content(event), key)


def _digest(made: Seal, closed: Sequence[_Closed], key: bytes) -> str:
    """Of the seal itself and of all that the events hold, whatever their own marks say."""
    at = made.at.astimezone(dt.UTC).isoformat(timespec="microseconds")
    said = [made.number, at, made.upto, made.late, made.missing, made.previous, closed]
    return marks.digest(json.dumps(said).encode(), key)


# --- looking at it --------------------------------------------------------------------------------


def verify(anchors: Sequence[tuple[int, str]] = ()) -> Report:
    """Whether every event is there that was sealed, as it was, and none besides.

    `anchors` are numbers and digests of seals that were kept elsewhere: only they tell when the
    trail was cut off at its end, seals included.
    """
    faults: list[str] = []
    count = number = start = 0
    before: Seal | None = None
    closed: set[int] = set()
    open_gaps: set[tuple[int, int]] = set()
    digests: dict[int, str] = {}
    for each in Seal.objects.order_by("number").iterator(chunk_size=100):
        number += 1
        if each.number != number:
            faults.append(f"seal {number} is missing")
            number = each.number
        if each.previous != (before.digest if before else ""):
            faults.append(f"seal {each.number} does not follow the one before it")
        closed |= set(each.late)
        open_gaps |= {(low, high) for low, high in each.missing}
        events, gone = _sealed(each, start)
        faults += [f"event {pk} is missing (seal {each.number})" for pk in gone]
        altered = [event.pk for event in events if event.mark and not marks.is_good(event)]
        faults += [f"event {pk} was changed" for pk in altered]
        if not gone and not altered and not _is_whole(each, events):
            faults.append(
                f"seal {each.number} does not fit its events ({start + 1} to {each.upto}), "
                "or was made with another key"
            )
        count += len(events)
        digests[each.number] = each.digest
        before, start = each, max(start, each.upto)
    faults += _put_in(open_gaps, closed)
    unsealed = 0
    for event in AuditEvent.objects.filter(pk__gt=start).order_by("pk").iterator(chunk_size=_MOST):
        unsealed += 1
        if not marks.is_good(event):
            faults.append(f"event {event.pk} was changed")
    for anchored, digest in anchors:
        if digests.get(anchored) != digest:
            faults.append(f"seal {anchored} is not the one that was kept: {digest}")
    return Report(count + unsealed, len(digests), unsealed, faults)


def _sealed(each: Seal, start: int) -> tuple[list[AuditEvent], list[int]]:
    """The events that a seal closed, as they stand there now, and the numbers of those gone."""
    runs = _runs(each, start)
    wanted = [pk for low, high in runs for pk in range(low, high + 1)] + each.late
    found = AuditEvent.objects.in_bulk(each.late)
    for low, high in runs:
        found |= {event.pk: event for event in AuditEvent.objects.filter(pk__range=(low, high))}
    return [found[pk] for pk in wanted if pk in found], [pk for pk in wanted if pk not in found]


def _runs(each: Seal, start: int) -> Ranges:
    """The runs of numbers that were there when the seal was made."""
    runs, low = [], start + 1
    for first, final in each.missing:
        if low < first:
            runs.append([low, first - 1])
        low = final + 1
    if low <= each.upto:
        runs.append([low, each.upto])
    return runs


def _is_whole(each: Seal, events: Sequence[AuditEvent]) -> bool:
    return any(
        hmac.compare_digest(
            _digest(each, [_close(event, key) for event in events], key), each.digest
        )
        for key in marks.known_keys()
    )


def _put_in(gaps: Iterable[tuple[int, int]], closed: set[int]) -> Iterator[str]:
    """Events under numbers that were free when they were passed, and that no seal has closed."""
    recent = timezone.now() - _LATE
    for low, high in sorted(gaps):
        for event in AuditEvent.objects.filter(pk__range=(low, high), at__lt=recent):
            if event.pk not in closed:
                yield f"event {event.pk} was put in later"
