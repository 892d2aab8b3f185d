"""Programs of the machine that some tests need, and what to do when one is missing.

A test without its tool is skipped with the words that would cure it. WORKLIST_REQUIRE names the
tools ("browser postgres dcmtk") whose absence is a failure instead, so CI loses no test unseen.
With "index" among them, the image's packages are installed by pip as the Dockerfile says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest
from django.db import connection

needs = pytest.mark.needs  # @needs("dcmtk"); conftest.py carries it out

# The first is the second without a window to be drawn.
BROWSERS = (
    *("chromium-headless-shell", "chromium", "chromium-browser"),
    *("google-chrome", "chrome", "microsoft-edge", "msedge"),
)
# Where Playwright puts browsers that it downloaded itself, on Linux and on a Mac.
PLAYWRIGHTS_OWN = (
    ".cache/ms-playwright/chromium-*/chrome-linux*/chrome",
    "Library/Caches/ms-playwright/chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
)
CURES = {
    "browser": "install chromium (Debian: apt-get install chromium) or set CHROMIUM=/path",
    "caddy": "install Caddy (Debian: apt-get install caddy)",
    "compose": "install Docker Compose (Debian: apt-get install docker-compose)",
    "dcmtk": "install DCMTK for findscu (Debian: apt-get install dcmtk)",
    "gettext": "install gettext for msgfmt (Debian: apt-get install gettext)",
    "haproxy": "install HAProxy (Debian: apt-get install haproxy)",
    "openssl": "install openssl (Debian: apt-get install openssl)",
    "postgres": "run on PostgreSQL (Debian: apt-get install postgresql)",
    "systemd": "install systemd for systemd-analyze (Debian: apt-get install systemd)",
}


def is_required(tool: str) -> bool:
    return tool in os.environ.get("WORKLIST_REQUIRE", "").split()


@cache
def chromium() -> Path | None:
    """Return the browser that the tests drive, if this machine has one."""
    if named := os.environ.get("CHROMIUM"):
        return Path(named)
    if found := next(filter(None, map(shutil.which, BROWSERS)), None):
        return Path(found)
    return max(
        (path for place in PLAYWRIGHTS_OWN for path in Path.home().glob(place)), default=None
    )


@cache
def findscu() -> Path | None:
    """Return DCMTK's findscu; dcm4che has a program of that name too, with other options."""
    found = shutil.which("findscu")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return Path(found) if "dcmtk" in told.stdout.lower() else None


@cache
def msgfmt() -> Path | None:
    """Return the compiler of translations; the other programs of gettext stand beside it."""
    found = shutil.which("msgfmt")
    return Path(found) if found else None


@cache
def openssl() -> Path | None:
    """Return the command that makes the certificates of tests."""
    found = shutil.which("openssl")
    return Path(found) if found else None


@cache
def haproxy() -> Path | None:
    """Return the load balancer; Debian keeps it where only root looks."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


@cache
def caddy() -> Path | None:
    """Return the proxy of the web."""
    found = shutil.which("caddy")
    return Path(found) if found else None


@cache
def compose() -> Path | None:
    """Return the reader of Compose files; it needs no engine to read them."""
    found = shutil.which("docker-compose")
    return Path(found) if found else None


@cache
def systemd_analyze() -> Path | None:
    """Return the reader of unit files."""
    found = shutil.which("systemd-analyze")
    return Path(found) if found else None


def is_there(tool: str) -> bool:
    """Say whether this run has the tool; postgres is, when it is the run's database."""
    if tool == "postgres":
        return connection.vendor == "postgresql"
    programs = {
        "browser": chromium,
        "caddy": caddy,
        "compose": compose,
        "dcmtk": findscu,
        "gettext": msgfmt,
        "haproxy": haproxy,
        "openssl": openssl,
        "systemd": systemd_analyze,
    }
    return programs[tool]() is not None


def require(tool: str) -> None:
    """Skip the test that is under way when it lacks the tool; fail it when the tool is required."""
    if is_there(tool):
        return
    # SQLite by the caller's own choice takes no tool away that the tests were promised.
    chosen = tool == "postgres" and os.environ.get("WORKLIST_TEST_DB") == "sqlite"
    reason = f"needs {tool}: {CURES[tool]}"
    if is_required(tool) and not chosen:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_server(error: Exception) -> NoReturn:
    """A PostgreSQL of the test's own does not start: skip, or fail where PostgreSQL is required."""
    reason = f"PostgreSQL does not start, or lacks a program: {error}"
    if is_required("postgres"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_trigrams() -> None:
    """Skip the test without PostgreSQL's pg_trgm; fail it where PostgreSQL is required."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite reads the rows one by one")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'")
        if cursor.fetchone():
            return
    if is_required("postgres"):
        pytest.fail("this PostgreSQL has no pg_trgm", pytrace=False)
    pytest.skip("this PostgreSQL has no pg_trgm")


def database_url() -> str:
    """Return the DATABASE_URL with which a process that a test starts sees the test's database."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    user = ":".join(quote(database[key], safe="") for key in ("USER", "PASSWORD") if database[key])
    host = ":".join(str(database[key]) for key in ("HOST", "PORT") if database[key])
    if host.startswith("/"):
        # A folder, where the server listens on a socket alone; so spelt by django-environ.
        host = f"/{host}"
    return f"postgres://{user}@{host}/{database['NAME']}"
