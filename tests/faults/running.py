"""A `runscp` that runs: what it holds, and how soon it answers."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import monotonic

from tests.raw import SUCCESS, Peer, find

# Threads that wait for the next connection stay for a while.
SPARE_THREADS = 16
# Connections to the database are kept for the next query: files of two, and of the journal's.
SPARE_FILES = 3 * 3
# Megabytes that an allocator keeps at hand after a thousand threads, however much went through it.
SPARE_MEMORY = 64
# The machine does other things at the same time, and a test must not fail of them.
USUAL = 8.0


class Running:
    """The process and its port. What it holds is what it holds now."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port
        self.proc = Path(f"/proc/{pid}")
        self.usual = self.answered_in()
        self.files, self.threads = self.held()
        self.megabytes = self.memory() / 1024

    def held(self) -> tuple[int, int]:
        return (
            len(list((self.proc / "fd").iterdir())),
            len(list((self.proc / "task").iterdir())),
        )

    def memory(self) -> int:
        """Resident kB."""
        return int((self.proc / "statm").read_text().split()[1]) * 4

    def call(self, *, receives: int | None = None) -> Peer:
        return Peer(self.port, receives=receives)

    def answered_in(self) -> float:
        """Seconds for an association with a query: the median of some."""
        took = []
        for _ in range(9):
            started = monotonic()
            with self.call() as peer:
                peer.associate()
                peer.send(find())
                assert peer.statuses()[-1] == SUCCESS
                peer.release()
            took.append(monotonic() - started)
        return median(took)

    def serves_as_usual(self) -> None:
        assert self.answered_in() < max(self.usual * USUAL, 0.1)

    def is_as_before(self) -> bool:
        files, threads = self.held()
        return files <= self.files + SPARE_FILES and threads <= self.threads + SPARE_THREADS

    def is_no_larger(self) -> bool:
        return self.memory() / 1024 <= self.megabytes + SPARE_MEMORY
