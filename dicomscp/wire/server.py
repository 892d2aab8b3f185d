"""The listening socket: a backlog that takes a crowd, and packets that leave at once."""

from __future__ import annotations

import socket
from socketserver import BaseServer
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

# Consoles come in crowds when a network segment is back; the library's 5 sends some away.
BACKLOG = 512


class WorklistServer(ThreadedAssociationServer):
    """An association server for many consoles."""

    request_queue_size = BACKLOG
    daemon_threads = True
    block_on_close = False

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
