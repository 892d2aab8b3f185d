"""How fast a worklist answers: wlmscpfs, Orthanc and ours, with the same entries, by turns."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from benchmarks import data, figures, load, peers, queries, table
from benchmarks.data import Entries, Store
from benchmarks.load import Load
from benchmarks.packets import WrongAnswerError
from benchmarks.peers import MissingError, Server
from benchmarks.queries import Questions
from benchmarks.results import Cell, Figures, Results, Run
from benchmarks.table import BIG, PEERS, POSTGRES, POSTGRES_2, SMALL, SQLITE
from tests import postgres

ALONE = (
    *(Cell(query) for query in ("Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7")),
    *(Cell(query, is_kept=True) for query in ("Q1", "Q2", "Q4")),
)
CROWDS = tuple(Cell("Q1", is_kept, clients) for clients in (8, 32) for is_kept in (False, True))
AT_A_GLANCE = (
    *(Cell("Q1"), Cell("Q2"), Cell("Q3"), Cell("Q5"), Cell("Q6")),
    *(Cell("Q4", is_kept=True), Cell("Q1", clients=32)),
)
# With more entries, thirty-two clients of a peer would wait for minutes.
PEERS_HAVE_CROWDS_UP_TO = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.glance:
        options.sizes, options.rounds = options.sizes or [100, 1000], 1
        options.seconds = min(options.seconds, 0.4)
    sizes = options.sizes or [100, 1000, 10_000]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        store = Store(folder, _postgres(options.servers))
        results: Results = {}
        # A big worklist is compared with our own of a thousand: by turns, as the peers are with us.
        beside = SMALL if SMALL in sizes else sizes[-1]
        for size in sizes:
            together = [_entries(store, size, options.servers)]
            if size == beside and options.database:
                together.append(Entries(BIG, postgres=options.database))
            elif size == beside and options.big:
                ours = [name for name in options.servers if name not in PEERS]
                together.append(_entries(store, BIG, ours))
            results |= _measured(together, options, folder)
    print(table.tables(results))
    for share in table.shares(results):
        print(f"  the load client takes more than a quarter of the server's time: {share}")
    print(json.dumps(_told(results, options, time.monotonic() - began)))


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--glance", action="store_true", help="a small run of under two minutes")
    made.add_argument("--sizes", type=int, nargs="+", help="entries (100 1000 10000)")
    made.add_argument("--rounds", type=int, default=3, help="of each measurement (3)")
    made.add_argument("--seconds", type=float, default=1.0, help="of each measurement (1)")
    made.add_argument("--big", action="store_true", help=f"ours with {BIG:,} entries as well")
    made.add_argument(
        "--database",
        default="",
        help="URL of a PostgreSQL database that is filled already, in the place of --big's own; "
        "the journal of what is asked is written into it",
    )
    made.add_argument(
        "--servers",
        nargs="+",
        choices=(*PEERS, SQLITE, POSTGRES, POSTGRES_2),
        default=[*PEERS, SQLITE, POSTGRES, POSTGRES_2],
        help="all, unless named",
    )
    return made


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


# --- what is there --------------------------------------------------------------------------------


def _postgres(servers: Sequence[str]) -> str:
    """The URL of a throw-away PostgreSQL; "" when there is none."""
    if not {POSTGRES, POSTGRES_2} & set(servers):
        return ""
    try:
        return postgres.start()
    except postgres.CannotStartError as error:
        _say(f"left out: PostgreSQL: {error}")
        return ""


def _entries(store: Store, size: int, servers: Sequence[str]) -> Entries:
    _say(f"{size:,} entries are made")

    def on_files() -> tuple[str, Path | None]:
        file = store.sqlite(size)
        return file, store.files(size, database=file) if set(PEERS) & set(servers) else None

    with ThreadPoolExecutor() as both:
        server, files = both.submit(store.postgres, size), both.submit(on_files)
        return Entries(size, files.result()[0], server.result(), files.result()[1])


def _startable(
    entries: Entries, servers: Sequence[str], folder: Path
) -> Iterator[tuple[str, Callable[[], AbstractContextManager[Server]]]]:
    possible: dict[str, Callable[[], AbstractContextManager[Server]]] = {}
    if entries.files:
        possible["wlmscpfs"] = lambda: peers.wlmscpfs(entries, folder=folder)
        possible["Orthanc"] = lambda: peers.orthanc(entries, folder=folder)
    if entries.sqlite:
        possible[SQLITE] = lambda: peers.ours(SQLITE, entries.sqlite, folder=folder)
    if url := entries.postgres:
        possible[POSTGRES] = lambda: peers.ours(POSTGRES, url, folder=folder)
        possible[POSTGRES_2] = lambda: peers.ours(POSTGRES_2, url, folder=folder, workers=2)
    yield from ((name, start) for name, start in possible.items() if name in servers)


# --- measuring ------------------------------------------------------------------------------------


def _measured(together: Sequence[Entries], options: argparse.Namespace, folder: Path) -> Results:
    """All servers with their entries, each kind of load by turns."""
    results: Results = {}
    with ExitStack() as stack:
        running: list[tuple[Entries, Questions, Server]] = []
        for entries in together:
            questions = _questions(entries)
            for name, start in _startable(entries, options.servers, folder):
                try:
                    running.append((entries, questions, stack.enter_context(start())))
                except MissingError as error:
                    _say(f"left out: {name}: {error}")
        sizes = " and ".join(f"{entries.steps:,}" for entries in together)
        for number in range(options.rounds):
            _say(f"{sizes} entries, round {number + 1} of {options.rounds}")
            for cell in AT_A_GLANCE if options.glance else (*ALONE, *CROWDS):
                for entries, questions, server in running:
                    if _takes(server.name, cell, entries.steps):
                        key = (entries.steps, server.name, cell)
                        query = questions.named(cell.query)
                        found = results.setdefault(key, Figures(query.matches))
                        _add(found, server, cell, questions, options.seconds)
        for entries, _, server in running:
            for fault in server.faults()[:3]:
                _say(f"{server.name}, {entries.steps:,} entries, says: {fault}")
    return results


def _questions(entries: Entries) -> Questions:
    with data.connected(entries.sqlite or entries.postgres) as connection:
        return queries.choose(connection, today=dt.datetime.now(dt.UTC).date())


def _takes(server: str, cell: Cell, size: int) -> bool:
    """Whether a server is put under this load."""
    if server == POSTGRES_2:
        return cell.clients > 1
    return server not in PEERS or cell.clients == 1 or size <= PEERS_HAVE_CROWDS_UP_TO


def _add(found: Figures, server: Server, cell: Cell, questions: Questions, seconds: float) -> None:
    """One run more, unless an earlier one failed."""
    if found.error:
        return
    wanted = Load(
        port=server.port,
        calling=questions.calling,
        identifier=questions.named(cell.query).identifier.hex(),
        matches=found.matches,
        clients=cell.clients,
        is_kept=cell.is_kept,
        seconds=seconds,
    )
    own, database = server.costs()
    memory: list[float] = []
    try:
        measured = load.measure(
            wanted, midway=lambda: memory.append(figures.memory(server.process.pid))
        )
    except WrongAnswerError as error:
        found.error = str(error)
        return
    own_after, database_after = server.costs()
    found.runs.append(Run(measured, own_after - own, database_after - database, memory[0]))


def _told(results: Results, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The run as one line of JSON."""
    told: dict[str, Any] = {}
    for (size, server, cell), found in results.items():
        told.setdefault(str(size), {}).setdefault(server, {})[cell.label] = found.told()
    return {
        "benchmark": "worklist",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "peers": peers.versions(_servers(results)),
        "results": told,
    }


def _servers(results: Results) -> Iterable[str]:
    return {server for _, server, _ in results}


if __name__ == "__main__":
    main()
