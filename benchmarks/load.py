"""The load client, a process of its own: many modalities in one loop, over raw sockets.

`python -m benchmarks.load` reads a Load from its standard input and writes a Measured; `measure`
does both sides. Nothing is imported that the loop does not need.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import packets
from benchmarks.packets import WrongAnswerError

ROOT = Path(__file__).resolve().parent.parent
_RECEIVED_AT_ONCE = 256 * 1024
# Seconds that a server may take for what is under way when the time is up.
_LAST_ANSWERS = 240.0


@dataclass(frozen=True)
class Load:
    """What is asked of a server, by how many at once, for how many seconds.

    `identifier` is in hexadecimal; "" asks by C-ECHO. Kept associations carry one query after the
    other, else each query has its own. However slow the server, `least` queries are answered.
    """

    port: int
    calling: str
    identifier: str
    matches: int
    clients: int = 1
    is_kept: bool = False
    seconds: float = 1.0
    least: int = 3
    called: str = "WORKLIST"


@dataclass(frozen=True)
class Measured:
    """What came of it: milliseconds of each query, and the seconds that all took together."""

    times: tuple[float, ...]
    seconds: float
    # Processor time of the load client itself, in seconds.
    cpu: float
    # Bytes of one answer's Identifiers.
    octets: int

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds


def measure(load: Load, *, midway: Callable[[], None] = lambda: None) -> Measured:
    """Run the load in a process of its own, and call `midway` while it runs.

    Raises WrongAnswerError, with what was wrong.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(load)))
        process.stdin.close()
        process.stdin = None
        with suppress(subprocess.TimeoutExpired):
            process.wait(load.seconds * 0.7)
        midway()
        try:
            out, err = process.communicate(timeout=load.seconds + _LAST_ANSWERS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise WrongAnswerError(f"no answer within {_LAST_ANSWERS:.0f} s") from None
    if process.returncode != 0:
        raise WrongAnswerError(err.strip().rpartition("\n")[2] or "the load client died")
    return Measured(**json.loads(out))


# --- the process ----------------------------------------------------------------------------------


def main() -> None:
    load = Load(**json.load(sys.stdin))
    try:
        measured = run(load)
    except (WrongAnswerError, OSError) as error:
        raise SystemExit(str(error)) from None
    json.dump(asdict(measured), sys.stdout)


def run(load: Load) -> Measured:
    """Check one answer strictly, then ask until the time is up."""
    octets = check(load)
    lap = _Lap(load)
    modalities = [_Modality(load, lap) for _ in range(load.clients)]
    before = time.process_time()
    lap.began = time.perf_counter()
    if load.clients == 1:
        _drive_one(modalities[0])
    else:
        _drive(modalities)
    seconds = time.perf_counter() - lap.began
    cpu = time.process_time() - before
    return Measured(tuple(lap.times), seconds, cpu, octets)


def check(load: Load) -> int:
    """Ask once and read the answer to its last byte; answers the bytes of its Identifiers.

    Counts otherwise than the loop does, so that the loop's way is checked for this very answer.
    """
    line = socket.create_connection(("127.0.0.1", load.port), timeout=_LAST_ANSWERS)
    with line:
        line.sendall(packets.associate_rq(calling=load.calling, called=load.called))
        received(line, packets.acceptance())
        line.sendall(_request(load))
        answer = received(line, packets.matches())
        line.sendall(packets.RELEASE_RQ)
        received(line, packets.release())
    found = packets.strictly(answer)
    statuses = set(found.statuses[:-1])
    if len(found.statuses) - 1 != load.matches or found.identifiers != load.matches:
        raise WrongAnswerError(f"{len(found.statuses) - 1} matches, not {load.matches}")
    if found.statuses[-1] != 0 or not statuses <= {0xFF00, 0xFF01}:
        raise WrongAnswerError(f"statuses {sorted(statuses)}, at last {found.statuses[-1]:04X}")
    return found.octets


def knock(port: int) -> None:
    """Open an association and release it. Raises OSError or WrongAnswerError on no answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(packets.associate_rq(calling="KNOCK", called="WORKLIST", only_echo=True))
        received(line, packets.acceptance())
        line.sendall(packets.RELEASE_RQ)
        received(line, packets.release())


def received(line: socket.socket, answer: packets.Answer) -> bytes:
    """Everything that is received until the answer is whole."""
    next(answer)
    whole = b""
    try:
        while True:
            part = line.recv(_RECEIVED_AT_ONCE)
            whole += part
            answer.send(part)
    except StopIteration:
        return whole


def _request(load: Load) -> bytes:
    if not load.identifier:
        return packets.echo_rq()
    return packets.find_rq(bytes.fromhex(load.identifier))


class _Lap:
    """What all modalities share: when it began, and how long each query took."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.began = 0.0
        self.times: list[float] = []

    def is_over(self) -> bool:
        is_late = time.perf_counter() - self.began >= self.load.seconds
        return is_late and len(self.times) >= self.load.least


class _Modality:
    """One that asks: its connection, and what it does with what comes through it."""

    def __init__(self, load: Load, lap: _Lap) -> None:
        self._load, self._lap = load, lap
        self._associate = packets.associate_rq(calling=load.calling, called=load.called)
        self._request = _request(load)
        self.line = socket.socket()

    def conversations(self) -> Generator[None, bytes, None]:
        """Ask on and on; each `send` is what was received on `line`, which may be another then."""
        if self._load.is_kept:
            yield from self._opened()
        while not self._lap.is_over():
            began = time.perf_counter()
            if self._load.is_kept:
                yield from self._asked()
            else:
                yield from self._opened()
                yield from self._asked()
                yield from self._closed()
            self._lap.times.append((time.perf_counter() - began) * 1000)
        if self._load.is_kept:
            yield from self._closed()

    def _opened(self) -> Generator[None, bytes, None]:
        self.line.close()
        self.line = socket.create_connection(("127.0.0.1", self._load.port))
        self.line.send(self._associate)
        yield from packets.acceptance()

    def _asked(self) -> Generator[None, bytes, None]:
        self.line.send(self._request)
        found = yield from packets.matches()
        if found != self._load.matches:
            raise WrongAnswerError(f"{found} matches, not {self._load.matches}")

    def _closed(self) -> Generator[None, bytes, None]:
        self.line.send(packets.RELEASE_RQ)
        yield from packets.release()
        self.line.close()


def _drive_one(modality: _Modality) -> None:
    """Without a look at who is ready: for one, waiting is receiving."""
    conversations = modality.conversations()
    next(conversations)
    with suppress(StopIteration):
        while True:
            conversations.send(modality.line.recv(_RECEIVED_AT_ONCE))


def _drive(modalities: list[_Modality]) -> None:
    poll = select.epoll()
    talking: dict[int, tuple[_Modality, Generator[None, bytes, None]]] = {}

    def listen(modality: _Modality, conversations: Generator[None, bytes, None]) -> None:
        talking[modality.line.fileno()] = modality, conversations
        poll.register(modality.line, select.EPOLLIN)

    for modality in modalities:
        conversations = modality.conversations()
        next(conversations)
        listen(modality, conversations)
    while talking:
        for descriptor, _ in poll.poll():
            modality, conversations = talking[descriptor]
            line = modality.line
            try:
                conversations.send(line.recv(_RECEIVED_AT_ONCE))
            except StopIteration:
                del talking[descriptor]
            else:
                if modality.line is not line:  # a closed one has left by itself
                    del talking[descriptor]
                    listen(modality, conversations)


if __name__ == "__main__":
    main()
