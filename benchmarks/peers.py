"""The servers that are compared: wlmscpfs and Orthanc as Debian brings them, and ours.

Each as it is shipped, but for this: Nagle's algorithm is off everywhere (DCMTK, on which both peers
stand, reads TCP_NODELAY), and whoever asks is let in.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data, figures, load
from benchmarks.data import AE_TITLE, ROOT, Entries
from benchmarks.packets import WrongAnswerError
from worklist import children

_READY_WITHIN = 60.0  # seconds
_STOPS_WITHIN = 15.0
_ORTHANC = ("Orthanc", "/usr/sbin/Orthanc")
_PLUGINS = (
    "/usr/share/orthanc/plugins/libModalityWorklists.so",
    "/usr/lib/orthanc/libModalityWorklists.so",
    "/usr/local/share/orthanc/plugins/libModalityWorklists.so",
)


class MissingError(Exception):
    """A server that is not on this machine, or does not start; the text says what to do."""


@dataclass(frozen=True)
class Server:
    """One that runs: its name, its port, and the processes whose costs are counted."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    database: int = 0  # PostgreSQL's first process

    def costs(self) -> tuple[float, float]:
        """Seconds of processor time so far: its own, and the database's."""
        database = figures.cpu(self.database) if self.database else 0.0
        return figures.cpu(self.process.pid), database

    def faults(self) -> list[str]:
        """What it says went wrong."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if " ERROR " in line or line.startswith("Traceback")]


@contextmanager
def wlmscpfs(entries: Entries, *, folder: Path) -> Iterator[Server]:
    """DCMTK's worklist server, in its default mode: a process for each association."""
    program = shutil.which("wlmscpfs")
    if program is None:
        raise MissingError("wlmscpfs is not installed (Debian: apt-get install dcmtk)")
    assert entries.files is not None
    # It will not serve a folder without this.
    (entries.files / AE_TITLE / "lockfile").touch()
    port = free_port()
    command = [program, "-dfp", str(entries.files), str(port)]
    with _running("wlmscpfs", command, port, folder, {**os.environ, "TCP_NODELAY": "1"}) as server:
        yield server


@contextmanager
def orthanc(entries: Entries, *, folder: Path) -> Iterator[Server]:
    """Orthanc with its own worklist plugin, which reads the same files."""
    program = next(filter(None, map(shutil.which, _ORTHANC)), None)
    plugin = next((path for path in _PLUGINS if Path(path).exists()), None)
    if program is None or plugin is None:
        raise MissingError("Orthanc with ModalityWorklists: apt-get install orthanc")
    assert entries.files is not None
    port, own = free_port(), folder / "orthanc"
    own.mkdir(exist_ok=True)
    settings = {
        "Name": "benchmark",
        "StorageDirectory": str(own),
        "IndexDirectory": str(own),
        "Plugins": [plugin],
        "HttpServerEnabled": False,
        "DicomServerEnabled": True,
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "DicomAlwaysAllowFindWorklist": True,
        "Worklists": {"Enable": True, "Database": str(entries.files / AE_TITLE)},
    }
    (own / "orthanc.json").write_text(json.dumps(settings))
    environment = {**os.environ, "TCP_NODELAY": "1"}
    command = [program, str(own / "orthanc.json")]
    with _running("Orthanc", command, port, folder, environment) as server:
        yield server


@contextmanager
def ours(
    name: str, database: str, *, folder: Path, workers: int = 1, most_associations: int = 100
) -> Iterator[Server]:
    """`manage.py runscp` on that database."""
    port, postmaster = free_port(), 0
    if not database.startswith("sqlite"):
        with data.connected(database) as connection:
            postmaster = data.postmaster(connection)
    command = [sys.executable, "manage.py", "runscp", "--bind=127.0.0.1", f"--port={port}"]
    if workers > 1:
        command.append(f"--workers={workers}")
    # All clients have one address here.
    environment = data.environment(
        database,
        DICOM_MAX_ASSOCIATIONS=str(most_associations),
        DICOM_MAX_CONNECTIONS=str(most_associations + 400),
        DICOM_MAX_CONNECTIONS_PER_ADDRESS=str(most_associations + 400),
    )
    with _running(name, command, port, folder, environment, database=postmaster) as server:
        yield server


@contextmanager
def _running(
    name: str,
    command: list[str],
    port: int,
    folder: Path,
    environment: Mapping[str, str],
    *,
    database: int = 0,
) -> Iterator[Server]:
    log = folder / f"{name.replace(' ', '-')}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=children.die_with_parent,
        )
    server = Server(name, port, process, log, database)
    try:
        _wait_for(server)
        yield server
    finally:
        children.stop([process], within=_STOPS_WITHIN)


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        try:
            load.knock(server.port)
        except (OSError, WrongAnswerError) as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                said = server.log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
                raise MissingError(f"{server.name} does not start: {said or error}") from None
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of the peers that were found."""
    told = {}
    for name, programs in (("wlmscpfs", ("wlmscpfs",)), ("Orthanc", _ORTHANC)):
        program = next(filter(None, map(shutil.which, programs)), None)
        if name in names and program:
            done = subprocess.run(
                [program, "--version"], capture_output=True, text=True, check=False
            )
            told[name] = done.stdout.strip().splitlines()[0].strip("$ ")
    return told
