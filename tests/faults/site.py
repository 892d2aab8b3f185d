"""A site of a test's own: its database, and the web under gunicorn. All of it may be killed."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from typing import Any

from benchmarks.web.browser import Answer, Browser
from tests.faults.databases import (
    CLERK,
    HERE,
    PASSWORD,
    ROOT,
    Postgres,
    Sqlite,
    children_of,
    environment_of,
)
from tests.waiting import until
from worklist import children

# What is fed to a Python with Django.
_STEPS = """
import django; django.setup()
from tests.cast import step
for number in range({count}):
    step(ScheduledProcedureStepID=f"S{{number}}")
"""


class Fresh(Browser):
    """A browser that connects for each request: gunicorn ends a connection that rests."""

    def _ask(self, *asked: Any) -> Answer:
        self.connection.close()
        return super()._ask(*asked)


class Site:
    """The broker on a database of this test."""

    def __init__(self, database: Postgres | Sqlite, **environment: str) -> None:
        self.database = database
        with socket.create_server((HERE, 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.log = database.folder / "web.log"
        self.environment = {**environment_of(database.url), **environment}
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
def site_of(database: Postgres | Sqlite, **environment: str) -> Iterator[Site]:
    """A site of which nothing runs yet, until the end of the block."""
    site = Site(database, **environment)
    try:
        yield site
    finally:
        site.close()
        database.close()


@contextmanager
def open_site(database: Postgres | Sqlite, **environment: str) -> Iterator[Site]:
    """A site whose web answers, until the end of the block."""
    with site_of(database, **environment) as site:
        site.start()
        until(site.is_ready, what="the web's readiness")
        yield site
