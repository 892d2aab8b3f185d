"""Association requests (PS3.8 7.1), and what came of them: consoles repeat theirs to the byte.

What a request says, and what was negotiated for it, is kept under its bytes. It is shared by all of
its associations, and changed by none.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    A_RELEASE,
    MaximumLengthNotification,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext

from dicomscp.wire.requests import Titles, readable

if TYPE_CHECKING:
    from dicomscp.wire.association import WorklistAssociation

# Requests that are kept, and the longest of them: 128 contexts take 10 kB.
_KEPT = 256
_LONGEST = 12 * 1024
# PS3.8 9.2.1, bit 0: version 1.
_VERSION = 0x0001


@dataclass(frozen=True)
class Result:
    """What was negotiated: the contexts, and the A-ASSOCIATE-AC as primitive and PDU."""

    accepted: dict[int, PresentationContext]
    rejected: list[PresentationContext]
    primitive: A_ASSOCIATE


# SOP Class Extended Negotiation as it was answered.
Extended = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Request:
    """An A-ASSOCIATE-RQ that was read; for the state machine it is the PDU."""

    primitive: A_ASSOCIATE
    titles: Titles
    protocol_version: int
    # Nothing in it is between the peer and us alone, or for others to answer.
    is_kept: bool
    is_extended: bool
    # The greatest length that the peer takes (PS3.8 D.1); None when it does not say.
    maximum_length: int | None
    results: dict[Extended, Result] = field(default_factory=dict)

    def to_primitive(self) -> A_ASSOCIATE:
        return self.primitive


class Requests:
    """The requests of late."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Request] = {}
        self._lock = threading.Lock()

    def read(self, encoded: bytes) -> Request:
        """What a request says. Raises whatever the library does when it is none."""
        known = self._kept.get(encoded)
        if known is not None:
            return known
        spelled, titles = readable(encoded)
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(spelled)
        request = _request(pdu.to_primitive(), titles, pdu.protocol_version)
        if request.is_kept and len(encoded) <= _LONGEST:
            with self._lock:
                while len(self._kept) >= _KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[encoded] = request
        return request


def _request(primitive: A_ASSOCIATE, titles: Titles, version: int) -> Request:
    for context in primitive.presentation_context_definition_list:
        # The library takes them in, and fails when it comes to negotiating them.
        if not context.abstract_syntax or not context.transfer_syntax:
            raise ValueError("a presentation context without syntaxes")
    items = primitive.user_information
    private = (UserIdentityNegotiation, SOPClassCommonExtendedNegotiation)
    lengths = [
        item.maximum_length_received
        for item in items
        if isinstance(item, MaximumLengthNotification)
    ]
    return Request(
        primitive,
        titles,
        version,
        is_kept=version == _VERSION and not any(isinstance(item, private) for item in items),
        is_extended=any(isinstance(item, SOPClassExtendedNegotiation) for item in items),
        maximum_length=lengths[0] if lengths else None,
    )


class Acse(ACSE):
    """Association control: negotiates a request once, and remembers what came of it."""

    assoc: WorklistAssociation

    def __init__(self, association: WorklistAssociation) -> None:
        super().__init__(association)
        self._extended: list[SOPClassExtendedNegotiation] | None = None

    def _check_sop_class_extended(self) -> list[SOPClassExtendedNegotiation]:
        if self._extended is not None:
            return self._extended
        return super()._check_sop_class_extended()

    def _negotiate_as_acceptor(self) -> None:
        """Negotiate the contexts (PS3.8 7.1.1.13), and accept."""
        request = self.assoc.proposal
        if request is None or not request.is_kept or not self._is_alike():
            super()._negotiate_as_acceptor()
            return
        # Asked each time, as the library does, but only where there is something to be said.
        self._extended = super()._check_sop_class_extended() if request.is_extended else []
        answered: Extended = tuple(
            (str(item.sop_class_uid), item.service_class_application_information or b"")
            for item in self._extended
        )
        result = request.results.get(answered)
        if result is None:
            super()._negotiate_as_acceptor()
            if self.assoc.is_established:
                request.results[answered] = self._result()
            return
        self.requestor._ae_title = request.primitive.calling_ae_title
        self.assoc._accepted_cx, self.assoc._rejected_cx = result.accepted, result.rejected
        self.acceptor.primitive = result.primitive
        self.dul.send_pdu(result.primitive)
        evt.trigger(self.assoc, evt.EVT_ACCEPTED, {})
        self.assoc.is_established = True
        evt.trigger(self.assoc, evt.EVT_ESTABLISHED, {})

    def _is_alike(self) -> bool:
        """Whether nothing but the request's bytes says what becomes of it."""
        ae = self.assoc.ae
        return not (
            self.assoc.is_watched
            or ae.require_calling_aet
            or ae.require_called_aet
            or any(
                self.assoc.get_handlers(event)[0] is not evt.get_default_handler(event)
                for event in (evt.EVT_ASYNC_OPS, evt.EVT_SOP_COMMON, evt.EVT_USER_ID)
            )
        )

    def _result(self) -> Result:
        primitive = cast(A_ASSOCIATE, self.acceptor.primitive)
        # Sent as it is from now on.
        cast(Any, primitive).encoded = A_ASSOCIATE_AC(primitive).encode()
        return Result(self.assoc._accepted_cx, self.assoc._rejected_cx, primitive)

    def send_release(self, is_response: bool = False) -> None:
        if not is_response:
            super().send_release(is_response)
            return
        self.assoc._sent_release = True
        self.dul.send_pdu(_RELEASED)


_RELEASED = A_RELEASE()
_RELEASED.result = "affirmative"
# A-RELEASE-RP (PS3.8 9.3.7).
cast(Any, _RELEASED).encoded = bytes((6, 0, 0, 0, 0, 4, 0, 0, 0, 0))
