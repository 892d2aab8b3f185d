"""A server of the wire alone, and the count of what it leaves behind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp.wire import bounds
from dicomscp.wire.bounds import Bound, Bounds
from dicomscp.wire.gate import Gate
from dicomscp.wire.server import WorklistServer
from tests.raw import ANYBODY, ECHO, HERE, PENDING, Peer, echo
from tests.waiting import until

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]

Handler = Callable[[Any], Any]


class Scp:
    """A server with a handler of the test's own; it knows no database."""

    def __init__(self, on_find: Handler, *, is_plain: bool = False, **given: Any) -> None:
        self.ae = AE("WORKLIST")
        self.ae.add_supported_context(ModalityWorklistInformationFind, SYNTAXES)
        self.ae.add_supported_context(Verification, SYNTAXES)
        self.events: list[str] = []
        self.gate = Gate(Bounds(**given))
        named = (evt.EVT_ACCEPTED, evt.EVT_REJECTED, evt.EVT_RELEASED, evt.EVT_ABORTED)
        handlers: list[Any] = [(event, self._note, [event.name]) for event in named]
        handlers += [(evt.EVT_C_FIND, on_find), (evt.EVT_C_ECHO, lambda _: 0)]
        server: Any = self.ae.make_server(
            (HERE, 0),
            evt_handlers=handlers,
            server_class=WorklistServer,
            gate=self.gate,
            is_plain=is_plain,
        )
        self.server: WorklistServer = server
        self.port: int = server.socket.getsockname()[1]
        self._refused = Counter(bounds.refused)
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def _note(self, event: Any, name: str) -> None:
        self.events.append(name)

    def refused(self, bound: Bound) -> int:
        """How often a bound was met since this server is there."""
        return bounds.refused[bound] - self._refused[bound]

    def call(self, **more: Any) -> Peer:
        return Peer(self.port, **more)

    def is_well(self) -> bool:
        """Whether another peer is served."""
        with self.call() as peer:
            peer.associate()
            peer.send(echo())
            is_answered = peer.receive()[11:12] == b"\3"
            peer.release()
            return is_answered

    def is_empty(self) -> bool:
        """Whether nothing is left of any connection."""
        return not (
            self.server.is_serving
            or self.server.active_associations
            or self.gate.connections
            or self.gate.admitted
            or self.gate.by_address
        )

    def stop(self) -> None:
        self.server.shutdown()
        self.server.call_off()


Serve = Callable[..., Scp]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers; afterwards nothing of them may be left."""
    threads, files = threading.active_count(), descriptors()
    started: list[Scp] = []

    def start(on_find: Handler | None = None, **more: Any) -> Scp:
        started.append(Scp(on_find or answers(3), **more))
        return started[-1]

    yield start
    for scp in started:
        until(scp.is_empty, "an association is left behind")
        scp.stop()
    until(lambda: threading.active_count() <= threads, "a thread is left behind")
    until(lambda: descriptors() <= files, "a descriptor is left behind")


def answers(number: int, identifier: bytes = ANYBODY) -> Handler:
    """A handler that answers so often, and looks whether it is to stop."""

    def on_find(event: Any) -> Iterator[tuple[int, bytes | None]]:
        for _ in range(number):
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield PENDING, identifier

    return on_find


__all__ = ["ECHO", "Scp", "Serve", "answers", "descriptors"]
