"""A site of a test's own: its database, and the web under gunicorn. All of it may be killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.web.browser import Answer, Browser
from tests import postgres, tools
from tests.faults.disks import Disk
from tests.waiting import until
from worklist import children

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = "127.0.0.1"
CLERK, PASSWORD = "clerk", "quiet-lake-19"
# What is fed to a Python with Django: scanner, exam and clerk.
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
_STEPS = """
import django; django.setup()
from tests.cast import step
for number in range({count}):
    step(ScheduledProcedureStepID=f"S{{number}}")
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
            self.process = postgres.start_in(self.folder, self.binaries)
        except (StopIteration, OSError, postgres.CannotStartError) as error:
            _remove(self.folder, self.disk)
            tools.require_server(error)
        with self.connect("postgres") as connection:
            connection.execute("CREATE DATABASE site TEMPLATE template0")
        self.url = f"postgres://{postgres.USER}@/{self.folder}/site"

    @contextmanager
    def connect(self, database: str = "site") -> Iterator[Any]:
        """A connection past Django."""
        where: dict[str, Any] = {
            "host": str(self.folder),
            "user": postgres.USER,
            "dbname": database,
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


class Fresh(Browser):
    """A browser that connects for each request: gunicorn ends a connection that rests."""

    def _ask(self, *asked: Any) -> Answer:
        self.connection.close()
        return super()._ask(*asked)


class Site:
    """The broker on a database of this test, filled with a scanner, an exam and a clerk."""

    def __init__(self, database: Postgres | Sqlite, **environment: str) -> None:
        self.database = database
        with socket.create_server((HERE, 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.log = database.folder / "web.log"
        given = {name: text for name, text in os.environ.items() if "WORKLIST" not in name}
        self.environment = {
            **given,
            "DJANGO_SETTINGS_MODULE": "tests.faults.web_settings",
            "DATABASE_URL": database.url,
            "SECRET_KEY": "known to all, for the tests alone, and long enough for every check",
            "ALLOWED_HOSTS": HERE,
            "DICOM_ACCESS": "any",
            **environment,
        }
        self.master: subprocess.Popen[bytes] | None = None
        self.scp: subprocess.Popen[bytes] | None = None
        self.scp_log = database.folder / "runscp.log"
        self._browsers: list[Browser] = []

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def fill(self) -> None:
        done = self.manage("migrate", "--verbosity=0")
        assert done.returncode == 0, done.stderr
        subprocess.run([sys.executable, "-c", _STOCK], cwd=ROOT, env=self.environment, check=True)

    def start(self, *, workers: int = 2) -> None:
        """Start gunicorn as the image does. It tries for some seconds to get the port."""
        command = [sys.executable, "-m", "gunicorn", "--bind", f"{HERE}:{self.port}"]
        command += ["--worker-class", "gthread", "--workers", str(workers), "--threads", "8"]
        command += ["--no-control-socket", "--access-logfile", "-", "worklist.wsgi"]
        with self.log.open("ab") as log:
            self.master = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=children.die_with_parent,
            )

    def start_scp(self, *options: str) -> int:
        """Start runscp, and answer the port that it has taken."""
        command = [sys.executable, "manage.py", "runscp", "--bind", HERE, "--port", "0", *options]
        with self.scp_log.open("wb") as log:
            self.scp = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
                preexec_fn=children.die_with_parent,
            )
        said = until(
            lambda: re.search(rf" on {HERE}:(\d+),", self.scp_log.read_text("utf-8")),
            what="runscp's port",
        )
        return int(said[1])

    def book(self, count: int) -> None:
        """Have so many steps booked by no clerk."""
        subprocess.run(
            [sys.executable, "-c", _STEPS.format(count=count)],
            cwd=ROOT,
            env=self.environment,
            check=True,
        )

    def workers(self) -> list[int]:
        return children_of(self.master.pid) if self.master else []

    def browser(self, *, timeout: float = 10) -> Browser:
        browser = Fresh(HERE, self.port)
        browser.connection.timeout = timeout
        self._browsers.append(browser)
        return browser

    def is_ready(self) -> bool:
        browser = self.browser()
        with suppress(OSError, HTTPException), closing(browser.connection):
            return browser.get("/readyz").status == 200
        return False

    def clerk(self) -> Browser:
        """A browser in which the clerk is signed in."""
        browser = self.browser()
        browser.sign_in(CLERK, PASSWORD)
        return browser

    def close(self) -> None:
        for browser in self._browsers:
            browser.connection.close()
        children.stop([each for each in (self.scp, self.master) if each], within=12)


@contextmanager
def filled_site(database: Postgres | Sqlite, **environment: str) -> Iterator[Site]:
    """A site of which nothing runs yet, until the end of the block."""
    site = Site(database, **environment)
    try:
        site.fill()
        yield site
    finally:
        site.close()
        database.close()


@contextmanager
def open_site(database: Postgres | Sqlite, **environment: str) -> Iterator[Site]:
    """A site whose web answers, until the end of the block."""
    with filled_site(database, **environment) as site:
        site.start()
        until(site.is_ready, what="the web's readiness")
        yield site
