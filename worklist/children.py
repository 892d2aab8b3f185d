"""Child processes that end with the process that started them. Standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a server out of reach of the terminal's Ctrl-C: its parent stops it, in order.

    It inherits these file descriptors, by the same numbers.
    """
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        start_new_session=True,
        preexec_fn=die_with_parent,
        pass_fds=descriptors,
    )


def wait_for_first_end() -> tuple[int, int]:
    """Wait until any child ends; return its process id and its exit status."""
    pid, status = os.wait()
    return pid, os.waitstatus_to_exitcode(status)


def stop(processes: Iterable[subprocess.Popen[bytes]], *, within: float) -> None:
    """Ask all to end, wait this many seconds for each, and end what is left by force."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel, from within a fresh child, for this signal when the parent ends.

    For `preexec_fn`: even a parent killed with SIGKILL then leaves no server behind that holds its
    port. Linux only; elsewhere the children of a parent that was killed stay.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
