"""What was answered "saved" is there, whole, once and signed, whatever was killed meanwhile.

WORKLIST_KILLS says how often something is killed, WORKLIST_SEED when and what.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.faults.clerks import LETTERS, SEED, Clerk, faults
from tests.faults.databases import ROOT, Postgres, Sqlite, kill
from tests.faults.site import Site, open_site
from tests.test_import_wl import data_set
from tests.waiting import until

KILLS = int(os.environ.get("WORKLIST_KILLS", "6"))
FILES = 3


class Importer(threading.Thread):
    """Imports a few files in a run of their own, one run after the other."""

    def __init__(self, site: Site, is_over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.site, self.is_over = site, is_over
        self.sent: set[str] = set()
        self.saved: set[str] = set()
        self.runs = 0
        self.running: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        for turn in count():
            folder = self.site.database.folder / f"wl-{turn}"
            folder.mkdir()
            names = [f"I{turn}-{number}" for number in range(FILES)]
            for name in names:
                (folder / f"{name}.json").write_text(_file(name))
            self.sent |= set(names)
            # The same files until they are in: what is in already goes in no second time.
            while not self.is_over.is_set():
                if self.imported(folder):
                    self.saved |= set(names)
                    break
            if self.is_over.is_set():
                return

    def imported(self, folder: Path) -> bool:
        self.runs += 1
        command = [sys.executable, "manage.py", "import_wl", str(folder)]
        with (self.site.database.folder / "import.log").open("ab") as log:
            self.running = subprocess.Popen(
                command, cwd=ROOT, env=self.site.environment, stdout=log, stderr=log
            )
            return self.running.wait() == 0

    def kill(self) -> None:
        if self.running:
            kill(self.running.pid)


def _file(name: str) -> str:
    number = str(int(name[1:].replace("-", "")) * 7919 % 99991).translate(LETTERS)
    keys = {"RequestedProcedureID": name, "StudyInstanceUID": generate_uid(entropy_srcs=[name])}
    step = {"ScheduledProcedureStepID": name}
    made = data_set(step, PatientName=f"I{number}^X", PatientID=name, AccessionNumber=name, **keys)
    return str(made.to_json())


@pytest.mark.timeout(60 + 30 * KILLS)
@pytest.mark.parametrize("database", [Postgres, Sqlite])
def test_what_was_acknowledged_is_there_once(database: Callable[[], Postgres | Sqlite]) -> None:
    with open_site(database()) as site:
        is_over = threading.Event()
        clerks = [Clerk(site, number, is_over) for number in range(2)]
        importer = Importer(site, is_over)
        chance = random.Random(SEED)
        for each in (*clerks, importer):
            each.start()
        anchor = ""
        for number in range(KILLS):
            is_over.wait(chance.uniform(0.3, 1.5))
            strike(site, importer, chance, number)
            if number == KILLS // 2:
                anchor = sealed(site)
        saved = [len(each.saved) for each in clerks]
        until(
            lambda: (
                is_over.is_set()
                or all(len(each.saved) > known for each, known in zip(clerks, saved, strict=True))
            ),
            what="another booking by each, after the last kill",
        )
        is_over.set()
        for each in (*clerks, importer):
            each.join(60)
        assert not [clerk.refused for clerk in clerks if clerk.refused]
        acknowledged = importer.saved.union(*(clerk.saved for clerk in clerks))
        sent = importer.sent.union(*(clerk.sent for clerk in clerks))
        assert importer.saved, (site.database.folder / "import.log").read_text()
        with site.database.connect() as connection:
            assert list(faults(connection, acknowledged, sent)) == []
            # It would have been seen: whom the database does not hold is missed.
            assert list(faults(connection, {*acknowledged, "X"}, sent)) == ["X is lost"]
        done = site.manage("verify_audit", f"--anchor={anchor}")
        assert done.returncode == 0, done.stderr
        print(
            f"{KILLS} kills: {sum(len(each.saved) for each in clerks)} bookings "
            f"({sum(each.again for each in clerks)} sent again), {len(importer.saved)} files "
            f"in {importer.runs} runs"
        )


def strike(site: Site, importer: Importer, chance: random.Random, number: int) -> None:
    """Kill something, and start again what nobody else would."""
    targets = ["worker", "master", "import"] + ["postgres"] * site.database.is_postgres
    # Each in its turn, at first: a short run has them all.
    target = targets[number] if number < len(targets) else chance.choice(targets)
    if target == "worker":
        kill(*chance.sample(workers, 1) if (workers := site.workers()) else [])
    elif target == "import":
        importer.kill()
    elif target == "master":
        assert site.master
        site.master.kill()
        site.master.wait()
        site.start()
    else:
        assert isinstance(site.database, Postgres)
        site.database.kill()
        site.database.start()


def sealed(site: Site) -> str:
    """Have the trail sealed, and keep what the seal says."""
    done = site.manage("verify_audit")
    found = re.search(r"Last seal: (\d+:[0-9a-f]{64})", done.stdout)
    assert found, done.stderr
    return found[1]
