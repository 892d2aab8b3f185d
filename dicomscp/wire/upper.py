"""The upper layer of an association (PS3.8 9), without a thread of its own.

The library's state machine, events and PDUs; but read, acted upon and sent where they are wanted,
in the association's thread, which waits in poll(2) and nowhere else.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import evt
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import ACTIONS, TRANSITION_TABLE, StateMachine
from pynetdicom.pdu import A_RELEASE_RQ
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE, P_DATA
from pynetdicom.timer import Timer

from dicomscp.wire.bounds import Bound, Bounds, place_of, refuse
from dicomscp.wire.negotiation import Requests
from dicomscp.wire.transport import Connection

if TYPE_CHECKING:
    from dicomscp.wire.association import WorklistAssociation

logger = logging.getLogger(__name__)

# PDU types (PS3.8 9.3.1).
_REQUEST, _DATA, _RELEASE = 1, 4, 5
_TYPES = range(1, 8)
_HEAD = 6
# A-ABORT of the service provider, for no reason that is given (PS3.8 9.3.8).
_ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, 0))
# PDVs' own bytes before their value: item length, context (PS3.8 9.3.5.1).
_PDV_HEAD = 5

Primitive = A_ASSOCIATE | A_RELEASE | A_ABORT | A_P_ABORT | P_DATA


class Line:
    """What waits between service user and provider, in the same thread; in place of a Queue."""

    __slots__ = ("queue",)

    def __init__(self) -> None:
        self.queue: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self.queue.append(item)

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        try:
            return self.queue.popleft()
        except IndexError:
            raise queue.Empty from None


class Clock(Timer):
    """A timer that the wall clock's steps do not move."""

    @property
    def remaining(self) -> float:
        if self._timeout is None:
            return 1
        if self._start_time is None:
            return self._timeout
        return self._timeout - ((self._end_time or time.monotonic()) - self._start_time)

    def start(self) -> None:
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        self._end_time = time.monotonic()


class Encoded(P_DATA):
    """P-DATA that is encoded already: any number of P-DATA-TF PDUs."""

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded


class _Fragments(P_DATA):
    """The PDVs of a P-DATA-TF PDU (PS3.8 9.3.5): PDU and primitive in one."""

    def __init__(self, encoded: bytes) -> None:
        self._presentation_data_value_list = found = []
        at, end = _HEAD, len(encoded)
        while at < end:
            length = int.from_bytes(encoded[at : at + 4], "big")
            value = at + _PDV_HEAD
            at += 4 + length
            # A context's identifier and a message control header at the least.
            if length < 2 or at > end:
                raise ValueError("a PDV is longer than its PDU, or empty")
            found.append((encoded[value - 1], encoded[value:at]))
        if not found:
            raise ValueError("a P-DATA-TF PDU without PDV")

    def to_primitive(self) -> P_DATA:
        return self


class _Machine(StateMachine):
    """The library's state machine; a primitive that is `encoded` is sent as it is."""

    def do_action(self, event: str) -> None:
        waiting = self.dul.to_provider_queue.queue
        encoded = getattr(waiting[0], "encoded", None) if waiting else None
        if encoded is None or event not in _SENDS:
            super().do_action(event)
            return
        waiting.popleft()
        action = TRANSITION_TABLE[event, self.current_state]
        cast(Connection, self.dul.socket).send(encoded)
        self.transition(cast(str, ACTIONS[action][2]))


# A-ASSOCIATE accepted, P-DATA, A-RELEASE confirmed: AE-7, DT-1 or AR-7, AR-4.
_SENDS = {"Evt7", "Evt9", "Evt14"}


