"""The demo: both servers on this machine, on demo data in a database of its own.

It only starts processes, each a command line that could be typed, so neither Django nor DICOM is
needed here; nothing that an installation needs may live here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from worklist import children

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
DATABASE = VAR / "demo.sqlite3"
OWN_URL = f"sqlite:///{DATABASE}"
LOCK = VAR / "demo.lock"
AE_TITLE = "WORKLIST"
READY_WITHIN = 60.0  # seconds
STOPPED_WITHIN = 10.0  # seconds

READY = """
The broker is running, with demo data.

  Web       {web}
  DICOM     {host} port {port}, AE title {ae_title}

  Accounts  clerk         clerk-demo
            technologist  technologist-demo
            supervisor    supervisor-demo
            auditor       auditor-demo
            admin         admin-demo

  Ask for the worklist as scanner CT1, with DCMTK or without:
    findscu -v -W -aet CT1 -aec {ae_title} {host} {port} -k PatientName -k PatientID \\
      -k "ScheduledProcedureStepSequence[0].Modality=CT" \\
      -k "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate"
    {python} manage.py {find}
"""

DATABASE_IS_ANOTHER = """\
DATABASE_URL names a database that is not the demo's own. Unset it to run the demo beside it, or
give --force to put the demo's data and accounts into it."""


class CannotRunError(Exception):
    """The demo cannot run, or has ended by itself; the text says why and what to do."""


@dataclass(frozen=True)
class Places:
    """Where the two servers listen."""

    web_host: str
    web_port: int
    dicom_host: str
    dicom_port: int

    @property
    def web(self) -> str:
        return f"http://{reachable(self.web_host)}:{self.web_port}/"

    @property
    def peer(self) -> tuple[str, ...]:
        """The arguments with which our own DICOM client finds the server."""
        host = reachable(self.dicom_host)
        return ("--host", host, "--port", str(self.dicom_port), "--ae-title", AE_TITLE)


