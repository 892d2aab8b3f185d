"""pynetdicom's events and the pure rooms: one C-FIND from its bytes to its responses.

All rows are read, and the database given back, before the first answer leaves.
"""

from __future__ import annotations

import datetime as dt
import logging
import operator
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from django.db import Error
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp import access, associations, identifier, lease, questions, stations
from dicomscp.access import Call
from dicomscp.find import TooManyMatches
from dicomscp.journal import JOURNAL
from dicomscp.models import MOST_STEPS, Query
from dicomscp.questions import Found, Question
from dicomscp.scope import NO_RULES
from dicomscp.status import (
    CANCEL,
    IDENTIFIER_DOES_NOT_MATCH,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    SUCCESS,
    UNABLE_TO_PROCESS,
    Refusal,
)
from dicomscp.wire.association import WorklistAssociation
from worklist import clock

logger = logging.getLogger(__name__)

# A status and the Identifier: its bytes in the context's transfer syntax, or a data set.
Answer = tuple[int | Dataset, bytes | Dataset | None]

# PS3.4 K.5: two reserved bytes (date and time always combine), no fuzzy names, no time zones.
_EXTENDED_NEGOTIATION = b"\x01\x01\x00\x00"
# What the journal keeps of an Identifier: no more than is read.
_MOST_KEPT = identifier.MAX_BYTES


def _read(question: Question, call: Call, account: _Account, *, takes_bytes: bool) -> Found:
    """The matching steps and their Identifiers, to the station that calls.

    Raises Refusal (0xA700) when they cannot be read or are too many, and (0x0124) when the caller
    may not ask.
    """
    try:
        return lease.read(lambda: _answers_to(question, call, takes_bytes=takes_bytes))
    except TooManyMatches as error:
        account.matches = error.count
        count = error.count if error.count is not None else f"more than {error.limit}"
        comment = f"{count} matches, limit {error.limit}: narrow the query"
        raise Refusal(OUT_OF_RESOURCES, comment) from None


def _answers_to(question: Question, call: Call, *, takes_bytes: bool) -> Found:
    """What is found under the rules of now: those of lately, when they turn out to be the same."""
    seen = stations.remembered(call.calling)
    if seen is not None:
        try:
            found = _found(question, call, lambda _: seen.station, takes_bytes=takes_bytes)
            if found.count == seen.count or (found.count is None and seen.still_holds):
                return found
        except Error:
            # Of the connection nothing more can be asked; the next time it is not these rules.
            stations.forget(call.calling)
            raise
        except Exception:
            if seen.still_holds:
                raise
    return _found(question, call, stations.now, takes_bytes=takes_bytes)


def _found(question: Question, call: Call, look: access.Look, *, takes_bytes: bool) -> Found:
    verdict = access.on_query(call, look)
    if not verdict.is_accepted:
        raise Refusal(NOT_AUTHORISED, "Calling AE title not recognised")
    rules = verdict.station.rules if verdict.station else NO_RULES
    answering = questions.answering(question, rules, now=clock.now())
    return answering.found() if takes_bytes else answering.plainly()


@dataclass
class _Account:
    """What is told of a request: one line of the log (no patient data), one row of the journal."""

    at: dt.datetime = field(default_factory=timezone.now)
    started: float = field(default_factory=time.monotonic)
    identifier: bytes = b""
    keys: int = 0
    unsupported: int = 0
    matches: int | None = None
    # The steps that were sent.
    steps: list[int | None] = field(default_factory=list)
    # None until it is known with which one the answers end.
    status: int | None = None
    comment: str = ""

    def write(self, event: evt.Event) -> None:
        calling, address = associations.calling(event.assoc), event.assoc.requestor.address
        milliseconds = int((time.monotonic() - self.started) * 1000)
        logger.info(
            "C-FIND ae=%s peer=%s keys=%d unsupported=%d matches=%d status=%s ms=%d%s",
            associations.printable(calling),
            address,
            self.keys,
            self.unsupported,
            len(self.steps),
            "none" if self.status is None else f"{self.status:04X}",
            milliseconds,
            f" comment={self.comment!r}" if self.comment else "",
        )
        JOURNAL.add(
            Query(
                association_id=associations.number(event.assoc),
                at=self.at,
                calling=associations.kept(calling),
                address=access.plain_address(address),
                identifier=self.identifier,
                transfer_syntax=associations.kept(event.context.transfer_syntax),
                keys=self.keys,
                matches=self.matches,
                sent=len(self.steps),
                steps=self.steps[:MOST_STEPS],
                status=self.status,
                comment=self.comment,
                milliseconds=milliseconds,
            )
        )


def _status(refusal: Refusal) -> Dataset:
    dataset = Dataset()
    dataset.Status = refusal.status
    dataset.ErrorComment = refusal.error_comment
    if refusal.offending:
        dataset.OffendingElement = list(refusal.offending)
    return dataset


def on_find(event: evt.Event) -> Iterator[Answer]:
    """Answer a Modality Worklist C-FIND (PS3.4 K.4.1)."""
    account = _Account()
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
        account.write(event)


def _answers(event: evt.Event, account: _Account) -> Iterator[Answer]:
    request = cast(C_FIND, event.request)
    if request.Identifier is None:
        raise Refusal(IDENTIFIER_DOES_NOT_MATCH, "the request has no Identifier")
    asked = request.Identifier.getvalue()
    account.identifier = asked[:_MOST_KEPT]
    implicit_vr = event.context.transfer_syntax == ImplicitVRLittleEndian
    question = questions.understand(asked, implicit_vr=implicit_vr)
    account.keys = len(question.elements)
    query = question.plan
    account.unsupported = len(query.unsupported)
    call = Call(
        associations.calling(event.assoc),
        event.assoc.requestor.address,
        certificate=associations.certificate(event.assoc),
    )
    takes_bytes = cast(WorklistAssociation, event.assoc).takes_bytes
    found = _read(question, call, account, takes_bytes=takes_bytes)
    account.matches = len(found.steps)
    for step, encoded in zip(found.steps, found.identifiers, strict=True):
        if event.is_cancelled:
            account.status = CANCEL
            yield CANCEL, None
            return
        # A plain number: the elements of a status data set would stick to every later response.
        yield query.pending, encoded
        account.steps.append(step)
    account.status = SUCCESS


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


HANDLERS: list[tuple[evt.EventType, Callable[..., object]]] = [
    (evt.EVT_C_FIND, on_find),
    (evt.EVT_C_ECHO, on_echo),
    (evt.EVT_SOP_EXTENDED, on_extended_negotiation),
    *associations.HANDLERS,
]
