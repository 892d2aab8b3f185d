"""What peers may send that is no query, at a real `runscp`: others are answered as usual meanwhile.

What each hears is in test_connections, test_messages and test_answers down to the last byte. Here
all of it comes to one process that goes on, which has nothing of it left afterwards.
"""

from __future__ import annotations

import random
import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from benchmarks import figures
from tests.faults.databases import Sqlite
from tests.faults.running import Running
from tests.faults.site import Site, site_of
from tests.faults.test_messages import (
    COMMAND,
    FIND,
    LAST_COMMAND,
    NO_MESSAGES,
    comes_to_an_end,
    data,
    mutated,
)
from tests.raw import (
    ABORTED,
    ACCEPTED,
    ANYBODY,
    HERE,
    PENDING,
    REJECTED,
    SUCCESS,
    WORKLIST,
    Peer,
    cancel,
    echo,
    find,
    pdv,
    request,
)
from tests.waiting import until

IDLE, SILENT = 500, 600
BOUNDS = {
    "DICOM_REQUEST_SECONDS": "20",
    "DICOM_PDU_SECONDS": "2",
    "DICOM_MAX_ASSOCIATIONS": str(2 * IDLE),
    "DICOM_MAX_CONNECTIONS": "2000",
    "DICOM_MAX_CONNECTIONS_PER_ADDRESS": "2000",
    "DICOM_DATABASE_CONNECTIONS": "2",
}
# It does not match the SOP Class, or cannot be read at all (PS3.4 K.4.1.1.4).
NO_MATCH, UNREADABLE = 0xA900, 0xC001