def run(*, check: bool, reset: bool, force: bool) -> int:
    """Run until stopped, or with `check` until it has answered once; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        refuse_another_database(reset=reset, force=force)
        with alone() as lock:
            if reset:
                for suffix in ("", "-wal", "-shm"):
                    DATABASE.with_name(DATABASE.name + suffix).unlink(missing_ok=True)
            places = free_places()
            lock.write(places.web)
            lock.flush()
            serve(places, check=check)
    except CannotRunError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo has stopped.")
    return 0


def refuse_another_database(*, reset: bool, force: bool) -> None:
    """Refuse to fill, or to reset, a database that is in use for something else."""
    if not is_another_database():
        return
    if not force:
        raise CannotRunError(DATABASE_IS_ANOTHER)
    if reset:
        raise CannotRunError(
            "--reset removes the demo's own database only, not that of DATABASE_URL."
        )


def is_another_database() -> bool:
    given = os.environ.get("DATABASE_URL", "")
    return "DATABASE_URL_FILE" in os.environ or given not in ("", OWN_URL)


@contextmanager
def alone() -> Iterator[TextIO]:
    """Hold the lock that lets one demo run at a time; yield the file to write the address to."""
    VAR.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            address = lock.read() or "it is about to start"
            raise CannotRunError(f"The demo is already running: {address}") from None
        lock.truncate(0)
        yield lock


def free_places() -> Places:
    """Return where to listen: as the environment says, or on the next port that is free."""
    web_host, _, web_port = os.environ.get("WEB_BIND", "127.0.0.1:8000").rpartition(":")
    dicom_host = os.environ.get("DICOM_BIND", "127.0.0.1")
    dicom_port = os.environ.get("DICOM_PORT", "11112")
    return Places(
        web_host=web_host,
        web_port=free_port("web", web_host, int(web_port)),
        dicom_host=dicom_host,
        dicom_port=free_port("DICOM", dicom_host, int(dicom_port)),
    )


def free_port(server: str, host: str, wanted: int) -> int:
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            # As the servers do: a port whose last connections are still fading is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise CannotRunError(
                    f"{server}: cannot listen on {host}:{port}: {error}"
                ) from error
        if port != wanted:
            print(f"{server}: port {wanted} is taken, using {port}")
        return port
    raise CannotRunError(f"{server}: no port is free from {wanted} on")


def reachable(host: str) -> str:
    """Return the address at which this machine itself reaches a server that listens there."""
    return "127.0.0.1" if host in ("", "0.0.0.0") else host


def serve(places: Places, *, check: bool) -> None:
    """Prepare the data, run both servers; stop both when one ends or this process is told to."""
    environment = own_environment(places)
    prepare(environment)
    bind = ("--bind", places.dicom_host, "--port", str(places.dicom_port), "--ae-title", AE_TITLE)
    commands = {
        "web": gunicorn(f"{places.web_host}:{places.web_port}"),
        "DICOM": manage("runscp", *bind),
    }
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            servers[name] = children.start(command, cwd=ROOT, environment=environment)
        wait_until_ready(servers, places, environment)
        print(ready_text(places), flush=True)
        if check:
            ask_once(places, environment)
            return
        print("Ctrl-C stops both servers.", flush=True)
        pid, status = children.wait_for_first_end()
        ended = next((name for name, server in servers.items() if server.pid == pid), "unknown")
        raise CannotRunError(f"The {ended} server has ended, with status {status}.")
    finally:
        children.stop(servers.values(), within=STOPPED_WITHIN)


def own_environment(places: Places) -> dict[str, str]:
    """Return the environment of everything the demo starts: ours, less what an installation set."""
    hosts = ["127.0.0.1", "localhost", *filter(None, [os.environ.get("ALLOWED_HOSTS")])]
    own = {
        "DJANGO_SETTINGS_MODULE": "worklist.settings",
        "ALLOWED_HOSTS": ",".join(hosts),
        "HTTPS": "0",
        "DEMO": "1",
        "AE_TITLE": AE_TITLE,
        "WEB_BIND": f"{places.web_host}:{places.web_port}",
        # Whoever tries the demo calls by whatever name.
        "DICOM_ACCESS": os.environ.get("DICOM_ACCESS", "any"),
        "DICOM_BIND": places.dicom_host,
        "DICOM_PORT": str(places.dicom_port),
    }
    if not is_another_database():
        # A replica is that of the site's database.
        own |= {"DATABASE_URL": OWN_URL, "DATABASE_REPLICA_URL": ""}
    return {**os.environ, **own}


def prepare(environment: Mapping[str, str]) -> None:
    """Bring tables, demo data and static files up to date."""
    static = subprocess.Popen(
        manage("collectstatic", "--no-input", "--verbosity=0"), cwd=ROOT, env=environment
    )
    try:
        for step in (("migrate", "--verbosity=0"), ("loaddemo",)):
            must_succeed(step, subprocess.call(manage(*step), cwd=ROOT, env=environment))
        must_succeed(("collectstatic",), static.wait())
    finally:
        children.stop([static], within=STOPPED_WITHIN)


def must_succeed(step: Sequence[str], status: int) -> None:
    if status != 0:
        raise CannotRunError(f"manage.py {' '.join(step)} ended with status {status}; see above.")


def wait_until_ready(
    servers: Mapping[str, subprocess.Popen[bytes]], places: Places, environment: Mapping[str, str]
) -> None:
    """Wait until the web server says it is well and the DICOM server answers a C-ECHO."""

    def web_answers() -> bool:
        # No proxy: one that is set for the outside world does not lead to this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{places.web}readyz", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def dicom_answers() -> bool:
        command = manage("echo", *places.peer)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    deadline = time.monotonic() + READY_WITHIN
    for name, answers in {"web": web_answers, "DICOM": dicom_answers}.items():
        while not answers():
            for other, server in servers.items():
                if server.poll() is not None:
                    raise CannotRunError(
                        f"The {other} server has ended, with status {server.returncode}."
                    )
            if time.monotonic() > deadline:
                raise CannotRunError(
                    f"The {name} server does not answer after {READY_WITHIN:.0f} s."
                )
            time.sleep(0.1)


def ask_once(places: Places, environment: Mapping[str, str]) -> None:
    """Ask for the whole worklist, as a modality does, and end unless it names a patient."""
    find = manage("find", *places.peer)
    found = subprocess.run(
        find, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    print(found.stdout)
    must_succeed(("find",), found.returncode)
    # Family name^given name: a table's heading alone, or "no match", has no caret.
    if "^" not in found.stdout:
        raise CannotRunError("The DICOM server answered, but its worklist names no patient.")


def ready_text(places: Places) -> str:
    return READY.format(
        web=places.web,
        host=reachable(places.dicom_host),
        port=places.dicom_port,
        ae_title=AE_TITLE,
        python=python_as_typed(),
        find=" ".join(("find", *places.peer)),
    )


def python_as_typed() -> str:
    """Return this Python as one types it in the checkout: a bare `python3` may have no packages."""
    own = Path(sys.executable)
    return str(own.relative_to(ROOT)) if own.is_relative_to(ROOT) else str(own)


def manage(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *words]


def gunicorn(bind: str) -> list[str]:
    options = ["--bind", bind, "--worker-class", "gthread", "--threads", "8"]
    options += ["--log-level", "warning", "--no-control-socket"]
    return [sys.executable, "-m", "gunicorn", *options, "worklist.wsgi:application"]
