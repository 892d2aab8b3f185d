"""What scanners cost that stay associated and say nothing: `python -m benchmarks.idle`."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import data, figures, load, packets, peers, queries
from benchmarks.data import Entries, Store
from benchmarks.load import Load
from benchmarks.packets import WrongAnswerError
from benchmarks.peers import MissingError, Server
from benchmarks.queries import Questions
from benchmarks.table import PEERS, POSTGRES, SQLITE
from tests import postgres

_ENTRIES = 1000
_ACCEPTED_WITHIN = 300.0  # seconds


@dataclass(frozen=True)
class Silence:
    """What so many silent associations cost, and what the others feel of them."""

    server: str
    associations: int
    # Seconds from the first request to the last acceptance.
    accepted: float
    # Percent of one core; kilobytes and threads for each association.
    cpu: float
    memory: float
    threads: float
    # Milliseconds of a C-ECHO with its association, before they came and beside them: median, p99.
    alone: tuple[float, float]
    beside: tuple[float, float]
    # How many of them were answered when they asked again, and milliseconds of the slowest.
    answered: int
    slowest: float


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    made.add_argument("associations", type=int, nargs="*", default=[500, 2000])
    made.add_argument("--seconds", type=float, default=5.0, help="of silence that is measured (5)")
    made.add_argument(
        "--servers", nargs="+", choices=(*PEERS, SQLITE, POSTGRES), default=[SQLITE, POSTGRES]
    )
    options = made.parse_args(arguments)
    _allow_many_files()
    found = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        entries = _entries(folder, options.servers)
        with data.connected(entries.sqlite) as connection:
            questions = queries.choose(connection, today=dt.datetime.now(dt.UTC).date())
        for server in options.servers:
            for count in options.associations:
                try:
                    with _start(server, entries, folder, count) as running:
                        found.append(silence(running, questions, count, options.seconds))
                except (MissingError, WrongAnswerError, OSError) as error:
                    print(f"left out: {server} with {count}: {error}", file=sys.stderr)
    print(table(found))
    told = {"benchmark": "idle", "results": [asdict(each) for each in found]}
    print(json.dumps(told))


def _allow_many_files() -> None:
    """For this process and the servers that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _entries(folder: Path, servers: Sequence[str]) -> Entries:
    store = Store(folder, postgres.start() if POSTGRES in servers else "")
    file = store.sqlite(_ENTRIES)
    files = store.files(_ENTRIES, database=file) if set(PEERS) & set(servers) else None
    return Entries(_ENTRIES, file, store.postgres(_ENTRIES), files)


def _start(
    name: str, entries: Entries, folder: Path, associations: int
) -> AbstractContextManager[Server]:
    def ours(database: str) -> AbstractContextManager[Server]:
        most = associations + 50
        return peers.ours(name, database, folder=folder, most_associations=most)

    start: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "wlmscpfs": lambda: peers.wlmscpfs(entries, folder=folder),
        "Orthanc": lambda: peers.orthanc(entries, folder=folder),
        SQLITE: lambda: ours(entries.sqlite),
        POSTGRES: lambda: ours(entries.postgres),
    }
    return start[name]()


# --- measuring ------------------------------------------------------------------------------------


def silence(server: Server, questions: Questions, count: int, seconds: float) -> Silence:
    """Measure a server with so many associations that are silent, then ask on each of them."""
    pid = server.process.pid
    alone = _echo(server, questions)
    memory, threads = figures.memory(pid), figures.threads(pid)
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.socket()) for _ in range(count)]
        accepted = _associate(lines, server, questions.calling)
        cpu = figures.cpu(pid)
        time.sleep(seconds)
        cpu = figures.cpu(pid) - cpu
        held, there = figures.memory(pid) - memory, figures.threads(pid) - threads
        beside = _echo(server, questions)
        times = _ask(lines, questions)
    return Silence(
        server.name,
        count,
        accepted,
        100 * cpu / seconds,
        1024 * held / count,
        there / count,
        alone,
        beside,
        len(times),
        max(times, default=0.0),
    )


def _echo(server: Server, questions: Questions) -> tuple[float, float]:
    wanted = Load(server.port, questions.calling, identifier="", matches=0, least=20)
    times = load.measure(wanted).times
    return figures.middle(times), figures.percentile(times, 99)


def _associate(lines: Sequence[socket.socket], server: Server, calling: str) -> float:
    """Ask for all associations at once; answers in how many seconds they were accepted."""
    request = packets.associate_rq(calling=calling, called=data.AE_TITLE)
    began, poll = time.perf_counter(), select.epoll()
    waiting = {line.fileno(): line for line in lines}
    with poll:
        for line in lines:
            line.settimeout(_ACCEPTED_WITHIN)
            line.connect(("127.0.0.1", server.port))
            line.sendall(request)
            poll.register(line, select.EPOLLIN)
        while waiting:
            ready = poll.poll(_ACCEPTED_WITHIN)
            if not ready:
                raise WrongAnswerError(f"{len(waiting)} associations were not accepted in time")
            for descriptor, _ in ready:
                load.received(waiting.pop(descriptor), packets.acceptance())
                poll.unregister(descriptor)
    return time.perf_counter() - began


def _ask(lines: Sequence[socket.socket], questions: Questions) -> list[float]:
    """Ask on each association, one after the other; answers milliseconds of those that answered."""
    query, times = questions.named("Q3"), []
    for line in lines:
        began = time.perf_counter()
        try:
            line.sendall(packets.find_rq(query.identifier))
            answer = packets.strictly(load.received(line, packets.matches()))
        except (OSError, WrongAnswerError):
            continue
        if answer.identifiers == query.matches:
            times.append((time.perf_counter() - began) * 1000)
    return times


# --- telling --------------------------------------------------------------------------------------


def table(found: Sequence[Silence]) -> str:
    """A line for each, with what is aimed at below."""
    head = (
        f"{'':22} {'idle':>6} {'accepted':>9} {'CPU':>8} {'memory':>9} {'threads':>8} "
        f"{'echo alone':>15} {'beside':>15} {'answered':>9} {'slowest':>9}"
    )
    units = (
        f"{'':22} {'':>6} {'s':>9} {'% core':>8} {'kB each':>9} {'each':>8} "
        f"{'ms, p99':>15} {'ms, p99':>15} {'':>9} {'ms':>9}"
    )
    lines = [
        f"{each.server:22} {each.associations:6} {each.accepted:9.2f} {each.cpu:8.2f} "
        f"{each.memory:9.0f} {each.threads:8.1f} {_pair(each.alone):>15} {_pair(each.beside):>15} "
        f"{each.answered:9} {each.slowest:9.1f}"
        for each in found
    ]
    aims = f"{'aim at 500':22} {'':6} {'< 2':>9} {'< 2':>8} {'< 100':>9}"
    return "\n".join([head, units, *lines, aims])


def _pair(times: tuple[float, float]) -> str:
    return f"{times[0]:.1f}, {times[1]:.1f}"


if __name__ == "__main__":
    main()