class UpperLayer(DULServiceProvider):
    """The service provider of the upper layer; nothing of it runs by itself."""

    assoc: WorklistAssociation
    socket: Connection | None

    def __init__(
        self, association: WorklistAssociation, bounds: Bounds, requests: Requests
    ) -> None:
        # The library's own makes a thread.
        self._assoc: Any = association
        self.socket = None
        self.event_queue: Any = Line()
        self.to_provider_queue: Any = Line()
        self.to_user_queue: Any = Line()
        self._recv_pdu: Any = Line()
        self._idle_timer = Clock(bounds.idle_seconds)
        self.artim_timer = Clock(bounds.request_seconds)
        self.state_machine = _Machine(self)
        self._run_loop_delay = 0.0
        self._kill_thread = False
        self._bounds, self._requests = bounds, requests
        # Read and not yet acted upon; when the first byte of a PDU that is not whole came.
        self._unread = bytearray()
        self._since = 0.0

    # --- the state machine ------------------------------------------------------------------------

    def is_alive(self) -> bool:
        return not self._kill_thread

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to be read: no association, or no connection."""
        is_ended = self._kill_thread or self.assoc._kill
        return is_ended or self.state_machine.current_state in ("Sta1", "Sta13")

    def begin(self) -> None:
        """A connection is there (Evt5): wait for the A-ASSOCIATE-RQ."""
        self._idle_timer.start()
        self.act()

    def act(self) -> None:
        """Let the state machine act on what has happened."""
        events = self.event_queue.queue
        while events and not self._kill_thread:
            event = events.popleft()
            if (event, self.state_machine.current_state) not in TRANSITION_TABLE:
                # Such as the end of a connection that we have closed.
                continue
            try:
                self.state_machine.do_action(event)
            except Exception as error:
                self._give_up(error)

    def send_pdu(self, primitive: Primitive) -> None:
        """Act on a primitive of the service user at once; drop it where there is no peer."""
        if isinstance(primitive, A_ASSOCIATE | A_RELEASE | A_ABORT | A_P_ABORT):
            evt.trigger(self.assoc, evt.EVT_ACSE_SENT, {"primitive": primitive})
        self.act()
        self.to_provider_queue.put(primitive)
        self._process_recv_primitive()
        self.act()
        # What could not be sent in this state is not sent in a later one.
        self.to_provider_queue.queue.clear()

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Any:
        """The next primitive for the service user; None when none comes in time."""
        if wait:
            deadline = None if timeout is None else time.monotonic() + timeout
            while not self.to_user_queue.queue and not self.is_over:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self.pump(left)
        return super().receive_pdu(wait=False)

    def stop_dul(self) -> bool:
        self._kill_thread = True
        return True

    def _give_up(self, error: Exception) -> None:
        """The state machine cannot go on: A-ABORT past it, and no more."""
        logger.error("upper layer failed: %s", place_of(error))
        self._kill_thread = True
        if self.socket is not None:
            self.socket.send(_ABORT)
            self.socket.close()
        self.assoc.is_aborted = True
        self.assoc.is_established = False

    # --- what the peer sends ----------------------------------------------------------------------

    def look(self) -> None:
        """Act on what has come, without waiting."""
        while self._may_read() and self.socket is not None:
            if self._act_on_next():
                continue
            found = self.socket.take()
            if found is None:
                break
            if not found:
                # What a woken thread finds is no end of the peer's.
                if not self._is_called_off():
                    self.event_queue.put("Evt17")
                    self.act()
                break
            if not self._unread:
                self._since = time.monotonic()
            self._unread += found
        self._is_called_off()

    def pump(self, seconds: float | None) -> None:
        """Wait for the peer until something has come, so long, or as long as it may take."""
        self.look()
        if self.is_over or self.to_user_queue.queue or self.socket is None:
            return
        if not self._may_read() or self.assoc.dimse.msg_queue.queue:
            return
        now = time.monotonic()
        deadlines = [] if seconds is None else [now + seconds]
        is_waiting = self.state_machine.current_state == "Sta2"
        if is_waiting:
            deadlines.append(now + self.artim_timer.remaining)
        if self._unread:
            deadlines.append(self._since + self._bounds.pdu_seconds)
        else:
            deadlines.append(now + self._idle_timer.remaining)
        if self.socket.wait(min(deadlines) - now):
            self.look()
            return
        if is_waiting and self.artim_timer.remaining <= 0:
            refuse(Bound.REQUEST_SECONDS, self.socket.peer)
            self.event_queue.put("Evt18")
        elif self._unread and time.monotonic() >= self._since + self._bounds.pdu_seconds:
            refuse(Bound.PDU_SECONDS, self.socket.peer)
            self.event_queue.put("Evt18" if is_waiting else "Evt19")
        self.act()

    def _may_read(self) -> bool:
        # Sta3: nothing is to come before the request is answered; it can wait.
        is_ours_to_answer = self.state_machine.current_state == "Sta3"
        is_full = len(self.assoc.dimse.msg_queue.queue) >= self._bounds.waiting
        return not (self.is_over or is_ours_to_answer or is_full)

    def _is_called_off(self) -> bool:
        """Whether another thread wants an end of it; then it has come."""
        if not self.assoc.is_called_off:
            return False
        self.assoc.abort()
        return True

    def _act_on_next(self) -> bool:
        """Act on the first PDU of what was read; whether it was whole."""
        try:
            encoded = self._cut()
            if encoded is None:
                return False
            self.event_queue.put(self._decode(encoded))
        except _TooLongError:
            self.event_queue.put("Evt19")
        except Exception:
            # Whatever the library raises at what a peer sends: it is no PDU.
            refuse(Bound.MALFORMED, cast(Connection, self.socket).peer)
            self.event_queue.put("Evt19")
        self._idle_timer.start()
        self._since = time.monotonic()
        self.act()
        return True

    def _cut(self) -> bytes | None:
        """The bytes of the first PDU. Raises when it begins like none, or is to be too long."""
        unread = self._unread
        if not unread:
            return None
        if unread[0] not in _TYPES:
            self.assoc.at_other_speech(bytes(unread[:1]))
            raise ValueError("no PDU")
        if len(unread) < _HEAD:
            return None
        length = _HEAD + int.from_bytes(unread[2:_HEAD], "big")
        if length > self._longest():
            is_request = self.state_machine.current_state == "Sta2"
            bound = Bound.REQUEST_BYTES if is_request else Bound.PDU_BYTES
            refuse(bound, cast(Connection, self.socket).peer)
            raise _TooLongError
        if len(unread) < length:
            return None
        encoded = bytes(unread[:length])
        del unread[:length]
        return encoded

    def _longest(self) -> int:
        if self.state_machine.current_state == "Sta2":
            return self._bounds.request_bytes
        return self.assoc.ae.maximum_pdu_size + self._bounds.pdu_slack

    def _decode(self, encoded: bytes) -> str:
        """Keep the PDU for the state machine; the event that it is."""
        if not self.assoc.is_watched:
            if encoded[0] == _DATA:
                self._recv_pdu.put(_Fragments(encoded))
                return "Evt10"
            if encoded[0] == _REQUEST and self.state_machine.current_state == "Sta2":
                self.assoc.proposal = self._requests.read(encoded)
                self._recv_pdu.put(self.assoc.proposal)
                return "Evt6"
            if encoded[0] == _RELEASE:
                self._recv_pdu.put(_RELEASE_PDU)
                return "Evt12"
        pdu, event = self._decode_pdu(bytearray(encoded))
        self._recv_pdu.put(pdu)
        return event


class _TooLongError(Exception):
    """A PDU that is longer than a peer may send."""


_RELEASE_PDU = A_RELEASE_RQ()
