"""What peers did, in the audit trail: each query an event, and each caller that was refused.

Used by the journal's thread alone. Nothing raises; what a database that is away cannot take waits
for it, within bounds.
"""

from __future__ import annotations

import ipaddress
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError
from django.utils import translation

from dicomscp.access import Reason
from dicomscp.models import Association, Query
from worklist.audit import happenings, trail
from worklist.audit.models import AuditEvent

logger = logging.getLogger(__name__)

# Seconds for which a caller's further refusals are counted into one event, and in which what could
# not be written is tried again.
REFUSALS_WITHIN = 60.0
_AGAIN = 5.0
# Who calls under ever new names fills no trail: of so many at a time each is told, and of the
# others how many they were.
_MOST_CALLERS = 100
# Events that wait for the database, and bytes of their Identifiers.
_MOST_WAITING = 10_000
_MOST_BYTES = 16 * 2**20

# The database cannot be had: all that waits can be written later. Its other errors may be of one
# event alone; such a one is lost where they speak of what it holds, and else is tried again.
_AWAY = (OperationalError, InterfaceError)
_UNFIT = (DataError, IntegrityError)
# Events that fail one by one, until the rest is left for the next time.
_MOST_FAILURES = 10

# Calling AE title, address, reason.
_Caller = tuple[str, str, str]
_MANY: _Caller = ("", "", "")


@dataclass
class _Refused:
    """A caller that was refused: until when its calls are counted, and those not yet signed."""

    until: float
    called: str
    calls: int = 0


class Signer:
    """Turns what the journal holds into events, in the order in which it happened."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, most_waiting: int = _MOST_WAITING
    ) -> None:
        # Events that are lost for good.
        self.lost = 0
        self._clock, self._most_waiting = clock, most_waiting
        self._waiting: list[AuditEvent] = []
        self._is_failing = False
        self._refused: dict[_Caller, _Refused] = {}
        # By which AE title the associations that are open called us.
        self._called: dict[uuid.UUID, str] = {}

    def opened(self, association: Association) -> None:
        """Take note of a call; of one that was refused, for the trail."""
        if association.is_accepted:
            self._called[association.pk] = association.called
            return
        caller = (association.calling, association.address, str(association.reason))
        if caller not in self._refused and len(self._refused) >= _MOST_CALLERS:
            caller = _MANY
        refused = self._refused.get(caller)
        if refused is None:
            self._refused[caller] = _Refused(self._clock() + REFUSALS_WITHIN, association.called)
            self._waiting.append(_refusal(caller, association.called, 1))
        else:
            refused.calls += 1

    def asked(self, query: Query) -> None:
        """Take note of a query."""
        if not settings.AUDIT_QUERIES:
            return
        event = happenings.query(
            calling=query.calling,
            called=self._called.get(query.association_id, "") if query.association_id else "",
            address=_address(query.address),
            identifier=bytes(query.identifier),
            transfer_syntax=query.transfer_syntax,
            status=query.status,
            matches=query.matches or 0,
            comment=query.comment,
        )
        event.at = query.at
        self._waiting.append(event)

    def ended(self, association: uuid.UUID) -> None:
        self._called.pop(association, None)

    def due_in(self) -> float | None:
        """Seconds after which there is something to write, whatever happens; None: there is not."""
        if self._waiting:
            return _AGAIN
        ends = [each.until for each in self._refused.values() if each.calls]
        return max(0.0, min(ends) - self._clock()) if ends else None

    def write(self, *, is_last: bool = False) -> None:
        """Sign what there is, or as much of it as is due; at the end, all."""
        self._count_refusals(is_last=is_last)
        if self._waiting:
            try:
                trail.sign(self._waiting)
            except Exception as error:
                self._failed(error)
                if not isinstance(error, _AWAY):
                    self._sign_each()
                self._keep_within_bounds(is_last=is_last)
            else:
                self._succeeded()
        if is_last:
            self._called.clear()

    def _count_refusals(self, *, is_last: bool) -> None:
        now = self._clock()
        for caller, refused in list(self._refused.items()):
            if now < refused.until and not is_last:
                continue
            if refused.calls:
                self._waiting.append(_refusal(caller, refused.called, refused.calls))
                refused.calls, refused.until = 0, now + REFUSALS_WITHIN
            else:
                del self._refused[caller]
        if is_last:
            self._refused.clear()

    def _sign_each(self) -> None:
        """Sign them one by one: what cannot be written takes no other with it."""
        waiting, self._waiting = deque(self._waiting), []
        failed: list[AuditEvent] = []
        while waiting and len(failed) < _MOST_FAILURES:
            event = waiting.popleft()
            try:
                trail.sign([event])
            except _AWAY:
                waiting.appendleft(event)
                break
            except Exception as error:  # told before; the next may be written
                if _is_unfit(error):
                    self.lost += 1
                else:
                    failed.append(event)
        # Behind those that have not been tried: they are to have their turn.
        self._waiting = [*waiting, *failed]

    def _keep_within_bounds(self, *, is_last: bool) -> None:
        """Keep the newest of what waits, or nothing at the end."""
        kept: list[AuditEvent] = []
        size = 0
        for event in reversed([] if is_last else self._waiting):
            size += len(event.after.get("identifier", ""))
            if len(kept) >= self._most_waiting or size > _MOST_BYTES:
                break
            kept.append(event)
        self.lost += len(self._waiting) - len(kept)
        self._waiting = kept[::-1]

    def _failed(self, error: Exception) -> None:
        if not self._is_failing:
            # Its text may hold what was asked for.
            logger.error("queries are not in the audit trail yet: %s", type(error).__name__)
        self._is_failing = True

    def _succeeded(self) -> None:
        if self._is_failing:
            logger.warning("queries are in the audit trail again; lost so far: %d", self.lost)
        self._is_failing = False
        self._waiting = []


def _is_unfit(error: Exception) -> bool:
    return isinstance(error, _UNFIT) or not isinstance(error, Error)


def _refusal(caller: _Caller, called: str, calls: int) -> AuditEvent:
    calling, address, reason = caller
    with translation.override("en"):
        why = Reason(reason).words if reason else "too many callers to tell each"
    return happenings.caller_refused(
        calling=calling,
        called=called if reason else "",
        address=_address(address),
        why=why,
        details={"calls": calls} if calls > 1 else {},
    )


@lru_cache(maxsize=1024)
def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
