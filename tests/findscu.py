"""DCMTK's findscu as a foreign witness: what it asks, and what it was told."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from tests import tools

STEP = "(0040,0100)"
IN_STEP = f"{STEP}[0]."
STEP_ID = f"{IN_STEP}ScheduledProcedureStepID"
DATE = f"{IN_STEP}ScheduledProcedureStepStartDate"
TIME = f"{IN_STEP}ScheduledProcedureStepStartTime"
UNICODE = "SpecificCharacterSet=ISO_IR 192"
_STATUS = re.compile(r"DIMSE Status\s*: 0x([0-9a-f]{4})")


@dataclass(frozen=True)
class Found:
    """What findscu heard: the pendings' statuses, the last one, the answers, and what it says."""

    pendings: list[str]
    final: str
    answers: list[Dataset]
    output: str

    @property
    def ids(self) -> str:
        return " ".join(
            str(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)
            for answer in self.answers
        )


class Findscu:
    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.asked = 0

    def ask(self, *keys: str | bytes, options: tuple[str, ...] = ("-xi",)) -> Found:
        """Ask with these keys, each as findscu spells them: path=value."""
        self.asked += 1
        folder = self.folder / str(self.asked)
        folder.mkdir()
        return self.ask_into(folder, *keys, options=options)

    def ask_into(self, folder: Path, *keys: str | bytes, options: tuple[str, ...]) -> Found:
        program = tools.findscu()
        assert program is not None
        command: list[str | bytes | Path] = [program, "-d", "-W", "-X", "-od", folder]
        command += ["-aet", "CT1", "-aec", "WORKLIST", *options]
        for key in keys:
            command += ["-k", key]
        run = subprocess.run(
            [*command, "127.0.0.1", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        output = run.stdout.decode("utf-8", "backslashreplace")
        statuses = _STATUS.findall(output)
        assert statuses, output
        answers: list[Dataset] = [dcmread(path) for path in sorted(folder.glob("rsp*.dcm"))]
        assert len(answers) == len(statuses) - 1
        return Found(statuses[:-1], statuses[-1], answers, output)

    def table(self, path: str, expected: dict[str, str], *more: str) -> None:
        """Each value, as the key at this path, finds the steps of these IDs."""
        found = {
            value: self.ask(UNICODE, f"{path}={value}", STEP_ID, *more).ids for value in expected
        }
        assert found == expected
