"""Waiting for what another thread or process is about to bring about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Held = TypeVar("Held")


def until(holds: Callable[[], Held | None], what: str = "", *, within: float = 30.0) -> Held:
    """Ask again until it holds, and answer with what it holds; fail when that takes too long."""
    deadline = time.monotonic() + within
    found = holds()
    while not found:
        assert time.monotonic() < deadline, what or "it does not come about"
        threading.Event().wait(0.01)
        found = holds()
    return found
