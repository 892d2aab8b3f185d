"""`runscp --workers`: real processes on one port, killed, frozen, renewed and drained."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import figures, load, queries
from benchmarks.load import Load
from benchmarks.packets import WrongAnswerError
from dicomscp import ports, server
from dicomscp.wire.server import WorklistServer
from tests import tools
from tests.cast import step
from tests.processes import (
    STARTS_WITHIN,
    STOPS_WITHIN,
    Start,
    first_line,
    refusal,
    runscp,
    signed_activity,
)
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent
__all__ = ["runscp"]  # a fixture
# Nobody reads the log before the end: a line for each query would fill its pipe.
QUIET = {"LOG_LEVEL": "WARNING"}
# How often the workers are renewed under load.
RENEWALS = 10


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    return set(figures.family(process.pid)) - {process.pid}


def started(process: subprocess.Popen[str], count: int) -> tuple[int, set[int]]:
    """The port and the workers of a runscp that has started."""
    line = first_line(process)
    assert line.startswith("Worklist SCP WORKLIST on 127.0.0.1:"), line
    assert line.endswith(f", {count} workers\n")
    assert len(workers_of(process)) == count
    return int(line.partition("127.0.0.1:")[2].partition(",")[0]), workers_of(process)


def stopped(process: subprocess.Popen[str]) -> str:
    """What it said when it was told to stop, to the log."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=STOPS_WITHIN + 2)
    assert (process.returncode, out) == (0, "Worklist SCP stopped\n")
    assert "Traceback" not in err
    return err


def question(port: int) -> Load:
    """For the one step that there is."""
    return Load(port, "CT1", queries.identifier({}, {"Modality": "CT"}).hex(), matches=1)


class Asking:
    """Modalities that ask again after a pause, each query on an association of its own."""

    def __init__(self, port: int, *, modalities: int = 4, pause: float = 0.0) -> None:
        self._pause = pause
        self.failures: list[str] = []
        self.answered = 0
        self._load = question(port)
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(modalities)
        self._modalities = [self._pool.submit(self._ask) for _ in range(modalities)]

    def _ask(self) -> None:
        while not self._is_over.wait(self._pause):
            try:
                load.check(self._load)
                self.answered += 1
            except (OSError, WrongAnswerError) as error:
                self.failures.append(repr(error))

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._pool.shutdown()


# --- runscp ---------------------------------------------------------------------------------------


@pytest.mark.database
def test_workers_share_the_port_and_drain_when_the_parent_is_told_to_stop(runscp: Start) -> None:
    step(ScheduledProcedureStepID="S1")
    process = runscp("--port", "0", "--workers", "2", **QUIET)
    port, workers = started(process, 2)
    with Asking(port) as asking:
        until(lambda: asking.answered >= 20, "answers")
        assert {pid for pid in workers if figures.cpu(pid) > 0} == workers
    assert asking.failures == []
    idle = socket.create_connection(("127.0.0.1", port))
    with idle:
        stopped(process)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert signed_activity() == ["start", "stop"]
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.database
def test_a_worker_that_is_killed_is_replaced_and_the_others_serve_on(runscp: Start) -> None:
    step(ScheduledProcedureStepID="S1")
    process = runscp("--port", "0", "--workers", "2", **QUIET)
    port, workers = started(process, 2)
    killed = min(workers)
    with Asking(port) as asking:
        until(lambda: asking.answered > 0, "an answer")
        os.kill(killed, signal.SIGKILL)
        # Only what it had accepted itself is lost.
        until(lambda: not Path(f"/proc/{killed}").exists(), "the end of the worker")
        before = asking.answered
        until(lambda: asking.answered > before + 5, "answers of the other")
        until(lambda: len(workers_of(process) - {killed}) == 2, "a new worker")
        assert len(asking.failures) <= 4
    said = stopped(process)
    assert f"worker 1 (process {killed}) was ended by SIGKILL: it is replaced now" in said


