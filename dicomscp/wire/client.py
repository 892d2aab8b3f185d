"""An association that we ask for: none of its responses is lost to its own second thread.

And a connection without one, to learn what the library keeps to itself.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from functools import partial
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.transport import AssociationSocket

from dicomscp.wire import tls


class Checkpoint:
    """Where the association's thread stops while a request is under way; in place of an Event.

    The library's thread says that it stands still, passes the Event, and only then takes its word
    back. In between, a request that was just made believes it, and what the thread reads next is a
    response of that request, which it drops. Here it passes and takes its word back in one.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self._condition = threading.Condition()
        self._is_open = True

    def set(self) -> None:
        with self._condition:
            self._is_open = True
            self._condition.notify_all()

    def clear(self) -> None:
        with self._condition:
            self._is_open = False

    def is_set(self) -> bool:
        return self._is_open

    def wait(self) -> None:
        with self._condition:
            self._condition.wait_for(self.is_set)
            self._association._is_paused = False


def _hold_back(event: Event) -> None:
    """Before the association's thread starts: the checkpoint is ours."""
    event.assoc._reactor_checkpoint = cast(Any, Checkpoint(event.assoc))


def _close_for_sure(event: Event) -> None:
    """When the peer has hung up first, the library forgets to close the socket."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped._shutdown_socket = partial(tls.close, wrapped.socket)  # type: ignore[method-assign]


class _Connected(AssociationSocket):
    """The socket of a connection that came about, whatever has become of it since.

    The library looks whether there is a connection after it was told so. A peer that has rejected
    and hung up in between would be taken for one that could not be reached.
    """

    @property
    def _is_connected(self) -> bool:
        return True

    @_is_connected.setter
    def _is_connected(self, is_connected: bool) -> None:
        """Once it is, it stays so: closed, there is no socket any more."""


def _stay_connected(event: Event) -> None:
    """Before the association's thread looks."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None:
        wrapped.__class__ = _Connected


def hang_up(association: Association) -> None:
    """Close the connection of an association that is over, where the library has left it open."""
    wrapped = association.dul.socket
    connection = wrapped.socket if wrapped is not None else None
    if connection is not None:
        tls.close(connection)


# To be bound to each association that is asked for.
HANDLERS: list[evt.EventHandlerType] = [
    (evt.EVT_CONN_OPEN, _hold_back),
    (evt.EVT_CONN_OPEN, _close_for_sure),
    (evt.EVT_CONN_OPEN, _stay_connected),
]


def connect(
    host: str, port: int, *, within: float, secure: ssl.SSLContext | None
) -> tuple[socket.socket, str]:
    """A connection to the first of the host's addresses that takes one within so long, and which.

    With `secure` it is done by TLS. Raises OSError, and HandshakeError.
    """
    deadline = time.monotonic() + within
    failed: OSError = TimeoutError()
    for family, address in _addresses(host, port, within):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(left)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = error
            continue
        return (tls.call(connection, secure, host) if secure else connection), str(address[0])
    raise failed


def _addresses(host: str, port: int, within: float) -> list[tuple[int, Any]]:
    """The host's addresses. A name server that hangs cannot be interrupted, so it is left alone."""
    found: queue.SimpleQueue[list[tuple[int, Any]] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([(info[0], info[4]) for info in infos])
        except UnicodeError:
            found.put(socket.gaierror())
        except OSError as error:
            found.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        answer = found.get(timeout=within)
    except queue.Empty:
        raise socket.gaierror from None
    if isinstance(answer, OSError):
        raise answer
    return answer
