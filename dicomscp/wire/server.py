"""The listening socket: a backlog that takes a crowd, and a thread for each that is let in."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import (
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.transport import AddressInformation, ThreadedAssociationServer

from dicomscp.wire import tls
from dicomscp.wire.association import WorklistAssociation
from dicomscp.wire.bounds import Bound, Bounds, place_of, refuse
from dicomscp.wire.gate import Gate, Place
from dicomscp.wire.negotiation import Requests
from dicomscp.wire.threads import Threads
from dicomscp.wire.tls import Fault, HandshakeError, Tls

logger = logging.getLogger(__name__)

# pynetdicom's own handlers write names at INFO and let a key forge a line of the log.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

# Consoles come in crowds when a network segment is back; the library's 5 sends some away.
BACKLOG = 1024
# Seconds for which nobody is accepted when there is no descriptor or memory for it.
_PAUSE = 0.2
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class WorklistServer(ThreadedAssociationServer):
    """An association server for many consoles.

    With `tls`, each connection begins with a handshake. `at_fault` hears of what comes to nothing
    for a reason of TLS, with the peer's address. `gate` is shared by the ports of a process.
    `listening` is a socket that listens already, perhaps in other processes as well. With
    `is_plain`, responses are sent the library's way.
    """

    request_queue_size = BACKLOG

    def __init__(
        self,
        *args: Any,
        tls: Tls | None = None,
        at_fault: Callable[[str, HandshakeError], None] | None = None,
        gate: Gate | None = None,
        listening: socket.socket | None = None,
        is_plain: bool = False,
        **options: Any,
    ) -> None:
        self._tls, self._at_fault = tls, at_fault
        self._listening = listening
        self._lock = threading.Lock()
        # Connections that are served, and what became of them.
        self._places: set[Place] = set()
        self._associations: set[WorklistAssociation] = set()
        self._is_called_off = False
        self._threads = Threads("association")
        self._is_stopping = threading.Event()
        # When the loop that accepts last went round (time.monotonic).
        self.last_turn = time.monotonic()
        self.requests = Requests()
        self.is_plain = is_plain
        super().__init__(*args, **options)
        self.address_info = AddressInformation.from_tuple(self.server_address)
        self.gate = gate or Gate(_bounds_of(self.ae))
        self.our_items = _items(self.ae)
        self.peer_items: list[Any] = []

    # --- the socket -------------------------------------------------------------------------------

    def server_bind(self) -> None:
        """Bind the socket, or take the one that listens already."""
        if self._listening is None:
            super().server_bind()
            return
        cast(socket.socket, self.socket).close()
        self.socket = self._listening
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        assert self.socket is not None
        if self._listening is None:
            super().server_activate()
        # Another process may be quicker with a connection that both were woken for.
        self.socket.setblocking(False)

    def server_close(self) -> None:
        """Close our own copy of the socket: others may go on listening on theirs."""
        assert self.socket is not None
        self.socket.close()

    def shutdown(self) -> None:
        """Stop accepting and close the socket; what is associated goes on."""
        self._is_stopping.set()
        # pynetdicom's own also takes the server off a list that only AE.start_server puts it on.
        BaseServer.shutdown(self)
        self.server_close()
        self._threads.dismiss()

    def service_actions(self) -> None:
        """After each connection or short wait. The library collects garbage here."""
        self.last_turn = time.monotonic()

    # --- connections ------------------------------------------------------------------------------

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Small answers do not wait for the peer's delayed acknowledgement."""
        assert self.socket is not None
        try:
            connection, address = self.socket.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                refuse(Bound.DESCRIPTORS, "-")
                self._is_stopping.wait(_PAUSE)
            raise
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            raise
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have a thread serve a connection, when there is a place for it."""
        place = self.gate.enter(client_address)
        if isinstance(place, Bound):
            refuse(place, str(client_address[0]))
            request.close()
            return
        self._places.add(place)
        try:
            self._threads.run(partial(self._serve, request, place))
        except RuntimeError:
            # The system gives no more threads.
            self._places.discard(place)
            place.leave()
            request.close()
            refuse(Bound.CONNECTIONS, place.address)

    def _serve(self, connection: socket.socket, place: Place) -> None:
        """Serve a connection from its handshake to its end, in this thread."""
        try:
            secured = self._secure(connection, place)
            if secured is not None:
                self._associate(secured, place)
        except Exception as error:
            logger.error("connection failed: %s", place_of(error))
            tls.close(connection)
        finally:
            place.leave()
            self._places.discard(place)

    def _secure(self, connection: socket.socket, place: Place) -> socket.socket | None:
        """The connection as it is used, None when nothing came of its handshake.

        A handshake is done here, before there is an association: whoever is slow at it keeps nobody
        from being accepted, and takes no association's place.
        """
        if self._tls is None:
            connection.setblocking(False)
            return connection
        if not self.gate.handshakes.acquire(blocking=False):
            refuse(Bound.HANDSHAKES, place.address)
            connection.close()
            return None
        try:
            secured = tls.accept(
                connection, self._tls.context(), within=self.gate.bounds.handshake_seconds
            )
        except HandshakeError as error:
            self.tell(place.address, error)
            return None
        finally:
            self.gate.handshakes.release()
        secured.setblocking(False)
        return secured

    def _associate(self, connection: socket.socket, place: Place) -> None:
        association = WorklistAssociation(self, connection, place)
        if isinstance(connection, ssl.SSLSocket):
            association.secured = tls.secured(connection)
        else:
            association.at_other_speech = partial(self._hear_other_speech, place.address)
        with self._lock:
            self._associations.add(association)
            is_called_off = self._is_called_off
        try:
            if is_called_off:
                association.call_off()
            evt.trigger(association, evt.EVT_CONN_OPEN, {"address": place.peer})
            association.run_reactor()
        finally:
            with self._lock:
                self._associations.discard(association)

    @property
    def is_serving(self) -> bool:
        """Whether there is a connection, from the moment it was accepted to its end."""
        return bool(self._places)

    def call_off(self) -> None:
        """Have all end that there is, and all that has been accepted and is to come."""
        with self._lock:
            self._is_called_off = True
        for association in self.active_associations:
            cast(WorklistAssociation, association).call_off()

    @property
    def active_associations(self) -> list[Association]:
        """Connections that are served, from their handshake on."""
        with self._lock:
            return list(self._associations)

    def tell(self, address: str, error: HandshakeError) -> None:
        """Say that nothing came of a peer's connection, for a reason of TLS."""
        if self._at_fault is not None:
            self._at_fault(address, error)

    def _hear_other_speech(self, address: str, first: bytes) -> None:
        """A peer that speaks TLS where there is none: a console's usual mistake."""
        if first == tls.HELLO:
            self.tell(address, HandshakeError(Fault.TLS_WHERE_NONE_IS))


def _items(ae: Any) -> list[Any]:
    """Our own user information (PS3.7 D.3.3), the same for all associations."""
    length = MaximumLengthNotification()
    length.maximum_length_received = ae.maximum_pdu_size
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = ae.implementation_class_uid
    items: list[Any] = [length, implementation]
    if ae.implementation_version_name:
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = ae.implementation_version_name
        items.append(version)
    return items


def _bounds_of(ae: Any) -> Bounds:
    """The bounds that an AE has by itself."""
    given = {"request_seconds": ae.acse_timeout, "idle_seconds": ae.network_timeout}
    return Bounds(
        associations=ae.maximum_associations,
        **{name: seconds for name, seconds in given.items() if seconds is not None},
    )
