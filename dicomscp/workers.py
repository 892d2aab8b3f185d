"""Several processes on one listening socket: started, watched, replaced, renewed, drained.

The socket is bound once and inherited, never bound anew (SO_REUSEPORT): a connection that waits in
the system's queue belongs to no worker, and outlives each of them. Workers are fresh interpreters,
not forks: no thread, connection or lock is copied, and a renewed one runs the code of the day.

No Django, no DICOM: what a worker does is its command's business. It writes a byte into its pipe as
soon as it serves, and on and on (`Pulse`).
"""

from __future__ import annotations

import enum
import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from dicomscp import notify
from dicomscp.notify import Notifier
from worklist import children

logger = logging.getLogger(__name__)

# Seconds between two bytes of a worker, and without one until it counts as frozen.
PULSE = 0.5
_FROZEN_AFTER = 6.0
_READY_WITHIN = 60.0
# Who is told to end drains within 9.
_ENDS_WITHIN = 9.5
# Who served for so long may be replaced at once when it dies; else it waits, longer each time.
_STEADY_AFTER = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_TURN = 0.5

# The command of a worker: of its number and the descriptor of its pipe.
Command = Callable[[int, int], Sequence[str]]


class Pulse:
    """A worker's side of its pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def beat(self) -> bool:
        """Say that this worker serves; answers whether anybody is there to hear it."""
        try:
            os.write(self._descriptor, b".")
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


class _State(enum.Enum):
    STARTING = enum.auto()
    SERVING = enum.auto()
    LEAVING = enum.auto()


@dataclass
class _Worker:
    seat: int
    process: subprocess.Popen[bytes]
    pulse: int
    # When it came into this state, and when it was last heard of (time.monotonic).
    since: float
    heard: float
    state: _State = _State.STARTING

    def enter(self, state: _State, now: float) -> None:
        self.state, self.since = state, now

    @property
    def words(self) -> str:
        return f"worker {self.seat} (process {self.process.pid})"


@dataclass
class _Seat:
    """A place for one worker, and for a moment for its successor as well."""

    number: int
    current: _Worker | None = None
    successor: _Worker | None = None
    # How often in a row its worker died young, and until when none is started.
    failures: int = 0
    pause_until: float = 0.0


@dataclass
class _Wishes:
    """What signals asked for."""

    is_to_stop: bool = False
    is_to_renew: bool = False


@dataclass
class Supervisor:
    """The parent of the workers. `run` returns its exit status when all have ended."""

    count: int
    command: Command
    sockets: Sequence[socket.socket]
    cwd: Path
    environment: Mapping[str, str]
    # Called once, when all workers serve for the first time.
    at_ready: Callable[[], None]
    notifier: Notifier = field(default_factory=Notifier)

    def __post_init__(self) -> None:
        self._seats = [_Seat(number) for number in range(1, self.count + 1)]
        self._leaving: list[_Worker] = []
        self._wishes = _Wishes()
        # Seats whose workers are to be renewed; None: nobody asked.
        self._to_renew: list[_Seat] | None = None
        self._is_ready = self._is_stopping = self._has_failed = False
        self._selector = selectors.DefaultSelector()
        self._last_turn = time.monotonic()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; SIGHUP renews the workers one by one."""
        with self._woken_by_signals():
            while not (self._is_stopping and not any(self._all())):
                self._turn()
        return 1 if self._has_failed else 0

    def _woken_by_signals(self) -> _Signals:
        return _Signals(self._selector, self._wishes)

    def _turn(self) -> None:
        """Hear the workers, then do what is due."""
        for key, _ in self._selector.select(_TURN):
            if isinstance(key.data, _Worker):
                self._hear(key.data)
            else:
                os.read(key.fd, 4096)
        now = time.monotonic()
        # Had the system no time for us, workers that we did not hear are none the worse for it.
        lost = max(0.0, now - self._last_turn - 2 * _TURN)
        self._last_turn = now
        for worker in list(self._all()):
            worker.heard += lost
            if worker.process.poll() is not None:
                self._bury(worker, now)
            else:
                self._watch(worker, now)
        if self._wishes.is_to_stop:
            self._stop(now)
        else:
            self._fill(now)
            self._renew(now)
        if any(worker.state is _State.SERVING for worker in self._all()):
            self.notifier.live()

    def _all(self) -> Iterator[_Worker]:
        for seat in self._seats:
            yield from filter(None, (seat.current, seat.successor))
        yield from self._leaving

    # --- one worker -------------------------------------------------------------------------------

    def _start(self, seat: _Seat, now: float) -> _Worker:
        heard_at, spoken_at = os.pipe()
        descriptors = (spoken_at, *(each.fileno() for each in self.sockets))
        try:
            process = children.start(
                self.command(seat.number, spoken_at),
                cwd=self.cwd,
                environment=self.environment,
                descriptors=descriptors,
            )
        finally:
            os.close(spoken_at)
        worker = _Worker(seat.number, process, heard_at, since=now, heard=now)
        self._selector.register(heard_at, selectors.EVENT_READ, worker)
        return worker

    def _hear(self, worker: _Worker) -> None:
        if not os.read(worker.pulse, 4096):
            # It has ended, or is about to.
            self._close(worker)
            return
        worker.heard = time.monotonic()
        if worker.state is _State.STARTING:
            worker.enter(_State.SERVING, worker.heard)
            seat = self._seats[worker.seat - 1]
            if seat.successor is worker:
                self._succeed(seat, worker)

    def _succeed(self, seat: _Seat, worker: _Worker) -> None:
        before, seat.current, seat.successor = seat.current, worker, None
        logger.info("%s serves in the place of its predecessor", worker.words)
        if before is not None:
            self._dismiss(before)

    def _dismiss(self, worker: _Worker) -> None:
        """Have it accept nothing more, and end when what runs has been answered."""
        worker.enter(_State.LEAVING, time.monotonic())
        self._leaving.append(worker)
        worker.process.terminate()

    def _watch(self, worker: _Worker, now: float) -> None:
        if worker.state is _State.STARTING and now - worker.since > _READY_WITHIN:
            why = f"does not serve after {_READY_WITHIN:.0f} s"
        elif worker.state is _State.SERVING and now - worker.heard > _FROZEN_AFTER:
            why = f"gives no sign of life for {_FROZEN_AFTER:.0f} s"
        elif worker.state is _State.LEAVING and now - worker.since > _ENDS_WITHIN:
            why = f"does not end within {_ENDS_WITHIN:.0f} s"
        else:
            return
        logger.error("%s %s: it is killed", worker.words, why)
        worker.process.kill()
        worker.process.wait()

    def _bury(self, worker: _Worker, now: float) -> None:
        """What follows from a worker's end."""
        self._close(worker)
        if worker in self._leaving:
            self._leaving.remove(worker)
            return
        how = _how(worker.process.returncode)
        seat = self._seats[worker.seat - 1]
        if seat.successor is worker:
            seat.successor = None
            self._to_renew = None
            logger.error("%s %s before it served: the others stay as they are", worker.words, how)
            self.notifier.tell(notify.READY)
            return
        seat.current = None
        if not self._is_ready:
            # What ails one at the first start ails all: an operator who looks on wants to know.
            logger.error("%s %s before it served", worker.words, how)
            self._has_failed = self._wishes.is_to_stop = True
            return
        is_steady = worker.state is _State.SERVING and now - worker.since > _STEADY_AFTER
        seat.failures = 0 if is_steady else seat.failures + 1
        pause = 0.0
        if seat.failures > 1:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (seat.failures - 2))
        seat.pause_until = now + pause
        when = f"in {pause:g} s" if pause else "now"
        logger.error("%s %s: it is replaced %s", worker.words, how, when)

    def _close(self, worker: _Worker) -> None:
        with suppress(KeyError):
            self._selector.unregister(worker.pulse)
            os.close(worker.pulse)

    # --- all of them ------------------------------------------------------------------------------

    def _fill(self, now: float) -> None:
        for seat in self._seats:
            if seat.current is None and seat.successor is not None:
                seat.current, seat.successor = seat.successor, None
            if seat.current is None and now >= seat.pause_until:
                seat.current = self._start(seat, now)
        if not self._is_ready and all(map(_serves, self._seats)):
            self._is_ready = True
            self.at_ready()
            self.notifier.tell(notify.READY)

    def _renew(self, now: float) -> None:
        """One seat after the other: the next when the one before is done and its old one gone."""
        if self._wishes.is_to_renew and self._is_ready:
            self._wishes.is_to_renew = False
            self._to_renew = list(self._seats)
            self.notifier.tell_reloading()
        if self._to_renew is None or self._leaving:
            return
        if any(seat.successor or not _serves(seat) for seat in self._seats):
            return
        if self._to_renew:
            seat = self._to_renew.pop(0)
            seat.successor = self._start(seat, now)
        else:
            self._to_renew = None
            logger.info("all workers are renewed")
            self.notifier.tell(notify.READY)

    def _stop(self, now: float) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self.notifier.tell(notify.STOPPING)
        for each in self.sockets:
            # Who calls from now on is refused at once, not left to wait for nobody.
            each.close()
        for seat in self._seats:
            for worker in filter(None, (seat.current, seat.successor)):
                self._dismiss(worker)
            seat.current = seat.successor = None


class _Signals:
    """Signals become wishes, and wake the supervisor from its wait."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(self, selector: selectors.BaseSelector, wishes: _Wishes) -> None:
        self._selector, self._wishes = selector, wishes

    def __enter__(self) -> None:
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        self._selector.register(self._woken.fileno(), selectors.EVENT_READ)
        self._before = {each: signal.signal(each, self._wish) for each in self._NUMBERS}
        self._woke = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)

    def __exit__(self, *exception: object) -> None:
        signal.set_wakeup_fd(self._woke)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.unregister(self._woken.fileno())
        self._woken.close()
        self._wakes.close()

    def _wish(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._wishes.is_to_stop = True
        elif number == signal.SIGHUP:
            self._wishes.is_to_renew = True


def _serves(seat: _Seat) -> bool:
    return seat.current is not None and seat.current.state is _State.SERVING


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
