"""Threads that serve one connection after the other.

A thread of its own for each costs more than the association, and loses what a thread keeps.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

# Threads that wait for the next connection, and for how many seconds.
_IDLE = 16
_PATIENCE = 30.0

Job = Callable[[], None]


class Threads:
    """As many threads as there are jobs at the same time; the last one free is the next one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Job]] = []

    def run(self, job: Job) -> None:
        """Have a job done. It must not raise."""
        with self._lock:
            jobs = self._idle.pop() if self._idle else None
        if jobs is not None:
            jobs.put(job)
            return
        jobs = queue.SimpleQueue()
        jobs.put(job)
        threading.Thread(target=self._work, args=(jobs,), name=self._name, daemon=True).start()

    def dismiss(self) -> None:
        """Let the threads go that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for jobs in idle:
            jobs.put(_go)

    def _work(self, jobs: queue.SimpleQueue[Job]) -> None:
        job = jobs.get()
        while job is not _go:
            job()
            del job
            with self._lock:
                if len(self._idle) >= _IDLE:
                    return
                self._idle.append(jobs)
            try:
                job = jobs.get(timeout=_PATIENCE)
            except queue.Empty:
                with self._lock:
                    if jobs in self._idle:
                        self._idle.remove(jobs)
                        return
                # It was taken off the list just now: there is a job to come.
                job = jobs.get()


def _go() -> None:
    """The job of a thread that is to end."""
