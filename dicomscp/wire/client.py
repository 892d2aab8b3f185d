"""An association that we ask for: none of its responses is lost to its own second thread."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from dicomscp.wire.tls import close


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
        wrapped._shutdown_socket = partial(close, wrapped.socket)  # type: ignore[method-assign]


# To be bound to each association that is asked for.
HANDLERS: list[evt.EventHandlerType] = [
    (evt.EVT_CONN_OPEN, _hold_back),
    (evt.EVT_CONN_OPEN, _close_for_sure),
]
