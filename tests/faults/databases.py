"""Databases of a test's own, which may be killed: each holds a scanner, an exam and a clerk.

They are copies of one of a kind, which whoever comes first has made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests import postgres, tools
from tests.faults.disks import Disk

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = "127.0.0.1"
CLERK, PASSWORD = "clerk", "quiet-lake-19"
_STOCK = f"""
import django; django.setup()
from django.contrib.auth.models import Group
from tests.cast import actor, kind, station
from worklist.audit import trail
from worklist.models import User
kind("CTHEAD", "CT head", default_station=station("CT1", "CT 1"), minutes=15)
for name, role in (({CLERK!r}, "Clerk"), ("admin", "Administrator")):
    user = User(username=name, is_staff=role != "Clerk", is_superuser=role != "Clerk")
    user.set_password({PASSWORD!r})
    trail.save(user, by=actor, lists={{"groups": [Group.objects.get(name=role)]}})
"""


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Postgres:
    """A server that is killed, stopped, frozen and started again. Its folder is a socket's, too."""

    is_postgres = True

    def __init__(self, *, on_small_disk: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="worklist-faults-"))
        self.disk = Disk(self.folder / "data") if on_small_disk else None
        try:
            self.binaries = next(iter(postgres.find()))
            cluster = _filled_cluster(self.binaries)
            self.process = postgres.start_in(self.folder, self.binaries, copy_of=cluster)
        except (StopIteration, OSError, postgres.CannotStartError) as error:
            _remove(self.folder, self.disk)
            tools.require_server(error)
        self.url = f"postgres://{postgres.USER}@/{self.folder}/site"

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """A connection past Django."""
        where: dict[str, Any] = {
            "host": str(self.folder),
            "user": postgres.USER,
            "dbname": "site",
            "autocommit": True,
        }
        with psycopg.connect(**where) as connection:
            yield connection

    def everyone(self) -> list[int]:
        """The server and its own processes."""
        return [self.process.pid, *children_of(self.process.pid)]

    def kill(self) -> None:
        """As a power cut would, but for the disk's own memory."""
        self.freeze()  # or the server would end those that are left in order
        kill(*self.everyone())
        self.process.wait()

    def stop(self) -> None:
        """At once, as an administrator does it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def start(self, *more: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.process = postgres.launch(self.folder, self.binaries, *more)
                return
            except postgres.CannotStartError:
                # The memory of a server that was killed is let go a little later.
                if time.monotonic() > deadline:
                    raise

    def freeze(self) -> None:
        for pid in self.everyone():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.everyone():
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        postgres.stop(self.process, self.folder, started_by=os.getpid())
        _remove(self.folder, self.disk)


class Sqlite:
    """A file."""

    is_postgres = False

    def __init__(self, *, on_small_disk: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="worklist-faults-"))
        data = self.folder / "data"
        data.mkdir()
        self.disk = Disk(data) if on_small_disk else None
        self.path = data / "site.sqlite3"
        shutil.copyfile(_filled_file(), self.path)
        self.url = f"sqlite:///{self.path}"

    @contextmanager
    def connect(self) -> Iterator[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        _remove(self.folder, self.disk)


def _remove(folder: Path, disk: Disk | None) -> None:
    if disk:
        disk.close()
    shutil.rmtree(folder, ignore_errors=True)


# --- of which they are copies ---------------------------------------------------------------------


def environment_of(url: str) -> dict[str, str]:
    """In which the broker runs on this database."""
    given = {name: text for name, text in os.environ.items() if "WORKLIST" not in name}
    return {
        **given,
        "DJANGO_SETTINGS_MODULE": "tests.faults.web_settings",
        "DATABASE_URL": url,
        "SECRET_KEY": "known to all, for the tests alone, and long enough for every check",
        "ALLOWED_HOSTS": HERE,
        "DICOM_ACCESS": "any",
    }


def _fill(url: str) -> None:
    for words in (["manage.py", "migrate", "--verbosity=0"], ["-c", _STOCK]):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment_of(url),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _filled_cluster(binaries: Path) -> Path:
    """A cluster with the database `site`, which no server has open."""
    with _first_of_all("cluster") as (cluster, is_first):
        if is_first:
            folder = Path(tempfile.mkdtemp(prefix="worklist-faults-"))
            try:
                server = postgres.start_in(folder, binaries)
                try:
                    where = f"host={folder} user={postgres.USER} dbname=postgres"
                    with psycopg.connect(where, autocommit=True) as connection:
                        connection.execute("CREATE DATABASE site TEMPLATE template0")
                    _fill(f"postgres://{postgres.USER}@/{folder}/site")
                finally:
                    server.send_signal(signal.SIGINT)
                    server.wait()
                shutil.move(folder / "data", cluster)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return cluster


def _filled_file() -> Path:
    with _first_of_all("site.sqlite3") as (file, is_first):
        if is_first:
            made = file.with_name("in-the-making.sqlite3")
            _fill(f"sqlite:///{made}")
            made.rename(file)
        return file


@contextmanager
def _first_of_all(name: str) -> Iterator[tuple[Path, bool]]:
    """Where something stands that is made once in a run, and whether it is to be made now."""
    folder = Path(os.environ["WORKLIST_TEST_FOLDER"])
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / name, not (folder / name).exists()
