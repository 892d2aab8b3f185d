"""Trials of many peers at once: so many in parallel, and not longer than a page may take."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from dicomscp import trial
from dicomscp.trial import Trial

# In this process, whoever asks for them. Its threads are started when they are needed first.
_POOL = ThreadPoolExecutor(max_workers=16, thread_name_prefix="trial")
WITHIN = 20.0  # seconds, for all of them


@dataclass(frozen=True)
class Peer:
    """Where to call, and by which AE title."""

    host: str
    port: int
    called: str


@dataclass(frozen=True)
class Tried:
    """A peer that was called, or not even that; without a trial when it took too long."""

    was_called: bool
    trial: Trial | None = None


def attempt(
    peers: Sequence[Peer], *, calling: str, within: float = WITHIN, step: float = trial.WITHIN
) -> list[Tried]:
    """Try each peer, in their order; each step of each within `step` seconds.

    What is not done within so many seconds is not waited for, and what has not begun is left.
    """
    futures = [
        _POOL.submit(
            trial.attempt, peer.host, peer.port, calling=calling, called=peer.called, within=step
        )
        for peer in peers
    ]
    wait(futures, timeout=within)
    return [_told(future) for future in futures]


def _told(future: Future[Trial]) -> Tried:
    if future.cancel():
        return Tried(was_called=False)
    return Tried(was_called=True, trial=future.result() if future.done() else None)
