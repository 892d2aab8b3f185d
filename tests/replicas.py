"""A PostgreSQL and a streaming replica of it, to be frozen, killed, paused; thrown away after."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg

from tests import postgres, tools
from tests.waiting import until

# Where a server is started.
Place = Callable[[], AbstractContextManager[None]]

_ALL = ("all", "replication")
# A primary that was away is found again at once, and has what its replica missed.
_SETTINGS = ("wal_retrieve_retry_interval=200ms", "wal_keep_size=512MB", "synchronous_commit=on")


class Cluster:
    """One of the two, and what it knows."""

    def __init__(self, folder: Path, binaries: Path, *settings: str, at: Place) -> None:
        self.folder, self.binaries = folder, binaries
        self._settings, self._at = settings, at
        self.start()

    @property
    def url(self) -> str:
        """Its DATABASE_URL."""
        return f"postgres://{postgres.USER}@/{self.folder}/postgres"

    def ask(self, sql: str, *values: Any) -> list[Any]:
        where = {"host": str(self.folder), "user": postgres.USER, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as asking:  # type: ignore[arg-type]
            told = asking.execute(sql.encode(), values or None)
            return told.fetchall() if told.description else []

    def value(self, sql: str) -> Any:
        return self.ask(sql)[0][0]

    def signal(self, number: int) -> None:
        """To the server and to each of its backends."""
        for pid in (self.process.pid, *self._backends()):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _backends(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return list(map(int, children.read_text().split()))

    def kill(self) -> None:
        """As if its machine had lost its power."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        # What is left says that it runs.
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def start(self) -> None:
        with self._at():
            self.process = postgres.launch(self.folder, self.binaries, *_SETTINGS, *self._settings)

    def restart(self) -> None:
        """As an administrator does who is in a hurry."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.start()


@contextmanager
def primary(*settings: str, network: str = "", at: Place = nullcontext) -> Iterator[Cluster]:
    """A server with an empty database; the test is skipped where none starts.

    It lets in everybody of the network; `at` is where it is started.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        try:
            binaries = next(each for each in postgres.find() if (each / "pg_basebackup").exists())
            # It is made and started, and started again with what is set.
            first = postgres.start_in(folder, binaries)
            first.send_signal(signal.SIGINT)
            first.wait()
            if network:
                with (folder / "data" / "pg_hba.conf").open("a") as access:
                    access.writelines(f"host {each} all {network} trust\n" for each in _ALL)
            copies = sorted((folder / "copy").glob("**/bin"))
            cluster = Cluster(folder, copies[0] if copies else binaries, *settings, at=at)
        except (StopIteration, OSError, postgres.CannotStartError) as error:
            tools.require_server(error)
        stack.callback(_end, cluster)
        yield cluster


@contextmanager
def replica(
    of: Cluster, *settings: str, conninfo: str = "", at: Place = nullcontext
) -> Iterator[Cluster]:
    """A replica that streams from this one, `conninfo` being where it finds it."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        run_as: dict[str, Any] = {"cwd": folder}
        if account := postgres.unprivileged_account():
            run_as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)
        where = conninfo or f"host={of.folder} user={postgres.USER}"
        program = of.binaries / "pg_basebackup"
        words: list[str | Path] = [
            program,
            "--pgdata",
            folder / "data",
            "--checkpoint=fast",
            "--dbname",
            where,
        ]
        words += ["--write-recovery-conf", "--wal-method=stream", "--no-sync"]
        with at():
            copied = subprocess.run(words, **run_as, capture_output=True, text=True)
        assert copied.returncode == 0, copied.stderr
        cluster = Cluster(folder, of.binaries, *settings, at=at)
        stack.callback(_end, cluster)
        until(lambda: cluster.value("SELECT count(*) FROM pg_stat_wal_receiver") == 1)
        yield cluster


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="worklist-cluster-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(cluster: Cluster) -> None:
    if cluster.process.poll() is None:
        cluster.signal(signal.SIGCONT)
        cluster.process.send_signal(signal.SIGQUIT)
        cluster.process.wait()
