"""The listening socket: a backlog that takes a crowd, and packets that leave at once."""

from __future__ import annotations

import socket
from copy import deepcopy
from socketserver import BaseServer
from typing import Any

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from dicomscp.wire.association import WorklistAssociation

# Consoles come in crowds when a network segment is back; the library's 5 sends some away.
BACKLOG = 512


class _Handler(RequestHandler):
    """Makes our association of a connection; the library's names no class to take."""

    def _create_association(self) -> Association:
        assoc = WorklistAssociation(self.ae, MODE_ACCEPTOR)
        assoc._server = self.server
        # The server finds its associations by this name.
        assoc.name = f"AcceptorThread@{id(assoc)}"
        assoc.set_socket(AssociationSocket(assoc, client_socket=self.request))
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
    """An association server for many consoles."""

    request_queue_size = BACKLOG
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any, **options: Any) -> None:
        options["request_handler"] = _Handler
        super().__init__(*args, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Small answers do not wait for the peer's delayed acknowledgement."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def shutdown(self) -> None:
        """Stop accepting and close the socket; what is associated goes on."""
        # pynetdicom's own also takes the server off a list that only AE.start_server puts it on.
        BaseServer.shutdown(self)
        self.server_close()