@pytest.fixture(scope="module")
def descriptors() -> Iterator[None]:
    """As many as a service may have, for the broker and for all of its peers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def site(descriptors: None) -> Iterator[Site]:
    with site_of(Sqlite(), **BOUNDS) as site:
        site.book(1)
        yield site


@pytest.fixture(scope="module")
def process(site: Site) -> Running:
    port = site.start_scp()
    assert site.scp
    return Running(site.scp.pid, port)


@pytest.fixture
def running(site: Site, process: Running) -> Iterator[Running]:
    yield process
    until(process.is_as_before, "something is left behind")
    until(process.is_no_larger, "memory is left behind")
    process.serves_as_usual()
    assert "Traceback" not in site.scp_log.read_text("utf-8")


@contextmanager
def meanwhile(running: Running) -> Iterator[None]:
    """Another peer is answered as usual while something goes on, again and again."""
    is_over = threading.Event()

    def ask() -> None:
        while True:
            running.serves_as_usual()
            if is_over.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            is_over.set()
        asking.result()


def test_200_connect_at_once(running: Running) -> None:
    together = threading.Barrier(200)

    def one(_: int) -> bool:
        together.wait()
        with running.call() as peer:
            peer.associate()
            peer.send(find())
            is_answered = peer.statuses()[-1] == SUCCESS
            peer.release()
            return is_answered

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(one, range(200)))


def test_500_idle_associations_beyond_descriptor_1023(running: Running) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * (IDLE + SILENT):
        pytest.skip("the system allows fewer descriptors")
    with ExitStack() as stack:
        silent = [stack.enter_context(running.call()) for _ in range(SILENT)]
        peers = [stack.enter_context(running.call()).associate() for _ in range(IDLE)]
        files, threads = running.held()
        assert files > 1023
        before = figures.cpu(running.pid)
        threading.Event().wait(1.0)
        assert figures.cpu(running.pid) - before < 0.2
        running.serves_as_usual()
        for peer in peers:
            peer.send(echo())
        for peer in peers:
            peer.receive()
            peer.release()
        for peer in silent:
            peer.socket.close()
    assert threads < 2 * (IDLE + SILENT)


def test_what_has_no_end(running: Running) -> None:
    piece = bytes(16000)
    endless = {
        "command": (b"", data(pdv(WORKLIST, COMMAND, piece))),
        "Identifier": (data(pdv(WORKLIST, LAST_COMMAND, FIND)), data(pdv(WORKLIST, 0, piece))),
    }
    before = running.memory()
    with meanwhile(running):
        for first, more in list(endless.values()) * 5:
            with running.call() as peer:
                peer.associate()
                with suppress(OSError):
                    peer.send(first)
                    for _ in range(5000):
                        peer.send(more)
                with suppress(OSError):
                    assert peer.rest()[:1] in (b"", bytes((ABORTED,)))
    assert running.memory() - before < 8 * 1024


def nested(depth: int) -> bytes:
    """Sequences in sequences, of lengths that are not told (Implicit VR Little Endian)."""
    begin = bytes.fromhex("40000001ffffffff feff00e0ffffffff")
    end = bytes.fromhex("feff0de000000000 feffdde000000000")
    return begin * depth + end * depth


def status_of(running: Running, identifier: bytes) -> tuple[int, str]:
    with running.call() as peer:
        peer.associate()
        peer.send(find(1, identifier))
        *pending, status = peer.statuses()
        assert not pending or status == SUCCESS
        peer.release()
        return status, peer.comment


def test_sequences_without_a_bottom(running: Running) -> None:
    with meanwhile(running):
        for _ in range(20):
            assert status_of(running, nested(8000)) == (NO_MATCH, "sequences deeper than 6 levels")
        for _ in range(5):
            with running.call() as peer:
                peer.associate()
                with suppress(OSError):
                    peer.send(find(1, nested(50_000)))
                with suppress(OSError):
                    assert peer.rest()[:1] in (b"", bytes((ABORTED,)))


def test_elements_that_end_beyond_the_identifier(running: Running) -> None:
    longer = bytes.fromhex("1000200000000070") + b"P1"
    with meanwhile(running):
        for identifier in (longer, ANYBODY + longer, ANYBODY[:-3], b"\xff" * 40):
            status, comment = status_of(running, identifier)
            assert status == UNREADABLE
            assert comment.startswith("Identifier damaged")


@pytest.mark.parametrize("spoken", NO_MESSAGES)
def test_what_is_no_message(running: Running, spoken: bytes) -> None:
    for _ in range(5):
        with running.call() as peer:
            peer.associate()
            peer.send(spoken)
            assert peer.rest()[0] == ABORTED


def in_turn(running: Running, number: int, *, seed: int, talk: Callable[..., None]) -> None:
    """Have so many peers talk, four at a time; each has its own chance."""

    def one(turn: int) -> None:
        with running.call() as peer:
            talk(peer, turn, random.Random(f"{seed} {turn}"))
            comes_to_an_end(peer)

    with meanwhile(running), ThreadPoolExecutor(4) as pool:
        for _ in pool.map(one, range(number)):
            pass


def test_2000_mutated_requests(running: Running) -> None:
    def talk(peer: Peer, turn: int, chance: random.Random) -> None:
        peer.send(mutated(request(), chance))

    in_turn(running, 2000, seed=11, talk=talk)


def test_2000_mutated_queries(running: Running) -> None:
    spoken = [find(1), echo(2), cancel(1), find(3) + cancel(3)]

    def talk(peer: Peer, turn: int, chance: random.Random) -> None:
        peer.associate()
        with suppress(OSError):
            peer.send(mutated(spoken[turn % len(spoken)], chance))

    in_turn(running, 2000, seed=12, talk=talk)


def test_cancels_of_unknown_requests(running: Running) -> None:
    with running.call() as peer:
        peer.associate()
        peer.send(*(cancel(number) for number in range(100, 140)))
        for number in range(1, 12):
            peer.send(find(number), *(cancel(1000 + each) for each in range(12)))
            assert peer.statuses() == [PENDING, SUCCESS]
        peer.release()


@pytest.mark.parametrize("maximum", [1, 7, 16, 127])
def test_pdus_of_a_few_bytes_are_not_agreed_to(running: Running, maximum: int) -> None:
    with running.call() as peer:
        peer.send(request(maximum=maximum))
        assert peer.receive()[0] == REJECTED


@pytest.mark.parametrize(
    ("syntax", "result"),
    [
        (ImplicitVRLittleEndian, 0),
        (ExplicitVRLittleEndian, 0),
        (DeflatedExplicitVRLittleEndian, 4),
        (ExplicitVRBigEndian, 4),
    ],
)
def test_nothing_is_inflated(running: Running, syntax: str, result: int) -> None:
    """PS3.8 9.3.3.2: 4 is "transfer syntaxes not supported"; a bomb is never unpacked."""
    with running.call() as peer:
        peer.send(request(syntax=syntax))
        answer = peer.receive()
        assert answer[0] == ACCEPTED
        at = answer.index(b"\x21\0", 74)
        assert (answer[at + 4], answer[at + 6]) == (WORKLIST, result)


def test_4000_associations_in_a_row(running: Running) -> None:
    def churn() -> None:
        for number in range(1000):
            with Peer(running.port, host=HERE) as peer:
                peer.associate()
                if number % 4 == 0:
                    peer.send(find())
                elif number % 4 == 1:
                    peer.reset()
                else:
                    peer.release()

    grown = []
    for _ in range(4):
        before = running.memory()
        churn()
        until(running.is_as_before)
        grown.append(running.memory() - before)
    # An allocator takes its pages now and then; what leaks is taken each time.
    assert min(grown) < 512, grown
