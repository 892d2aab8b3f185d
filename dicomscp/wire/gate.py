"""Who is let in: connections in all and by address, and associations, counted exactly."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dicomscp.wire.bounds import Bound, Bounds


class Place:
    """What one connection takes up. It is given back once, however often."""

    def __init__(self, gate: Gate, peer: Sequence[Any]) -> None:
        self._gate = gate
        # Address and port of the peer, as the system has them.
        self.peer, self.address = peer, str(peer[0])
        self._is_taken, self._is_admitted = True, False

    def admit(self) -> bool:
        """Take an association's place as well; whether there was one."""
        gate = self._gate
        with gate.lock:
            if gate.admitted >= gate.bounds.associations:
                return False
            gate.admitted += 1
            self._is_admitted = True
            return True

    def end(self) -> None:
        """Give the association's place back; the connection is still there for a while."""
        with self._gate.lock:
            self._end()

    def _end(self) -> None:
        if self._is_admitted:
            self._is_admitted = False
            self._gate.admitted -= 1

    def leave(self) -> None:
        """Give all of it back."""
        gate = self._gate
        with gate.lock:
            self._end()
            if self._is_taken:
                self._is_taken = False
                gate.connections -= 1
                gate.by_address[self.address] -= 1
                if not gate.by_address[self.address]:
                    del gate.by_address[self.address]


class Gate:
    """The counts, of all of a process's ports."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.lock = threading.Lock()
        self.admitted = self.connections = 0
        self.by_address: Counter[str] = Counter()
        # Handshakes at the same time.
        self.handshakes = threading.BoundedSemaphore(bounds.handshakes)

    def enter(self, peer: Sequence[Any]) -> Place | Bound:
        """A place for a connection, or what keeps it out."""
        address = str(peer[0])
        with self.lock:
            if self.connections >= self.bounds.connections:
                return Bound.CONNECTIONS
            if self.by_address[address] >= self.bounds.connections_per_address:
                return Bound.PER_ADDRESS
            self.connections += 1
            self.by_address[address] += 1
        return Place(self, peer)
