"""The drill of docs/backup-and-restore.md: its very commands, then all that must be there."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connection

from tests import image, postgres, postgres_copies
from tests.findscu import Findscu
from tests.processes import Start, first_line, runscp
from tests.test_fronts import port_of
from tests.tools import needs

__all__ = ["first_line", "runscp"]

PAGE = (image.ROOT / "docs" / "backup-and-restore.md").read_text("utf-8")
# Run in the project, against a database of its own: what is there, told as JSON.
LOOK = """
import json, django
django.setup()
from django.apps import apps
from django.test import Client
client = Client(headers={"host": "localhost"})
there = client.post("/sign-in/", {"username": "clerk", "password": "clerk-demo"})
board = client.get("/today/")
counts = {model._meta.label: model._base_manager.count() for model in apps.get_models()}
print(json.dumps({"signed in": there.status_code, "board": board.status_code, "counts": counts}))
"""
BOOK = """
import django
django.setup()
from tests.cast import actor, book, patient
print(book(patient("RESTORED")).requested_procedure.request.accession_number)
"""


def command(start: str) -> str:
    """The command of the page that begins so."""
    (found,) = re.findall(rf"^    ({re.escape(start)}.*)$", PAGE, re.MULTILINE)
    return str(found)


class Kept:
    """A database that is backed up and restored, and the broker's commands on it."""

    def __init__(self, url: str) -> None:
        self.environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "worklist.settings",
            "SECRET_KEY": "of the drill " * 5,
            "LOG_LEVEL": "ERROR",
            # Static files need not be collected first.
            "DEBUG": "1",
        }

    def python(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=image.ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manage(self, line: str) -> str:
        assert line.startswith("manage.py ")
        return self.python(*shlex.split(line))


@pytest.fixture
def two(db: None, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The DATABASE_URLs of what is backed up, and of where it is restored."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/first.sqlite3", f"sqlite:///{tmp_path}/second.sqlite3"
        return
    with ExitStack() as stack:
        yield tuple(stack.enter_context(postgres_copies.empty()) for _ in range(2))  # type: ignore[misc]


def carry_over(urls: tuple[str, str], folder: Path) -> None:
    """Back the first one up and restore it as the second, as the page says."""
    if connection.vendor == "sqlite":
        file = urls[0].removeprefix("sqlite:///")
        (sql,) = re.findall(r'"(VACUUM INTO .*)"', command("sqlite3 var/worklist.sqlite3"))
        with sqlite3.connect(file) as source:
            source.execute(sql.replace("worklist.backup", str(folder / "worklist.backup")))
        source.close()
        (folder / "worklist.backup").rename(urls[1].removeprefix("sqlite:///"))
        return
    where = connection.settings_dict
    environment = {
        **os.environ,
        "PGHOST": str(where["HOST"]),
        "PGPORT": str(where["PORT"]),
        "PGUSER": where["USER"],
        "PGPASSWORD": where["PASSWORD"],
        "PATH": f"{next(postgres.find())}:{os.environ['PATH']}",
    }
    environment = {name: value for name, value in environment.items() if value}
    for line, url in ((command("pg_dump"), urls[0]), (command("pg_restore"), urls[1])):
        ours = re.sub(r"\bworklist$|(?<=--dbname=)worklist\b", url.rpartition("/")[2], line)
        done = subprocess.run(
            shlex.split(ours), cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@needs("dcmtk")
@pytest.mark.timeout(400)
def test_what_was_backed_up_is_all_there_after_a_restore(
    two: tuple[str, str], runscp: Start, tmp_path: Path
) -> None:
    first, second = (Kept(url) for url in two)
    first.manage("manage.py migrate --no-input")
    first.manage("manage.py loaddemo")
    (seal,) = re.findall(r"Last seal: (\S+)", first.manage("manage.py verify_audit"))
    # Counted before it is signed in to, which leaves a session, and after.
    before = json.loads(first.python("-c", LOOK))
    carry_over(two, tmp_path)

    assert "No migrations to apply" in second.manage(command("manage.py migrate"))
    whole = command("manage.py verify_audit --anchor").replace("NUMBER:DIGEST", seal)
    assert "all as they were written" in second.manage(whole)
    after = json.loads(second.python("-c", LOOK))
    assert (after["signed in"], after["board"]) == (302, 200)
    # Signing in and looking at the board leave the same traces on both.
    assert after["counts"].pop("sessions.Session") == before["counts"].pop("sessions.Session") + 1
    for signed in ("audit.AuditEvent", "audit.Seal"):
        assert after["counts"].pop(signed) >= before["counts"].pop(signed) > 0
    assert after["counts"] == before["counts"]
    assert before["counts"]["worklist.Patient"] > 5
    # Numbers go on where they were: nothing of what is new is taken for what is there.
    assert second.python("-c", BOOK).strip()
    told = []
    for number, url in enumerate(two):
        scp = runscp("--port", "0", DATABASE_URL=url)
        folder = tmp_path / f"asked{number}"
        folder.mkdir()
        found = Findscu(port_of(scp), folder).ask("PatientName=*", "PatientID")
        assert found.final == "0000"
        told.append(sorted(str(answer.PatientID) for answer in found.answers))
    assert "RESTORED" in told[1]
    told[1].remove("RESTORED")
    assert told[0] == told[1] != []