@pytest.mark.timeout(60 + 30 * RENEWALS)
def test_renewing_the_workers_fails_no_association(runscp: Start) -> None:
    step(ScheduledProcedureStepID="S1")
    process = runscp("--port", "0", "--workers", "2", **QUIET)
    port, workers = started(process, 2)
    # With time between them in which the new ones start: they are what takes long.
    with Asking(port, pause=0.03) as asking:
        for _ in range(RENEWALS):
            answered = asking.answered
            process.send_signal(signal.SIGHUP)
            counts: list[int] = []

            def are_new(old: set[int] = workers, counts: list[int] = counts) -> bool:
                now = workers_of(process)
                counts.append(len(now))
                return len(now) == 2 and not now & old

            until(are_new, "new workers", within=40)
            assert min(counts) >= 2, "an old one left before its successor had come"
            workers = workers_of(process)
            assert asking.answered > answered
    assert asking.failures == []
    assert asking.answered > 10 * RENEWALS
    stopped(process)


def test_a_worker_that_is_frozen_is_killed_and_replaced(runscp: Start) -> None:
    process = runscp("--port", "0", "--workers", "2")
    _, workers = started(process, 2)
    frozen = max(workers)
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: not Path(f"/proc/{frozen}").exists(), "the end of the worker")
    until(lambda: len(workers_of(process)) == 2, "a new worker")
    said = stopped(process)
    assert f"worker 2 (process {frozen}) gives no sign of life for 6 s: it is killed" in said


def test_workers_leave_the_port_when_their_parent_is_killed(runscp: Start) -> None:
    process = runscp("--port", "0", "--workers", "2")
    port, workers = started(process, 2)
    process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers' end")
    socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_is_taken_is_told_with_who_holds_it(runscp: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(runscp("--port", str(port), "--workers", "2"))
        assert f"Port {port} on 127.0.0.1 is taken by " in said
        assert said.endswith(f", process {os.getpid()}.")
        assert ports.holder(port).endswith(f"process {os.getpid()}")
    assert ports.holder(port) == ""


def test_a_second_runscp_is_told_of_the_first(runscp: Start) -> None:
    first = runscp("--port", "0")
    port = first_line(first).partition("127.0.0.1:")[2].partition(",")[0]
    said = refusal(runscp("--port", port))
    assert said.endswith(f"is taken by runscp, process {first.pid}.")


def test_who_is_stopped_before_it_serves_has_neither_started_nor_stopped(runscp: Start) -> None:
    process = runscp("--port", "0", "--workers", "2")
    until(lambda: len(workers_of(process)) == 2, "workers that start")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=STOPS_WITHIN + 2)
    assert (process.returncode, out) == (0, "Worklist SCP stopped\n")
    assert signed_activity() == []


def test_no_worker_is_no_server(runscp: Start) -> None:
    assert "--workers is 1 or more." in refusal(runscp("--workers", "0"))


def test_a_loop_that_hangs_does_not_count_as_accepting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_TURNS_WITHIN", 0.5)
    goes_on = threading.Event()
    goes_on.set()
    goes_round = WorklistServer.service_actions

    def hang(listening: WorklistServer) -> None:
        goes_on.wait(STOPS_WITHIN)
        goes_round(listening)

    monkeypatch.setattr(WorklistServer, "service_actions", hang)
    scp = server.WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    try:
        assert scp.is_accepting
        goes_on.clear()
        until(lambda: not scp.is_accepting, "the loop to be missed")
        goes_on.set()
        until(lambda: scp.is_accepting, "the loop to go on")
    finally:
        goes_on.set()
        scp.stop()


# --- systemd --------------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which a service manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(STARTS_WITHIN)
        yield line


def heard(manager: socket.socket, word: str) -> str:
    """The next message with this word; signs of life come in between."""
    while True:
        message = manager.recv(4096).decode()
        if word in message:
            return message


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_manager_is_told(runscp: Start, manager: socket.socket, workers: str) -> None:
    told = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1500000"}
    process = runscp("--port", "0", "--workers", workers, **told)
    assert heard(manager, "READY=1") == "READY=1"
    first_line(process)
    assert heard(manager, "WATCHDOG") == "WATCHDOG=1"
    if workers == "2":
        process.send_signal(signal.SIGHUP)
        assert heard(manager, "RELOADING=1").startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert heard(manager, "READY=1") == "READY=1"
    process.send_signal(signal.SIGTERM)
    assert heard(manager, "STOPPING=1") == "STOPPING=1"
    stopped(process)


