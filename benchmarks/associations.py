"""What associations leave behind: `python -m benchmarks.associations`.

Scanners call one after the other, each with a query of its own. What runscp holds (threads,
descriptors, connections to the database, memory) is looked at when the first have been and gone,
and thrice more up to the end: it is to be the same.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from benchmarks import data, figures, load, peers, queries
from benchmarks.data import Store
from benchmarks.load import Load
from benchmarks.peers import Server
from benchmarks.table import POSTGRES, SQLITE
from tests import postgres

_ENTRIES = 1000


@dataclass(frozen=True)
class Held:
    """What the server holds after so many associations: counts, and megabytes."""

    associations: int
    threads: int
    descriptors: int
    # Of them, to the database; SQLite's are descriptors of its file.
    connections: int
    memory: float


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(prog="python -m benchmarks.associations", description=__doc__)
    made.add_argument("associations", type=int, nargs="?", default=10_000)
    made.add_argument("--first", type=int, default=1000, help="of them, that may cost (1000)")
    made.add_argument("--server", choices=(SQLITE, POSTGRES), default=POSTGRES)
    made.add_argument("--clients", type=int, default=8, help="at once (8)")
    made.add_argument("--settles", type=float, default=12.0, help="seconds between (12)")
    options = made.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        store = Store(folder, postgres.start() if options.server == POSTGRES else "")
        is_sqlite = options.server == SQLITE
        url = store.sqlite(_ENTRIES) if is_sqlite else store.postgres(_ENTRIES)
        with data.connected(url) as connection:
            questions = queries.choose(connection, today=dt.datetime.now(dt.UTC).date())
        query = questions.named("Q1")
        with peers.ours(options.server, url, folder=folder) as server:
            found: list[Held] = []
            for count in _parts(options.associations, options.first):
                asked = Load(
                    server.port,
                    questions.calling,
                    query.identifier.hex(),
                    query.matches,
                    clients=options.clients,
                    seconds=0.0,
                    least=count,
                )
                done = len(load.measure(asked).times)
                so_far = done + (found[-1].associations if found else 0)
                found.append(_settled(server, url, so_far, options.settles))
            faults = server.faults()
    print(_table(found))
    told = {"benchmark": "associations", "server": options.server, "faults": faults}
    print(json.dumps({**told, "results": [asdict(each) for each in found]}))
    if faults:
        sys.exit(1)


def _parts(associations: int, first: int) -> list[int]:
    third = (associations - first) // 3
    return [first, third, third, associations - first - 2 * third]


def _settled(server: Server, url: str, associations: int, seconds: float) -> Held:
    """The least of each that is held in some seconds: what comes and goes is not left behind."""
    until, seen = time.monotonic() + seconds, []
    while time.monotonic() < until:
        seen.append(astuple(_held(server, url, associations)))
        time.sleep(0.5)
    return Held(*map(min, zip(*seen, strict=True)))


def _held(server: Server, url: str, associations: int) -> Held:
    pid = server.process.pid
    files = figures.files(pid)
    if url.startswith("sqlite"):
        connections = sum(".sqlite3" in path for path in files)
    else:
        with data.connected(url) as connection:
            (connections,) = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            ).fetchone()
    memory = figures.memory(pid)
    return Held(associations, figures.threads(pid), len(files), connections, memory)


def _table(found: Sequence[Held]) -> str:
    head = f"{'associations':>12} {'threads':>8} {'descriptors':>12} {'connections':>12} {'MB':>7}"
    lines = [
        f"{each.associations:12} {each.threads:8} {each.descriptors:12} {each.connections:12} "
        f"{each.memory:7.1f}"
        for each in found
    ]
    return "\n".join((head, *lines))


if __name__ == "__main__":
    main()
