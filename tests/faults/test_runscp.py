"""Peers that misbehave at a real `runscp`: others are answered as usual, and nothing stays."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.cast import step
from tests.faults.running import Running
from tests.processes import STOPS_WITHIN, Start, first_line, runscp
from tests.raw import (
    ABORT,
    ABORTED,
    CANCELLED,
    HERE,
    PENDING,
    RELEASE,
    SUCCESS,
    cancel,
    echo,
    find,
    pdu,
    request,
)
from tests.test_wire import steps
from tests.waiting import until

__all__ = ["runscp"]

BOUNDS = {
    "DICOM_REQUEST_SECONDS": "2",
    "DICOM_PDU_SECONDS": "1",
    "DICOM_SEND_SECONDS": "1",
    "DICOM_MAX_CONNECTIONS_PER_ADDRESS": "300",
    "DICOM_ACCESS": "any",
    "DICOM_DATABASE_CONNECTIONS": "2",
}


def started(process: subprocess.Popen[str]) -> Running:
    port = first_line(process).partition("127.0.0.1:")[2].partition(",")[0]
    return Running(process.pid, int(port))


def stopped(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=STOPS_WITHIN)
    assert process.returncode == 0
    assert "Traceback" not in err


@pytest.fixture
def running(runscp: Start) -> Iterator[Running]:
    step()
    process = runscp("--port", "0", **BOUNDS)
    running = started(process)
    yield running
    until(running.is_as_before, "something is left behind")
    running.serves_as_usual()
    stopped(process)


def test_port_scans(running: Running) -> None:
    for _ in range(200):
        running.call().socket.close()
    running.serves_as_usual()


def test_silent_and_slow_ones(running: Running) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(running.call()) for _ in range(100)]
        for number, peer in enumerate(peers):
            peer.send(request()[: (0, 1, 6, 50)[number % 4]])
        running.serves_as_usual()
        for peer in peers:
            assert peer.is_hung_up_on()


def test_associations_that_idle(running: Running) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(running.call()).associate() for _ in range(90)]
        running.serves_as_usual()
        for peer in peers:
            peer.send(echo())
            peer.receive()
            peer.release()


def test_garbage(running: Running) -> None:
    chance = random.Random(3)
    for number in range(200):
        with running.call() as peer:
            if number % 3:
                peer.associate()
            with suppress(OSError):
                peer.send(chance.randbytes(chance.randrange(10, 200)), ABORT)
                peer.socket.shutdown(1)
            peer.rest()
    running.serves_as_usual()


def test_lengths_without_end(running: Running) -> None:
    before = running.memory()
    for number in range(10):
        with running.call() as peer:
            if number % 2:
                peer.associate()
            with suppress(OSError):
                peer.send(pdu(4 if number % 2 else 1, b"", length=0xFFFFFFFF))
                for _ in range(1000):
                    peer.send(bytes(16384))
    assert running.memory() - before < 8 * 1024


def test_readers_that_do_not_read(running: Running) -> None:
    steps(600, PatientComments="x" * 10000)
    with ExitStack() as stack:
        identifier = bytes.fromhex("1000004000000000")
        for _ in range(4):
            peer = stack.enter_context(running.call(receives=4096)).associate()
            peer.send(find(1, identifier))
            peer.read(1)
        with running.call() as good:
            good.associate()
            good.send(echo())
            good.receive()
            good.release()
        until(running.is_as_before, "a reader that does not read is kept", within=60)
    # All of it is a large answer: what is usual is another thing now.
    running.usual = running.answered_in()


def test_cancels_releases_and_aborts_in_the_middle(running: Running) -> None:
    steps(300)
    running.usual = running.answered_in()
    for number in range(60):
        with running.call() as peer:
            peer.associate()
            what = (cancel(1), RELEASE, ABORT, b"")[number % 4]
            peer.send(find(1), *([what] if number % 8 < 4 else []))
            if number % 8 >= 4:
                peer.receive(), peer.receive()
                peer.send(what)
            if number % 4 == 0:
                assert peer.statuses()[-1] in (CANCELLED, SUCCESS)
            elif number % 4 == 1:
                assert peer.rest()[-10] in (ABORTED, 6)
            elif number % 4 == 2:
                peer.rest()


def test_a_stop_with_all_of_them_there(runscp: Start) -> None:
    step()
    process = runscp("--port", "0", **BOUNDS)
    running = started(process)
    with ExitStack() as stack:
        for begun in (0, 1, 30):
            stack.enter_context(running.call()).send(request()[:begun])
        stack.enter_context(running.call()).associate()
        stack.enter_context(running.call()).associate().send(echo()[:3])
        stopped(process)


def test_a_stop_lets_an_answer_end_that_is_on_its_way(runscp: Start) -> None:
    step()
    steps(600, PatientComments="x" * 10000)
    process = runscp("--port", "0", **{**BOUNDS, "DICOM_SEND_SECONDS": "15"})
    running = started(process)
    with running.call(receives=4096) as peer:
        peer.associate()
        peer.send(find(1, bytes.fromhex("1000004000000000")))
        peer.socket.recv(1, socket.MSG_PEEK)
        process.send_signal(signal.SIGTERM)
        # It has heard: nobody is let in any more.
        until(lambda: not is_let_in(running.port))
        assert peer.statuses() == [PENDING] * 601 + [SUCCESS]
        peer.release()
    _, err = process.communicate(timeout=STOPS_WITHIN)
    assert (process.returncode, "Traceback" in err) == (0, False)


def is_let_in(port: int) -> bool:
    try:
        socket.create_connection((HERE, port)).close()
    except OSError:
        return False
    return True


def test_its_port_is_free_at_once_when_it_was_killed(runscp: Start) -> None:
    step()
    first = runscp("--port", "0", **BOUNDS)
    running = started(first)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(running.call()).associate()
        first.kill()
        second = started(runscp("--port", str(running.port), **BOUNDS))
        assert second.port == running.port
        second.serves_as_usual()
