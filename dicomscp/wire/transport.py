"""A connection that waits in poll(2): read in large pieces, sent against a deadline.

poll, since select fails from the 1,024th descriptor on.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pynetdicom import evt
from pynetdicom.transport import AssociationSocket

from dicomscp.wire import tls
from dicomscp.wire.bounds import Bound, Bounds, refuse

if TYPE_CHECKING:
    from dicomscp.wire.association import WorklistAssociation

_PIECE = 32 * 1024
_WANTS_READ = (BlockingIOError, ssl.SSLWantReadError)
# Closes with a reset: what the peer has not taken is thrown away.
_AT_ONCE = struct.pack("ii", 1, 0)
_ALWAYS = threading.Event()
_ALWAYS.set()


class Connection(AssociationSocket):
    """The transport connection of an association (PS3.8 9.1.2), of its own thread alone.

    Other threads may `wake` it: whoever reads then finds the end of what there is to read. What
    they want must be said before, and is looked at after each wait.
    """

    def __init__(
        self, association: WorklistAssociation, connection: socket.socket, bounds: Bounds
    ) -> None:
        # The library's own has an Event for those who connect.
        self._assoc = association
        self._ready = _ALWAYS
        self.socket: Any = connection
        self._is_connected = True
        self._tls_args = None
        self.select_timeout = 0.0
        self._bounds = bounds
        self._is_tls = isinstance(connection, ssl.SSLSocket)
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        # Evt5: transport connection indication.
        self.event_queue.put("Evt5")

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read within so long, be it the end."""
        if self._is_tls and self.socket.pending():
            return True
        return bool(self._poll.poll(max(0.0, seconds) * 1000))

    def take(self) -> bytes | None:
        """What has come, b"" at the end, None when nothing has."""
        if self.socket is None:
            return b""
        try:
            return bytes(self.socket.recv(_PIECE))
        except _WANTS_READ:
            return None
        except OSError:
            return b""

    def send(self, bytestream: bytes) -> None:
        """Send all of it, as fast as the peer takes it; Evt17 when it does not."""
        if self.socket is None:
            self.event_queue.put("Evt17")
            return
        deadline = 0.0
        unsent = memoryview(bytestream)
        while unsent:
            try:
                unsent = unsent[self.socket.send(unsent) :]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                wanted = select.POLLOUT
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except OSError:
                self.event_queue.put("Evt17")
                return
            now = time.monotonic()
            deadline = deadline or now + self._bounds.send_seconds
            if not self._may_go_on(wanted, deadline - now):
                self.event_queue.put("Evt17")
                return
        evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})

    def _may_go_on(self, wanted: int, seconds: float) -> bool:
        """Wait for a peer that has enough to read as it is; whether it goes on reading."""
        poll = select.poll()
        poll.register(self.socket, wanted | select.POLLRDHUP)
        found = poll.poll(max(0.0, seconds) * 1000)
        if not found:
            refuse(Bound.SEND_SECONDS, self.peer)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        # It has gone, or we were woken.
        return bool(found) and not found[0][1] & (select.POLLRDHUP | select.POLLERR)

    @property
    def peer(self) -> str:
        """The peer's address."""
        return self._assoc.requestor.address

    def finish(self) -> None:
        """Send no more; what the peer still sends can be read."""
        with self._lock:
            if self.socket is not None:
                _shut(self.socket, socket.SHUT_WR)

    def wake(self) -> None:
        """End what the association's thread waits for; from any thread."""
        with self._lock:
            if self.socket is not None:
                _shut(self.socket, socket.SHUT_RD)

    def _shutdown_socket(self) -> None:
        # The library's own leaves it open when the peer has hung up first.
        with self._lock:
            if self.socket is not None:
                tls.close(self.socket)
                self.socket = None


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):
        # That of TLS forgets what it has read.
        socket.socket.shutdown(connection, how)
