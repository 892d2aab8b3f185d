"""Peers that nobody wishes for: one after the other, for as long as it lasts."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from benchmarks import packets
from benchmarks.load import received
from benchmarks.packets import WrongAnswerError

_ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0))
# Seconds for which one holds its connection that says, or reads, nothing.
_HELD = 20.0
_EVERYTHING = bytes.fromhex("10001000000000001000200000000000")
_SCANNED = 30


class Hostile(threading.Thread):
    """Does one harm after the other, and counts them."""

    def __init__(self, port: int, title: str, over: threading.Event, *, every: float) -> None:
        super().__init__(daemon=True, name="hostile")
        self._port, self._title, self._over, self._every = port, title, over, every
        self._chance = random.Random(1)
        self._held: deque[tuple[float, socket.socket]] = deque()
        self.done: Counter[str] = Counter()
        self._harms: tuple[Callable[[], None], ...] = (
            self.aborts,
            self.resets,
            self.half_a_pdu,
            self.scans_ports,
            self.reads_nothing,
            self.says_nothing,
            self.garbage,
            self.claims_too_much,
        )

    def run(self) -> None:
        turn = 0
        while not self._over.wait(self._every):
            harm = self._harms[turn % len(self._harms)]
            turn += 1
            with suppress(OSError, WrongAnswerError):
                harm()
            self.done[harm.__name__.replace("_", " ")] += 1
            while self._held and self._held[0][0] < time.monotonic() - _HELD:
                self._held.popleft()[1].close()
        for _, line in self._held:
            line.close()

    def _call(self, *, reads: int = 0) -> socket.socket:
        line = socket.socket()
        if reads:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, reads)
        line.settimeout(5)
        line.bind((f"127.0.2.{self._chance.randint(1, 250)}", 0))
        line.connect(("127.0.0.1", self._port))
        return line

    def _associated(self, *, reads: int = 0) -> socket.socket:
        line = self._call(reads=reads)
        line.sendall(packets.associate_rq(calling=self._title, called="WORKLIST"))
        received(line, packets.acceptance())
        return line

    def aborts(self) -> None:
        """In the middle of an answer."""
        with self._associated() as line:
            line.sendall(packets.find_rq(_EVERYTHING) + _ABORT)

    def resets(self) -> None:
        with self._associated() as line:
            line.sendall(packets.find_rq(_EVERYTHING))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def half_a_pdu(self) -> None:
        line = self._associated()
        line.sendall(packets.find_rq(_EVERYTHING)[:40])
        self._hold(line)

    def scans_ports(self) -> None:
        for _ in range(_SCANNED):
            self._call().close()

    def reads_nothing(self) -> None:
        line = self._associated(reads=2048)
        line.sendall(packets.find_rq(_EVERYTHING) * 3)
        self._hold(line)

    def says_nothing(self) -> None:
        line = self._call()
        line.sendall(b"\1")
        self._hold(line)

    def garbage(self) -> None:
        with self._associated() as line:
            line.sendall(self._chance.randbytes(500))

    def claims_too_much(self) -> None:
        with self._call() as line:
            line.sendall(struct.pack(">BxL", 1, 0xFFFFFFF0) + bytes(1000))

    def _hold(self, line: socket.socket) -> None:
        self._held.append((time.monotonic(), line))