HANDS_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="dicom")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_socket_of_the_service_manager_is_served(workers: str) -> None:
    step(ScheduledProcedureStepID="S1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, descriptor = listening.getsockname()[1], listening.fileno()
        words = ["manage.py", "runscp", "--bind", "127.0.0.1", "--workers", workers]
        process = subprocess.Popen(
            [sys.executable, "-c", HANDS_OVER, str(descriptor), *words],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": tools.database_url(),
                "DJANGO_SETTINGS_MODULE": "worklist.settings",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[descriptor],
        )
        try:
            # Whoever calls before there is anybody waits in the socket's queue.
            assert load.check(question(port)) > 0
            assert f" on 127.0.0.1:{port}, " in first_line(process)
            stopped(process)
        finally:
            process.kill()
            process.communicate()


# --- the supervisor by itself ---------------------------------------------------------------------

# Workers of its own, which do as the file that is named says.
PARENT = """
import logging, os, sys
from pathlib import Path
from dicomscp.workers import Supervisor
logging.basicConfig(level="INFO", format="%(message)s")
WORKER = '''
import os, sys, time
from pathlib import Path
does = Path(sys.argv[2]).read_text()
if does == "fail":
    sys.exit(3)
os.write(int(sys.argv[1]), b".")
while does != "die":
    os.write(int(sys.argv[1]), b".")
    time.sleep(0.2)
'''
sys.exit(Supervisor(
    count=2,
    command=lambda number, pulse: [sys.executable, "-c", WORKER, str(pulse), sys.argv[1]],
    sockets=[],
    cwd=Path.cwd(),
    environment=os.environ,
    at_ready=lambda: print("ready", flush=True),
).run())
"""


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    running = []

    def start() -> subprocess.Popen[str]:
        command: Sequence[str | Path] = [sys.executable, "-c", PARENT, tmp_path / "does"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


Supervise = Callable[[], "subprocess.Popen[str]"]


def test_workers_that_do_not_start_end_their_parent(supervise: Supervise, tmp_path: Path) -> None:
    (tmp_path / "does").write_text("fail")
    process = supervise()
    out, err = process.communicate(timeout=STOPS_WITHIN)
    assert (process.returncode, out) == (1, "")
    assert "ended with status 3 before it served" in err


def test_who_dies_again_and_again_is_replaced_ever_later(
    supervise: Supervise, tmp_path: Path
) -> None:
    does = tmp_path / "does"
    does.write_text("serve")
    process = supervise()
    assert first_line(process) == "ready\n"
    does.write_text("die")
    os.kill(min(workers_of(process)), signal.SIGKILL)
    assert process.stderr is not None
    said: list[str] = []
    while sum("worker 1 " in line for line in said) < 4:
        said.append(process.stderr.readline())
    waits = [line.rpartition("replaced ")[2] for line in said if "worker 1 " in line]
    assert waits == ["now\n", "in 0.5 s\n", "in 1 s\n", "in 2 s\n"]


def test_a_new_worker_that_does_not_serve_leaves_the_old_ones_in_place(
    supervise: Supervise, tmp_path: Path
) -> None:
    does = tmp_path / "does"
    does.write_text("serve")
    process = supervise()
    assert first_line(process) == "ready\n"
    workers = workers_of(process)
    does.write_text("fail")
    process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    assert "before it served: the others stay as they are" in process.stderr.readline()
    assert workers_of(process) == workers
    does.write_text("serve")
    process.send_signal(signal.SIGHUP)
    while "renewed" not in process.stderr.readline():
        pass
    assert not workers_of(process) & workers
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOPS_WITHIN) == 0
