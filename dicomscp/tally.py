"""What a process has done since it started, counted: the counts only ever grow.

A heartbeat carries them to where they are shown. Pure: no database, no network.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import Any

# Seconds up to which queries are counted, as a histogram of Prometheus has it; the last is endless.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A peer calls itself what it likes: of so many each is counted, those after them together.
_MOST_TITLES = 200
OTHERS = ""

Counts = dict[str, Any]


class Tally:
    """Counts of associations and queries, taken by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._associations: dict[str, int] = {}
        # By calling AE title, and by status within it.
        self._queries: dict[str, dict[str, int]] = {}
        self._matches: dict[str, int] = {}
        self._within = [0] * (len(BOUNDS) + 1)
        self._milliseconds = 0

    def association(self, reason: str) -> None:
        """Count a request for an association by why it was accepted, or was not."""
        with self._lock:
            self._associations[reason] = self._associations.get(reason, 0) + 1

    def query(
        self, calling: str, *, status: int | None, matches: int | None, milliseconds: int
    ) -> None:
        """Count a query by who asked and how it was answered; without a status, "none"."""
        name = "none" if status is None else f"{status:04X}"
        with self._lock:
            is_counted = calling in self._queries or len(self._queries) < _MOST_TITLES
            title = calling if is_counted else OTHERS
            by_status = self._queries.setdefault(title, {})
            by_status[name] = by_status.get(name, 0) + 1
            self._matches[title] = self._matches.get(title, 0) + (matches or 0)
            self._within[bisect_left(BOUNDS, milliseconds / 1000)] += 1
            self._milliseconds += milliseconds

    def counts(self) -> Counts:
        """All of it as it is now, fit for JSON."""
        with self._lock:
            return {
                "associations": dict(self._associations),
                "queries": {title: dict(each) for title, each in self._queries.items()},
                "matches": dict(self._matches),
                "within": list(self._within),
                "milliseconds": self._milliseconds,
            }
