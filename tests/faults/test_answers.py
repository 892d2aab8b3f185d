"""Peers in the middle of an answer: they cancel, leave, or do not read."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from time import process_time
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from dicomscp.wire.bounds import Bound
from tests.faults.conftest import Serve, answers
from tests.raw import (
    ABORT,
    ABORTED,
    ANYBODY,
    CANCELLED,
    PENDING,
    RELEASE,
    SUCCESS,
    cancel,
    echo,
    find,
    request,
)
from tests.waiting import until

# An Identifier of about 4 kB: a name, and a comment.
LARGE = ANYBODY + bytes.fromhex("10000040") + (4000).to_bytes(4, "little") + b"x" * 4000
BOTH = pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])


def dataset(size: int = 10) -> Dataset:
    found = Dataset()
    found.PatientName = "Doe^John"
    # A value without a bound on its length.
    found.add_new(0x00081190, "UR", "x" * size)
    return found


def endless(on_end: threading.Event, *, is_plain: bool, size: int = 4000) -> Any:
    """A handler that answers until it is told to stop; it says when it was closed."""
    number = 0

    def on_find(event: Any) -> Iterator[tuple[int, Any]]:
        nonlocal number
        try:
            while not event.is_cancelled:
                number += 1
                yield PENDING, dataset(size) if is_plain else LARGE
            yield CANCELLED, None
        finally:
            on_end.set()

    on_find.number = lambda: number  # type: ignore[attr-defined]
    return on_find


@BOTH
def test_a_cancel_in_the_middle_is_heard(serve: Serve, is_plain: bool) -> None:
    ended = threading.Event()
    scp = serve(endless(ended, is_plain=is_plain), is_plain=is_plain)
    with scp.call() as peer:
        peer.associate()
        for number in range(1, 6):
            peer.send(find(number))
            peer.receive()
            peer.send(cancel(number))
            statuses: list[int] = []
            while not statuses or statuses[-1] != CANCELLED:
                data = peer.receive()
                # A command set, whose last element is the status.
                if data[11] & 1:
                    statuses.append(int.from_bytes(data[-2:], "little"))
        peer.release()
    assert ended.is_set()


@BOTH
@pytest.mark.parametrize("strays", [0, 9, 16, 100])
def test_a_cancel_with_its_request_is_heard_among_strays(
    serve: Serve, is_plain: bool, strays: int
) -> None:
    scp = serve(endless(threading.Event(), is_plain=is_plain), is_plain=is_plain)
    others = b"".join(cancel(1000 + number) for number in range(strays))
    with scp.call() as peer:
        peer.associate()
        for number in range(1, 21):
            peer.send(others, find(number), others, cancel(number))
            assert peer.statuses()[-1] == CANCELLED
        peer.send(others)
        peer.release()


@BOTH
@pytest.mark.parametrize("leaves", ["abort", "reset", "hangs up", "hangs up one way"])
def test_who_leaves_in_the_middle_ends_the_answer(
    serve: Serve, is_plain: bool, leaves: str
) -> None:
    ended = threading.Event()
    scp = serve(endless(ended, is_plain=is_plain), is_plain=is_plain)
    with scp.call() as peer:
        peer.associate()
        peer.send(find())
        peer.receive()
        if leaves == "abort":
            peer.send(ABORT)
            peer.rest()
        elif leaves == "reset":
            peer.reset()
        elif leaves == "hangs up":
            peer.socket.close()
        else:
            peer.socket.shutdown(socket.SHUT_WR)
            peer.rest()
        assert ended.wait(10)
        until(scp.is_empty)
    until(lambda: "EVT_ABORTED" in scp.events)


@BOTH
def test_a_release_in_the_middle_is_aborted_at_once(serve: Serve, is_plain: bool) -> None:
    ended = threading.Event()
    scp = serve(endless(ended, is_plain=is_plain), is_plain=is_plain)
    with scp.call() as peer:
        peer.associate()
        peer.send(find())
        peer.receive()
        peer.send(RELEASE)
        assert peer.rest()[-10] == ABORTED
        assert ended.wait(10)


@BOTH
def test_who_does_not_read_is_left_after_a_while(serve: Serve, is_plain: bool) -> None:
    ended = threading.Event()
    handler = endless(ended, is_plain=is_plain)
    scp = serve(handler, is_plain=is_plain, send_seconds=3.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with scp.call(receives=4096) as peer:
        peer.associate()
        peer.send(find())
        number, looks = -1, 0

        def is_full() -> bool:
            """Nothing more is made, for a while."""
            nonlocal number, looks
            last, number = number, handler.number()
            looks = looks + 1 if last == number else 0
            return looks > 60

        until(is_full)
        used = process_time()
        assert scp.is_well()
        assert ended.wait(10)
        assert process_time() - used < 0.5
        # Nothing was made that found no room; the library takes one to see that it is over.
        assert handler.number() <= number + is_plain
        until(scp.is_empty)
    assert scp.refused(Bound.SEND_SECONDS) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


@BOTH
def test_who_reads_slowly_gets_all(serve: Serve, is_plain: bool) -> None:
    def on_find(event: Any) -> Iterator[tuple[int, Any]]:
        for _ in range(500):
            yield PENDING, dataset(4000) if is_plain else LARGE

    scp = serve(on_find, is_plain=is_plain)
    with scp.call(receives=4096) as peer:
        peer.associate()
        peer.send(find())
        assert peer.statuses() == [PENDING] * 500 + [SUCCESS]
        peer.release()


@BOTH
@pytest.mark.parametrize("after", [0, 5])
def test_a_handler_that_raises_is_told_without_its_words(
    serve: Serve, is_plain: bool, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    def on_find(event: Any) -> Iterator[tuple[int, Any]]:
        for _ in range(after):
            yield PENDING, dataset() if is_plain else ANYBODY
        raise ValueError("MÜLLER^JÜRGEN")

    scp = serve(on_find, is_plain=is_plain)
    with scp.call() as peer:
        peer.associate()
        peer.send(find())
        assert peer.statuses() == [PENDING] * after + [0xC311]
        peer.send(echo())
        peer.receive()
        peer.release()
    ours = [record for record in caplog.records if record.name.startswith("dicomscp")]
    assert not any("MÜLLER" in record.getMessage() for record in ours)


@BOTH
@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_handler_raises_the_connection_is_closed(
    serve: Serve, is_plain: bool, raised: type[BaseException]
) -> None:
    def on_find(event: Any) -> Iterator[tuple[int, Any]]:
        yield PENDING, dataset() if is_plain else ANYBODY
        raise raised

    scp = serve(on_find, is_plain=is_plain)
    with scp.call() as peer:
        peer.associate()
        peer.send(find())
        peer.rest()
    until(scp.is_empty)
    assert scp.is_well()


@BOTH
def test_a_status_with_a_comment_is_sent_with_it(serve: Serve, is_plain: bool) -> None:
    def on_find(event: Any) -> Iterator[tuple[Any, Any]]:
        yield 0xFF01, dataset() if is_plain else ANYBODY
        status = Dataset()
        status.Status, status.ErrorComment = 0xA700, "narrow the query"
        status.OffendingElement = [0x00100010]
        yield status, None

    scp = serve(on_find, is_plain=is_plain)
    with scp.call() as peer:
        peer.associate()
        peer.send(find())
        peer.receive(), peer.receive()
        last = peer.receive()
        assert b"narrow the query" in last
        assert b"\x01\x09\x04\x00\x00\x00\x10\x00\x10\x00" in last
        peer.release()


def test_a_data_set_is_answered_on_the_fast_path_too(serve: Serve) -> None:
    def on_find(event: Any) -> Iterator[tuple[int, Any]]:
        yield PENDING, dataset()
        yield PENDING, ANYBODY
        yield PENDING, Dataset()  # nothing of it can be sent

    scp = serve(on_find)
    with scp.call() as peer:
        peer.associate()
        peer.send(find())
        assert peer.statuses() == [PENDING, PENDING, 0xC312]
        peer.release()


def test_many_answers_do_not_wait_for_the_others(serve: Serve) -> None:
    more = threading.Event()
    # One batch, and what a handler that takes its time has not got yet.
    batch = cast(bytes, encode(dataset(40_000), False, True))

    def on_find(event: Any) -> Iterator[tuple[int, bytes]]:
        yield PENDING, batch
        assert more.wait(10)
        yield PENDING, ANYBODY

    scp = serve(on_find)
    with scp.call() as peer:
        peer.associate(request(syntax=ExplicitVRLittleEndian))
        peer.send(find())
        assert peer.response() == (PENDING, batch)
        more.set()
        assert len(peer.statuses()) == 2
        peer.release()


@pytest.mark.parametrize("maximum", [128, 4096, 16382, 131072, 0])
@pytest.mark.parametrize("size", [0, 1, 60, 61, 62, 94, 95, 96, 4058, 4060, 4062, 20000, 300000])
def test_both_paths_send_the_same_bytes_in_the_peers_pdus(
    serve: Serve, maximum: int, size: int
) -> None:
    """PS3.8 D.1: no PDU is longer than the peer takes; the text is padded to an even length."""
    sent = []
    answer = dataset(size)
    encoded = encode(answer, False, True)
    for is_plain, identifier in ((True, answer), (False, encoded)):
        scp = serve(lambda _, it=identifier: iter([(PENDING, it)] * 3), is_plain=is_plain)
        with scp.call() as peer:
            peer.associate(request(maximum=maximum, syntax=ExplicitVRLittleEndian))
            peer.send(find(77))
            received: list[bytes] = []
            while not received or received[-1][11] != 3 or received[-1][-2:] != b"\0\0":
                received.append(peer.receive())
            assert all(not maximum or len(one) - 6 <= maximum for one in received)
            sent.append(received)
            peer.release()
    assert sent[0] == sent[1]


def test_answers_are_sent_many_at_a_time(serve: Serve) -> None:
    """1,000 answers of 1 kB are about 35 sends."""
    scp = serve(answers(1000, ANYBODY * 60))
    sends = 0
    with scp.call() as peer:
        peer.associate()
        (association,) = scp.server.active_associations
        connection: Any = association.dul.socket
        send = connection.send

        def count(encoded: bytes) -> None:
            nonlocal sends
            sends += 1
            send(encoded)

        connection.send = count
        peer.send(find())
        assert len(peer.statuses()) == 1001
        peer.release()
    assert sends < 50
