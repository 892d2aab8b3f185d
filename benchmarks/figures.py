"""What processes cost, as Linux counts it, and numbers that stand for many."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted after the name in brackets: parent, own time, that of ended children.
_PARENT, _TIMES = 1, slice(11, 15)


def family(pid: int) -> list[int]:
    """The process and all that it started, and they."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children[int(_stat(int(entry.name))[_PARENT])].append(int(entry.name))
    found = [pid]
    for each in found:  # grows while it is walked
        found += children[each]
    return found


def cpu(pid: int) -> float:
    """Processor time in seconds of the process with its children, those that have ended too."""
    total = 0
    for each in family(pid):
        with suppress(OSError):  # it has ended meanwhile
            total += sum(map(int, _stat(each)[_TIMES]))
    return total / _TICKS


def memory(pid: int) -> float:
    """Megabytes that the process and its children hold, what they share counted once."""
    kilobytes = 0
    for each in family(pid):
        with suppress(OSError):
            for line in (_PROC / str(each) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes / 1024


def threads(pid: int) -> int:
    """How many threads the process and its children have."""
    return sum(len(list((_PROC / str(each) / "task").glob("*"))) for each in family(pid))


def files(pid: int) -> list[str]:
    """What the process and its children have open: a path each, or a kind and a number."""
    found = []
    for each in family(pid):
        with suppress(OSError):
            for descriptor in (_PROC / str(each) / "fd").iterdir():
                with suppress(OSError):  # it is closed meanwhile
                    found.append(str(descriptor.readlink()))
    return found


def _stat(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()


def percentile(numbers: Iterable[float], percent: float) -> float:
    """The least of the numbers that so many percent do not exceed (nearest rank)."""
    ordered = sorted(numbers)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def middle(numbers: Sequence[float]) -> float:
    return float(median(numbers)) if numbers else 0.0
