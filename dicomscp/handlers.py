"""pynetdicom's events and the pure rooms: one C-FIND from its bytes to its responses.

All rows are read, and the database given back, before the first answer leaves.
"""

from __future__ import annotations

import logging
import operator
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from django.conf import settings
from django.db import (
    InterfaceError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connection,
)
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp import find, identifier, plan, response, stations
from dicomscp.find import TooManyMatches
from dicomscp.matching import Item
from dicomscp.plan import QueryPlan
from dicomscp.scope import Rules
from dicomscp.status import (
    CANCEL,
    IDENTIFIER_DOES_NOT_MATCH,
    OUT_OF_RESOURCES,
    SUCCESS,
    UNABLE_TO_PROCESS,
    Refusal,
)
from worklist import clock

logger = logging.getLogger(__name__)

# PS3.4 K.5: two reserved bytes (date and time always combine), no fuzzy names, no time zones.
_EXTENDED_NEGOTIATION = b"\x01\x01\x00\x00"
# How long a query waits for its turn at the database, in seconds.
_TURN_TIMEOUT = 4.0

# The associations that are in the middle of an answer.
_answering: set[int] = set()
_turns: threading.BoundedSemaphore | None = None
_turns_lock = threading.Lock()


@contextmanager
def _database_lease() -> Iterator[None]:
    """The right to use the database, and this thread's connection given back after it.

    However many associations there are, no more than DICOM_DATABASE_CONNECTIONS are open.
    """
    global _turns
    with _turns_lock:
        if _turns is None:
            _turns = threading.BoundedSemaphore(settings.DICOM_DATABASE_CONNECTIONS)
    if not _turns.acquire(timeout=_TURN_TIMEOUT):
        raise Refusal(OUT_OF_RESOURCES, "Worklist database busy, retry later")
    try:
        close_old_connections()
        yield
    finally:
        connection.close()
        _turns.release()


def _read(query: QueryPlan, caller: str) -> tuple[tuple[Item, ...], Rules]:
    """The matching rows, and the rules of the station that calls.

    Raises Refusal (0xA700) when they cannot be read or are too many.
    """
    with _database_lease():
        try:
            return _once_more(lambda: _rows(query, caller))
        except TooManyMatches as error:
            count = error.count if error.count is not None else f"more than {error.limit}"
            comment = f"{count} matches, limit {error.limit}: narrow the query"
            raise Refusal(OUT_OF_RESOURCES, comment) from None
        except (OperationalError, InterfaceError, ProgrammingError) as error:
            logger.error("worklist database unavailable: %s", type(error).__name__)
            comment = "Worklist database unavailable, retry later"
            raise Refusal(OUT_OF_RESOURCES, comment) from None


def _rows(query: QueryPlan, caller: str) -> tuple[tuple[Item, ...], Rules]:
    rules = stations.rules(caller)
    return find.answer(query, rules, now=clock.now()), rules


_Read = TypeVar("_Read")


def _once_more(read: Callable[[], _Read]) -> _Read:
    """Read, and when the connection turns out to be dead, once more on a fresh one."""
    try:
        return read()
    except (OperationalError, InterfaceError):
        connection.close()
        return read()


@dataclass
class _Account:
    """What the one log line of a request tells (no patient data)."""

    started: float = field(default_factory=time.monotonic)
    keys: int = 0
    unsupported: int = 0
    sent: int = 0
    status: int = SUCCESS
    comment: str = ""

    def write(self, event: evt.Event) -> None:
        requestor = event.assoc.requestor
        logger.info(
            "C-FIND ae=%s peer=%s keys=%d unsupported=%d matches=%d status=%04X ms=%d%s",
            _printable(requestor.ae_title),
            requestor.address,
            self.keys,
            self.unsupported,
            self.sent,
            self.status,
            (time.monotonic() - self.started) * 1000,
            f" comment={self.comment!r}" if self.comment else "",
        )


def _printable(text: str) -> str:
    """A peer's own words on one line of the log."""
    return text.encode("unicode_escape").decode("ascii").replace(" ", "_")


def is_answering(association: object) -> bool:
    """Whether an association is in the middle of a request: then a stop waits for it."""
    return id(association) in _answering


def _status(refusal: Refusal) -> Dataset:
    dataset = Dataset()
    dataset.Status = refusal.status
    dataset.ErrorComment = refusal.error_comment
    if refusal.offending:
        dataset.OffendingElement = list(refusal.offending)
    return dataset


def on_find(event: evt.Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
    """Answer a Modality Worklist C-FIND (PS3.4 K.4.1)."""
    account = _Account()
    _answering.add(id(event.assoc))
    try:
        yield from _answers(event, account)
    except Refusal as refusal:
        account.status, account.comment = refusal.status, refusal.error_comment
        yield _status(refusal), None
    except Exception as error:
        number = secrets.token_hex(4)
        # The exception's own text may hold a patient's data: its type and place must do.
        logger.error(
            "C-FIND failed, number %s: %s\n%s",
            number,
            type(error).__name__,
            "".join(traceback.format_tb(error.__traceback__)),
        )
        failure = Refusal(UNABLE_TO_PROCESS, f"Worklist query failed, number {number}")
        account.status, account.comment = failure.status, failure.error_comment
        yield _status(failure), None
    finally:
        _answering.discard(id(event.assoc))
        account.write(event)


def _answers(event: evt.Event, account: _Account) -> Iterator[tuple[int | Dataset, Dataset | None]]:
    request = cast(C_FIND, event.request)
    if request.Identifier is None:
        raise Refusal(IDENTIFIER_DOES_NOT_MATCH, "the request has no Identifier")
    implicit_vr = event.context.transfer_syntax == ImplicitVRLittleEndian
    elements = identifier.read(request.Identifier.getvalue(), implicit_vr=implicit_vr)
    account.keys = len(elements)
    query = plan.make(elements)
    account.unsupported = len(query.unsupported)
    items, rules = _read(query, event.assoc.requestor.ae_title.strip())
    for item in items:
        if event.is_cancelled:
            account.status = CANCEL
            yield CANCEL, None
            return
        # A plain number: the elements of a status data set would stick to every later response.
        yield (
            query.pending,
            response.identifier(
                query,
                item,
                implicit_vr=implicit_vr,
                character_set=rules.character_set,
                alphabetic_only=rules.alphabetic_only,
            ),
        )
        account.sent += 1


def on_echo(event: evt.Event) -> int:
    """Answer a C-ECHO (PS3.4 A.4)."""
    return SUCCESS


def on_extended_negotiation(event: evt.Event) -> dict[str, bytes]:
    """Answer SOP Class Extended Negotiation (PS3.4 K.5): of each byte the offer, or zero."""
    return {
        uid: bytes(map(operator.and_, offered, _EXTENDED_NEGOTIATION))
        for uid, offered in cast(Any, event).app_info.items()
        if uid == ModalityWorklistInformationFind
    }


def on_accepted(event: evt.Event) -> None:
    requestor = event.assoc.requestor
    logger.info(
        "association ae=%s called=%s peer=%s",
        _printable(requestor.ae_title),
        _printable(getattr(requestor.primitive, "called_ae_title", "")),
        requestor.address,
    )


HANDLERS: list[tuple[evt.EventType, Callable[..., object]]] = [
    (evt.EVT_C_FIND, on_find),
    (evt.EVT_C_ECHO, on_echo),
    (evt.EVT_SOP_EXTENDED, on_extended_negotiation),
    (evt.EVT_ACCEPTED, on_accepted),
]
