"""The listening socket: a backlog that takes a crowd, packets that leave at once, and TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from socketserver import BaseServer
from typing import Any

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from dicomscp.wire import tls
from dicomscp.wire.association import WorklistAssociation
from dicomscp.wire.tls import Fault, HandshakeError, Tls

# Consoles come in crowds when a network segment is back; the library's 5 sends some away.
BACKLOG = 512


class _Socket(AssociationSocket):
    """A socket that tells when a peer speaks TLS where there is none: a console's usual mistake."""

    at_fault: Callable[[HandshakeError], None] | None = None

    def _shutdown_socket(self) -> None:
        # The library's own leaves it open when the peer has hung up first.
        if self.socket is not None:
            tls.close(self.socket)

    def recv(self, nr_bytes: int) -> bytearray:
        received = super().recv(nr_bytes)
        tell, self.at_fault = self.at_fault, None
        if tell is not None and received[:1] == tls.HELLO:
            tell(HandshakeError(Fault.TLS_WHERE_NONE_IS))
        return received


class _Handler(RequestHandler):
    """Makes our association of a connection; the library's names no class to take."""

    def _create_association(self) -> Association:
        assoc = WorklistAssociation(self.ae, MODE_ACCEPTOR)
        assoc._server = self.server
        # The server finds its associations by this name.
        assoc.name = f"AcceptorThread@{id(assoc)}"
        connection = _Socket(assoc, client_socket=self.request)
        assoc.set_socket(connection)
        if isinstance(self.request, ssl.SSLSocket):
            assoc.secured = tls.secured(self.request)
        elif isinstance(self.server, WorklistServer):
            connection.at_fault = partial(self.server.tell, str(self.client_address[0]))
        acceptor = assoc.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = self.server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        acceptor.supported_contexts = deepcopy(self.server.contexts)
        assoc.requestor.address_info = self.remote
        for event, bound in self.server._handlers.items():
            handlers: Any = bound if isinstance(event, evt.NotificationEvent) else [bound]
            for handler, *arguments in handlers:
                assoc.bind(event, handler, *arguments)
        return assoc


class WorklistServer(ThreadedAssociationServer):
    """An association server for many consoles.

    With `tls`, each connection begins with a handshake. `at_fault` hears of what comes to nothing
    for a reason of TLS, with the peer's address.
    """

    request_queue_size = BACKLOG
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        *args: Any,
        tls: Tls | None = None,
        at_fault: Callable[[str, HandshakeError], None] | None = None,
        **options: Any,
    ) -> None:
        self._tls, self._at_fault = tls, at_fault
        options["request_handler"] = _Handler
        super().__init__(*args, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Small answers do not wait for the peer's delayed acknowledgement."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make an association of a connection, in the connection's own thread.

        A handshake is done here, before there is an association: whoever is slow at it keeps nobody
        from being accepted, and takes no association's place.
        """
        if self._tls is not None:
            try:
                request = tls.accept(request, self._tls.context())
            except HandshakeError as error:
                self.tell(str(client_address[0]), error)
                return
        super().finish_request(request, client_address)

    def tell(self, address: str, error: HandshakeError) -> None:
        """Say that nothing came of a peer's connection, for a reason of TLS."""
        if self._at_fault is not None:
            self._at_fault(address, error)

    def shutdown(self) -> None:
        """Stop accepting and close the socket; what is associated goes on."""
        # pynetdicom's own also takes the server off a list that only AE.start_server puts it on.
        BaseServer.shutdown(self)
        self.server_close()
