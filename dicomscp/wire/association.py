"""An association that peers ask for: a C-CANCEL is heard whenever it comes.

The library forgets a C-CANCEL that arrives with its request, dies of the eleventh, and neither
reads while it has something to send nor waits for what it sends.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from dicomscp.wire import requests
from dicomscp.wire.requests import Titles
from dicomscp.wire.tls import Secured

# Parts of messages that wait to be sent: a response has two. So far an answer runs ahead.
_WAITING = 16
# C-CANCELs that are kept for a request that is to come or under way.
_CANCELS = 9
_LOOKS = 1.0  # seconds between two looks whether there is still somebody to send


class _Cancels(dict[int, C_CANCEL]):
    """C-CANCELs by the message they name; the oldest goes when there are too many."""

    def __setitem__(self, message_id: int, cancel: C_CANCEL) -> None:
        while len(self) >= _CANCELS:
            del self[next(iter(self))]
        super().__setitem__(message_id, cancel)


class _Requests(queue.Queue[Any]):
    """Messages that wait to be served."""

    def __init__(self, cancels: _Cancels) -> None:
        super().__init__()
        self._cancels = cancels

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        # A C-CANCEL from before was for an earlier request: many consoles number them all alike.
        self._cancels.pop(getattr(item[1], "MessageID", None) or 0, None)
        super().put(item, block, timeout)


class _Dimse(DIMSEServiceProvider):
    """Messages in and out, with the C-CANCELs since the request they name."""

    def __init__(self, association: Association) -> None:
        self._cancels = _Cancels()
        super().__init__(association)
        self.msg_queue = _Requests(self._cancels)

    @property
    def cancel_req(self) -> dict[int, C_CANCEL]:
        return self._cancels

    @cancel_req.setter
    def cancel_req(self, nothing: object) -> None:
        """The library starts anew when it begins to serve a request, too late: not so here."""


class _Outbox(queue.Queue[Any]):
    """What waits to be sent. A part of a message waits for room while somebody sends."""

    def __init__(self, dul: DULServiceProvider) -> None:
        super().__init__()
        self._dul = dul

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if isinstance(item, P_DATA):
            with self.not_full:
                while self._qsize() >= _WAITING and self._dul.is_alive():
                    self.not_full.wait(_LOOKS)
        super().put(item, block, timeout)


class _Dul(DULServiceProvider):
    """The upper layer: it reads what has come before it sends more."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.to_provider_queue = _Outbox(self)

    def _decode_pdu(self, bytestream: bytearray) -> Any:
        if bytestream[:1] == bytes([requests.A_ASSOCIATE_RQ]):
            association = cast(WorklistAssociation, self.assoc)
            spelled, association.titles = requests.readable(bytes(bytestream))
            bytestream = bytearray(spelled)
        return super()._decode_pdu(bytestream)

    def _process_recv_primitive(self) -> bool:
        waiting = self.to_provider_queue.queue
        is_message = bool(waiting) and isinstance(waiting[0], P_DATA)
        if is_message and self.socket is not None and self.socket.ready:
            return False
        return super()._process_recv_primitive()


class WorklistAssociation(Association):
    """An association of which we are the acceptor.

    `account` is its handlers' own: what they keep from one event to the next. `at_end` is called
    once, after the last event, when it is known how it ended. `secured` is what TLS says of the
    peer, `titles` what it says itself: those that the library has may have a "?" in them.
    """

    account: Any = None
    secured: Secured | None = None
    titles = Titles()
    at_end: Callable[[WorklistAssociation], None] | None = None

    def __init__(self, ae: ApplicationEntity, mode: str) -> None:
        super().__init__(ae, mode)
        self.dul = _Dul(self)
        self.dimse = _Dimse(self)
        # Set anew, since they stand in the upper layer.
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout

    def run_reactor(self) -> None:
        """The association from its request to its end, in its own thread."""
        try:
            super().run_reactor()
        finally:
            if self.at_end is not None:
                self.at_end(self)

    def reject(self, result: int, source: int, diagnostic: int) -> None:
        """Answer with an A-ASSOCIATE-RJ (PS3.8 9.3.4), in the event that tells of the request."""
        self.acse.send_reject(result, source, diagnostic)
        evt.trigger(self, evt.EVT_REJECTED, {})
        # It waits until the answer has left: without it the peer would see a dropped line.
        self.kill()
