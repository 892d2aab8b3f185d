"""What is measured, and the figures that came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from benchmarks.figures import middle, percentile
from benchmarks.load import Measured


@dataclass(frozen=True)
class Cell:
    """One kind of load: a query, on new or kept associations, by so many clients at once."""

    query: str
    is_kept: bool = False
    clients: int = 1

    @property
    def label(self) -> str:
        return f"{self.query} {'kept' if self.is_kept else 'new'} ×{self.clients}"


@dataclass(frozen=True)
class Run:
    """One server under one load, once. Processor times in seconds, memory in megabytes."""

    measured: Measured
    server_cpu: float
    database_cpu: float
    memory: float


@dataclass
class Figures:
    """All runs of one server under one kind of load, or why there are none."""

    matches: int
    runs: list[Run] = field(default_factory=list)
    error: str = ""

    @property
    def per_second(self) -> float:
        return middle([run.measured.per_second for run in self.runs])

    @property
    def times(self) -> Sequence[float]:
        return list(chain.from_iterable(run.measured.times for run in self.runs))

    @property
    def median(self) -> float:
        return middle(self.times)

    @property
    def p99(self) -> float:
        return percentile(self.times, 99)

    @property
    def server_cpu(self) -> float:
        """Milliseconds a query."""
        return self._a_query(run.server_cpu for run in self.runs)

    @property
    def database_cpu(self) -> float:
        return self._a_query(run.database_cpu for run in self.runs)

    @property
    def cpu(self) -> float:
        """Of the server with its database."""
        return self.server_cpu + self.database_cpu

    @property
    def client_cpu(self) -> float:
        return self._a_query(run.measured.cpu for run in self.runs)

    @property
    def client_share(self) -> float:
        """What the load client takes of the processors, as a share of what it measures."""
        return self.client_cpu / max(self.cpu, 1e-9)

    @property
    def memory(self) -> float:
        return max(run.memory for run in self.runs)

    def _a_query(self, seconds: Iterable[float]) -> float:
        each = zip(seconds, self.runs, strict=True)
        return middle([1000 * cost / len(run.measured.times) for cost, run in each])

    def told(self) -> dict[str, Any]:
        """As one object of JSON."""
        if self.error:
            return {"error": self.error}
        numbers = {
            "per_second": self.per_second,
            "median_ms": self.median,
            "p99_ms": self.p99,
            "server_cpu_ms": self.server_cpu,
            "database_cpu_ms": self.database_cpu,
            "client_cpu_ms": self.client_cpu,
            "memory_mb": self.memory,
        }
        rounded = {name: round(number, 3) for name, number in numbers.items()}
        return {"matches": self.matches, "queries": len(self.times), **rounded}


# Of a size, a server and a kind of load.
Key = tuple[int, str, Cell]
Results = dict[Key, Figures]
