"""The same made-up entries for every server, in SQLite, in PostgreSQL and as worklist files."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from benchmarks.queries import Connection

ROOT = Path(__file__).resolve().parent.parent
AE_TITLE = "WORKLIST"
_STEPS_OF_A_STATION = 20
_MOST_A_DAY = 1000
_SECRET_KEY = secrets.token_urlsafe(50)


@dataclass(frozen=True)
class Entries:
    """Where the entries of one size are: URLs of our databases, the folder of a peer's files."""

    steps: int
    sqlite: str = ""
    postgres: str = ""
    files: Path | None = None


def shape(steps: int) -> list[str]:
    """What `synthesize` is asked for: 20 exams a scanner, up to 1,000 a day, all to be done.

    A small worklist is all of today's and of two modalities, so that one still has several
    scanners.
    """
    a_day = min(steps, _MOST_A_DAY)
    stations = max(1, a_day // _STEPS_OF_A_STATION)
    modalities = 2 if steps < _MOST_A_DAY else 7
    return [
        *(str(steps), f"--today={a_day}", f"--stations={stations}"),
        *(f"--modalities={modalities}", "--to-do", "--verbosity=0"),
    ]


def environment(database: str, **more: str) -> dict[str, str]:
    """The environment of our own processes: as shipped, but for the database."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DICOM_", "DATABASE_", "NOTIFY_", "LISTEN_", "WATCHDOG_"))
    }
    own = {
        "DJANGO_SETTINGS_MODULE": "worklist.settings",
        "DATABASE_URL": database,
        "SECRET_KEY": _SECRET_KEY,
        "AE_TITLE": AE_TITLE,
        "TIME_ZONE": "UTC",
        "DEBUG": "0",
        "HTTPS": "0",
    }
    return {**kept, **own, **more}


def manage(*words: str, database: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environment(database, LOG_LEVEL="WARNING"),
        stdout=subprocess.DEVNULL,
        check=True,
    )


class Store:
    """A folder, and a PostgreSQL server if there is one, in which entries are made."""

    def __init__(self, folder: Path, postgres: str = "") -> None:
        self._folder, self._postgres = folder, postgres
        self._empty = folder / "empty.sqlite3"

    def sqlite(self, steps: int) -> str:
        """A SQLite file of so many steps."""
        if not self._empty.exists():
            manage("migrate", database=f"sqlite:///{self._empty}")
            with closing(sqlite3.connect(self._empty)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path = self._folder / f"{steps}.sqlite3"
        shutil.copy(self._empty, path)
        url = f"sqlite:///{path}"
        manage("synthesize", *shape(steps), database=url)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ANALYZE")
        return url

    def postgres(self, steps: int) -> str:
        """A PostgreSQL database of so many steps; "" when there is no PostgreSQL."""
        if not self._postgres:
            return ""
        with connected(self._beside("postgres")) as server:
            known = {name for (name,) in server.execute("SELECT datname FROM pg_database")}
            if "empty" not in known:
                server.execute("CREATE DATABASE empty")
                manage("migrate", database=self._beside("empty"))
            server.execute(f"CREATE DATABASE steps_{steps} TEMPLATE empty")
        url = self._beside(f"steps_{steps}")
        manage("synthesize", *shape(steps), database=url)
        with connected(url) as database:
            database.execute("VACUUM ANALYZE")
        return url

    def files(self, steps: int, *, database: str) -> Path:
        """A folder of AE folders, as wlmscpfs takes it, with every step of that database."""
        folder = self._folder / f"files-{steps}"
        manage("export_wl", str(folder / AE_TITLE), database=database)
        return folder

    def _beside(self, name: str) -> str:
        return f"{self._postgres.rpartition('/')[0]}/{name}"


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A connection of psycopg or sqlite3 to a database that is named as in DATABASE_URL."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            yield file
    else:
        with psycopg.connect(**_parts(url), autocommit=True) as server:
            yield server


def _parts(url: str) -> Mapping[str, Any]:
    parts = urlsplit(url)
    path, _, name = unquote(parts.path).rpartition("/")
    # django-environ's spelling of a socket: the path of its folder, then the database.
    host = path.replace("//", "/") or unquote(parts.hostname or "localhost")
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    return {"host": host, "port": parts.port, "user": user, "password": password, "dbname": name}


def postmaster(connection: Connection) -> int:
    """The process of the PostgreSQL server behind a connection; 0 when it is on another machine."""
    (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    status = Path(f"/proc/{backend}/stat")
    if not status.exists() or "(postgres)" not in status.read_text():
        return 0
    return int(status.read_text().rpartition(") ")[2].split()[1])
