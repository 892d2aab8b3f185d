"""A table for people, a line of JSON for what compares runs, and whether all is well."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import figures
from benchmarks.soak.ledger import Excuses
from benchmarks.soak.people import Met
from benchmarks.soak.site import Held

# What more at the end is no leak: threads and descriptors of what is under way just then.
_SPARE = 24
# Megabytes, and their part, by which a program may have grown: caches fill.
_GROWN, _GROWN_PART = 30.0, 1.25


@dataclass(frozen=True)
class Soak:
    """What came of a run."""

    minutes: float
    scanners: int
    clerks: int
    asked: Met
    booked: Met
    excuses: Excuses
    harms: Counter[str]
    held: Sequence[Held]
    said: int

    def unexcused(self) -> list[str]:
        """What failed and nobody had a hand in it."""
        queries = [each.how for each in self.asked.failures if not self.excuses.of(each)]
        saves = [
            each.how for each in self.booked.failures if not self.excuses.of(each, is_save=True)
        ]
        return [*(f"query: {how}" for how in queries), *(f"save: {how}" for how in saves)]

    def leaks(self) -> list[str]:
        """What is held more at the end than at the beginning, and is not a little."""
        first, last = asdict(self.held[0]), asdict(self.held[-1])
        found = []
        for name in first:
            allowed = first[name] + _SPARE
            if name.endswith("memory"):
                allowed = max(first[name] + _GROWN, first[name] * _GROWN_PART)
            if name != "at" and last[name] > allowed:
                found.append(f"{name} {first[name]:.0f} to {last[name]:.0f}")
        return found

    def is_well(self) -> bool:
        return not (self.asked.wrong or self.unexcused() or self.leaks() or self.said)

    def told(self) -> dict[str, object]:
        """The run as one object of JSON."""
        return {
            "benchmark": "soak",
            "minutes": round(self.minutes, 2),
            "scanners": self.scanners,
            "clerks": self.clerks,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "queries": {**_times(self.asked), **_failed(self.asked, self.excuses)},
            "saves": {**_times(self.booked), **_failed(self.booked, self.excuses, is_save=True)},
            "wrong": len(self.asked.wrong),
            "unexcused": dict(Counter(self.unexcused())),
            "injected": {**self.harms, **Counter(each.kind for each in self.excuses.given)},
            "said": self.said,
            "leaks": self.leaks(),
            "start": _rounded(self.held[0]),
            "end": _rounded(self.held[-1]),
            "is_well": self.is_well(),
        }

    def table(self) -> str:
        lines = [
            f"{self.minutes:.1f} minutes, {self.scanners} scanners, {self.clerks} clerks",
            "",
            f"{'':22} {'done':>8} {'median ms':>10} {'p99 ms':>8} {'most ms':>8} "
            f"{'failed by faults':>17} {'else':>5} {'wrong':>6}",
        ]
        for name, met, is_save in (("queries", self.asked, False), ("saves", self.booked, True)):
            told, failed = (
                _times(met),
                sum(_failed(met, self.excuses, is_save=is_save)["excused"].values()),
            )
            lines.append(
                f"{name:22} {len(met.times):8} {told['median']:10.1f} {told['p99']:8.1f} "
                f"{told['most']:8.1f} {failed:17} {len(met.failures) - failed:5} {len(met.wrong):6}"
            )
        lines += [
            "",
            f"{'':22} {'start':>8} " + " ".join(f"{each.at / 60:7.1f}m" for each in self.held[1:]),
        ]
        for name in list(asdict(self.held[0]))[1:]:
            values = [getattr(each, name) for each in self.held]
            lines.append(
                f"{name.replace('_', ', '):22} " + " ".join(f"{value:8.0f}" for value in values)
            )
        lines += [
            "",
            "Injected: " + ", ".join(f"{name} {number}" for name, number in self._injected()),
        ]
        lines += [f"WRONG: {each}" for each in self.asked.wrong[:20]]
        lines += [f"FAILED: {how} ({number})" for how, number in Counter(self.unexcused()).items()]
        lines += [f"MORE HELD: {each}" for each in self.leaks()]
        if self.said:
            lines.append(f"SAID: {self.said} errors in the log of the SCP")
        lines.append("All is well." if self.is_well() else "Not all is well.")
        return "\n".join(lines)

    def _injected(self) -> list[tuple[str, int]]:
        return [
            *sorted(self.harms.items()),
            *Counter(each.kind for each in self.excuses.given).items(),
        ]


def report(soak: Soak) -> None:
    print(f"\n{soak.table()}")
    print(json.dumps(soak.told()))


def _times(met: Met) -> dict[str, float]:
    times = met.times or [0.0]
    return {
        "count": len(met.times),
        "median": round(figures.percentile(times, 50), 1),
        "p99": round(figures.percentile(times, 99), 1),
        "most": round(max(times), 1),
    }


def _failed(met: Met, excuses: Excuses, *, is_save: bool = False) -> dict[str, Counter[str]]:
    kinds = (excuses.of(each, is_save=is_save) for each in met.failures)
    return {"excused": Counter(kind for kind in kinds if kind)}


def _rounded(held: Held) -> dict[str, float]:
    return {name: round(value, 1) for name, value in asdict(held).items()}
