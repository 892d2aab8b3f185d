"""An association that peers ask for, served from its request to its end by one thread.

It waits in poll(2) and nowhere else: no second thread, no queue between threads, no sleep.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR, MODE_REQUESTOR
from pynetdicom.association import Association, ServiceUser
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AddressInformation

from dicomscp.wire.bounds import Bound, place_of, refuse
from dicomscp.wire.gate import Place
from dicomscp.wire.messages import Dimse
from dicomscp.wire.negotiation import Acse, Request
from dicomscp.wire.requests import Titles
from dicomscp.wire.service import SERVICES
from dicomscp.wire.tls import Secured
from dicomscp.wire.transport import Connection
from dicomscp.wire.upper import UpperLayer

if TYPE_CHECKING:
    from dicomscp.wire.server import WorklistServer

logger = logging.getLogger(__name__)

# A-ASSOCIATE-RJ (PS3.8 9.3.4): result, source, reason.
_NO_REASON = (1, 1, 1)
_LIMIT_EXCEEDED = (2, 3, 2)
# Who looks at PDUs or messages gets the library's own; nobody does in the product.
_WATCHED = (
    evt.EVT_PDU_RECV,
    evt.EVT_PDU_SENT,
    evt.EVT_DATA_RECV,
    evt.EVT_DATA_SENT,
    evt.EVT_DIMSE_SENT,
    evt.EVT_FSM_TRANSITION,
)


class User(ServiceUser):
    """One side of an association; what it is made of is shared with others."""

    def __init__(self, association: WorklistAssociation, mode: str, items: list[Any]) -> None:
        # The library's own makes and checks each item anew.
        self.assoc = association
        self._mode = mode
        self._ae_title = ""
        self.primitive = None
        self.address_info = None
        self._contexts = []
        self._user_info = items
        self._ext_neg = {}
        self.reset_negotiation_items()
        self._common_ext = {}


class WorklistAssociation(Association):
    """An association of which we are the acceptor.

    `account` is its handlers' own: what they keep from one event to the next. `at_end` is called
    once, after the last event, when it is known how it ended. `secured` is what TLS says of the
    peer, `titles` what it says itself: those that the library has may have a "?" in them.
    """

    account: Any = None
    secured: Secured | None = None
    at_end: Callable[[WorklistAssociation], None] | None = None
    # Told the first byte of a peer that speaks something else than DICOM.
    at_other_speech: Callable[[bytes], None]
    # What it asked for, where that is kept.
    proposal: Request | None = None
    # It is no thread of its own: it has none of these.
    name = "association"
    daemon = True

    def __init__(self, server: WorklistServer, connection: Any, place: Place) -> None:
        # The library's own makes two threads, and copies of what never changes.
        self._ae = server.ae
        self._mode = MODE_ACCEPTOR
        self._server = server
        self._place = place
        self._handlers = {
            event: list(bound) if isinstance(bound, list) else bound
            for event, bound in server._handlers.items()
        }
        self.is_plain = server.is_plain
        self.is_watched = self._is_watched()
        self.at_other_speech = _say_nothing
        self.requestor = User(self, MODE_REQUESTOR, server.peer_items)
        self.acceptor = User(self, MODE_ACCEPTOR, server.our_items)
        self.acceptor._ae_title = server.ae_title
        self.acceptor._contexts = server.contexts
        self.acceptor.address_info = server.address_info
        self.requestor.address_info = _address(place.peer)
        self.is_established = self.is_rejected = self.is_aborted = self.is_released = False
        self._sent_abort = self._sent_release = False
        self._accepted_cx = {}
        self._rejected_cx = []
        bounds = server.gate.bounds
        self._bounds = bounds
        self.acse = Acse(self)
        self.dul: UpperLayer = UpperLayer(self, bounds, server.requests)
        self.dimse: Dimse = Dimse(self, bounds)
        self._acse_timeout = bounds.request_seconds
        self.connection_timeout = self._dimse_timeout = None
        self._network_timeout = bounds.idle_seconds
        self.network_timeout_response = "A-ABORT"
        self._kill = False
        self._started_dul = True
        self._is_paused = False
        self._dul_ready = self._reactor_checkpoint = _ALWAYS
        self._timer_resolution = None
        self.dul.socket = Connection(self, connection, bounds)
        # Another thread wants it to end: said first, then the connection is woken.
        self.is_called_off = False
        # Whether a request is being answered, and when that or the peer was heard of last.
        self.is_serving = False
        self._heard = time.monotonic()
        self._runner: int | None = None
        self._is_over = threading.Event()

    @property
    def titles(self) -> Titles:
        """The AE titles of the request, with whatever characters they have."""
        if self.proposal is not None:
            return self.proposal.titles
        request = cast(A_ASSOCIATE, self.requestor.primitive)
        return Titles(request.calling_ae_title.strip(), request.called_ae_title.strip())

    def bind(self, event: Any, handler: Any, args: list[Any] | None = None) -> None:
        super().bind(event, handler, args)
        self.is_watched = self._is_watched()

    def _is_watched(self) -> bool:
        return any(self._handlers.get(event) for event in _WATCHED)

    @property
    def takes_bytes(self) -> bool:
        """Whether responses may come encoded; else the library encodes, and sends, data sets."""
        return not (self.is_plain or self.is_watched)

    # --- a thread to the eye ----------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<association with {self.requestor.address}>"

    def start(self) -> None:
        """In a thread of its own; the server has them run in its own."""
        threading.Thread(target=self.run_reactor, daemon=True).start()

    def is_alive(self) -> bool:
        return not self._is_over.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._is_over.wait(timeout)

    # --- from request to end ----------------------------------------------------------------------

    def run_reactor(self) -> None:
        """The association from its request to its end, in this thread."""
        self._runner = threading.get_ident()
        try:
            self.dul.begin()
            self._negotiate()
            while self.is_established and not self._kill:
                self._go_on()
        except BaseException as error:
            # SystemExit of a handler among them: nothing of it may stay behind.
            logger.error("association failed: %s", place_of(error))
            self._abort_blocking()
        finally:
            try:
                self._hang_up()
            finally:
                self._is_over.set()

    def _negotiate(self) -> None:
        primitive = self.dul.receive_pdu(wait=True, timeout=self._bounds.request_seconds)
        if not isinstance(primitive, A_ASSOCIATE):
            return
        self.requestor.primitive = primitive
        bound = self._past(primitive)
        if bound is not None:
            refuse(bound, self.requestor.address)
            self.reject(*_NO_REASON)
            return
        evt.trigger(self, evt.EVT_REQUESTED, {})
        if self.is_aborted or self.is_rejected:
            return
        if not self._place.admit():
            refuse(Bound.ASSOCIATIONS, self.requestor.address)
            self.reject(*_LIMIT_EXCEEDED)
            return
        try:
            self.acse.negotiate_association()
        except Exception:
            # Whatever the library raises at what a peer sends, once more.
            refuse(Bound.MALFORMED, self.requestor.address)
            self.abort()

    def _past(self, primitive: A_ASSOCIATE) -> Bound | None:
        """The bound that a request is past, if it is."""
        if not 0 < len(primitive.presentation_context_definition_list) <= self._bounds.contexts:
            return Bound.CONTEXTS
        length = self.requestor.maximum_length
        if length and length < self._bounds.peer_pdu_bytes:
            return Bound.PEER_PDU
        return None

    def _go_on(self) -> None:
        """One step of an established association."""
        waiting = self.dimse.msg_queue.queue
        if waiting:
            context_id, message = waiting.popleft()
            if message is not None:
                self._serve_request(message, context_id)
                self.dul._idle_timer.start()
        elif self.acse.is_release_requested():
            # Before the peer hears that it may come again: it may be quicker than we.
            self._place.leave()
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            self.kill()
        elif self.acse.is_aborted():
            # So that those hear of it who want to know what is received.
            self.dul.receive_pdu()
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
            self.kill()
        elif self.dul.is_over:
            self.kill()
        elif self.dul.idle_timer_expired():
            refuse(Bound.IDLE_SECONDS, self.requestor.address)
            self.abort()
        else:
            self.dul.pump(None)
            self._heard = time.monotonic()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Have a service answer a request; what none is for ends the association."""
        context = self._accepted_cx[context_id]
        service = SERVICES.get((type(msg), msg.AffectedSOPClassUID or ""))
        if service is None or not msg.is_valid_request:
            refuse(Bound.MALFORMED, self.requestor.address)
            self.abort()
            return
        self.is_serving = True
        try:
            service(self).SCP(msg, context)
        except Exception as error:
            logger.error("request failed: %s", place_of(error))
            self.abort()
        finally:
            self.is_serving = False
            self._heard = time.monotonic()

    def goes_on(self) -> bool:
        """Between two responses: whether the peer still listens. A release now is an abort."""
        self.dul.look()
        if self.acse.is_release_requested():
            self.abort()
        return self.is_established and not self.dul.is_over

    # --- its end ----------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was asked for a second: then a stop need not wait for it."""
        return not self.is_serving and time.monotonic() - self._heard >= 1.0

    def call_off(self) -> None:
        """Have it end as soon as its thread can; from any thread."""
        self.is_called_off = True
        connection = self.dul.socket
        if connection is not None:
            connection.wake()

    def _abort_blocking(self, block: bool = True) -> None:
        """Send an A-ABORT (PS3.8 9.3.8), once; in its own thread, be it now or soon."""
        if self._runner not in (None, threading.get_ident()):
            self.call_off()
            return
        if self._sent_abort or self.is_released:
            return
        self._sent_abort = True
        self._place.end()
        self.acse.send_abort(0x00)
        evt.trigger(self, evt.EVT_ABORTED, {})
        self.kill()

    def kill(self) -> None:
        """Let it end; its connection is closed by its own thread."""
        self._kill, self.is_established = True, False

    def reject(self, result: int, source: int, diagnostic: int) -> None:
        """Answer with an A-ASSOCIATE-RJ (PS3.8 9.3.4), in the event that tells of the request."""
        self.acse.send_reject(result, source, diagnostic)
        evt.trigger(self, evt.EVT_REJECTED, {})
        self.kill()

    def _hang_up(self) -> None:
        """Close the connection, so that the peer sees what was said last (PS3.8 9.2, Sta13)."""
        connection = cast(Connection, self.dul.socket)
        if self.dul.state_machine.current_state == "Sta13" and not self.is_released:
            self._linger(connection)
        self._place.leave()
        self.dul.event_queue.put("Evt17")
        self.dul.act()
        connection._shutdown_socket()
        if self.at_end is not None:
            self.at_end(self)

    def _linger(self, connection: Connection) -> None:
        """Read on for a moment: closed on unread bytes, what was sent is lost."""
        connection.finish()
        deadline = time.monotonic() + self._bounds.linger_seconds
        left = self._bounds.linger_bytes
        while left > 0 and connection.wait(deadline - time.monotonic()):
            found = connection.take()
            if found is not None and not found:
                return
            left -= len(found or b"")
            if time.monotonic() >= deadline:
                return


def _say_nothing(first: bytes) -> None:
    """Nobody wants to know what else a peer speaks."""


_ALWAYS = threading.Event()
_ALWAYS.set()


def _address(peer: Any) -> AddressInformation:
    """A peer's address as the library keeps it, without asking a name server about it."""
    address = AddressInformation.__new__(AddressInformation)
    address._addr, address.port = str(peer[0]), int(peer[1])
    address.flowinfo, address.scope_id = (int(peer[2]), int(peer[3])) if len(peer) > 2 else (0, 0)
    return address
