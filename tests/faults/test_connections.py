"""Connections that do not become associations, and too many that do."""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic, process_time

import pytest

from dicomscp.wire.bounds import Bound
from tests.faults.conftest import Scp, Serve
from tests.raw import ABORTED, ACCEPTED, HERE, REJECTED, RELEASE, Peer, echo, pdu, request
from tests.waiting import until

LIMIT_EXCEEDED = b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x02"


def without_syntax(kind: int) -> bytes:
    """A request whose only context lacks its abstract or its transfer syntax (PS3.8 9.3.2.2)."""
    whole = request(contexts=[(1, "1.2.840.10008.1.1")])
    context = whole.index(b"\x20\0", 74)
    syntax = whole.index(bytes((kind, 0)), context)
    length = 4 + int.from_bytes(whole[syntax + 2 : syntax + 4], "big")
    shorter = int.from_bytes(whole[context + 2 : context + 4], "big") - length
    body = whole[6 : context + 2] + shorter.to_bytes(2, "big") + whole[context + 4 :]
    return pdu(1, body.replace(whole[syntax : syntax + length], b"", 1))


def test_a_silent_connection_is_closed_and_counted(serve: Serve) -> None:
    scp = serve(request_seconds=0.3)
    with scp.call() as peer:
        assert peer.is_hung_up_on()
    assert scp.refused(Bound.REQUEST_SECONDS) == 1


@pytest.mark.parametrize("begun", [1, 6, 40])
def test_a_request_that_does_not_go_on_is_closed(serve: Serve, begun: int) -> None:
    scp = serve(request_seconds=20, pdu_seconds=0.3)
    with scp.call() as peer:
        peer.send(request()[:begun])
        assert scp.is_well()
        assert peer.is_hung_up_on()
    assert scp.refused(Bound.PDU_SECONDS) == 1


def test_dripping_bytes_wins_no_time(serve: Serve) -> None:
    scp = serve(request_seconds=20, pdu_seconds=0.5)
    started = monotonic()
    with scp.call() as peer:
        peer.socket.settimeout(0.05)
        for byte in request():
            try:
                peer.send(bytes((byte,)))
                assert peer.socket.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        else:
            pytest.fail("it was never hung up on")
    assert monotonic() - started < 5


@pytest.mark.parametrize(
    "spoken",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", id="http"),
        pytest.param(bytes.fromhex("160301020001000100"), id="tls"),
        pytest.param(b"\0", id="one byte of nothing"),
        pytest.param(pdu(1, b""), id="empty request"),
        pytest.param(pdu(1, b"\xff" * 300), id="request of nothing"),
        pytest.param(request().replace(b"\x40\0\0\x11", b"\x41\0\0\x11"), id="no such item"),
        pytest.param(without_syntax(0x30), id="context without abstract syntax"),
        pytest.param(without_syntax(0x40), id="context without transfer syntax"),
        pytest.param(pdu(4, b"\0\0\0\2\1\3"), id="data before the request"),
        pytest.param(RELEASE, id="release before the request"),
        pytest.param(pdu(9, b""), id="no such PDU"),
    ],
)
def test_what_is_no_request_is_aborted_at_once(serve: Serve, spoken: bytes) -> None:
    scp = serve()
    with scp.call() as peer:
        peer.send(spoken)
        assert peer.rest()[0] == ABORTED
    assert scp.is_well()


def test_a_request_that_declares_4_gib_is_aborted_at_its_head(serve: Serve) -> None:
    scp = serve()
    with scp.call() as peer:
        peer.send(pdu(1, b"", length=0xFFFFFFFF))
        assert peer.rest()[0] == ABORTED
    assert scp.refused(Bound.REQUEST_BYTES) == 1
    assert scp.refused(Bound.MALFORMED) == 0


def test_a_port_scan_takes_no_place(serve: Serve) -> None:
    scp = serve(associations=2, connections_per_address=8)
    for _ in range(50):
        with scp.call():
            pass
        assert scp.is_well()


def test_silent_connections_take_no_associations_place(serve: Serve) -> None:
    scp = serve(associations=1, connections_per_address=50)
    with ExitStack() as silent:
        for number in range(30):
            silent.enter_context(scp.call()).send(request()[: number % 3])
        assert scp.is_well()


def test_as_many_are_associated_as_there_are_places(serve: Serve) -> None:
    scp = serve(associations=10, connections_per_address=100)
    together = threading.Barrier(40)

    def one(_: int) -> tuple[Peer, bytes]:
        peer = scp.call()
        together.wait()
        peer.send(request())
        return peer, peer.receive()

    with ThreadPoolExecutor(40) as pool:
        came = list(pool.map(one, range(40)))
    answered = [answer for _, answer in came]
    assert [answer[0] for answer in answered].count(ACCEPTED) == 10
    assert answered.count(LIMIT_EXCEEDED) == 30
    assert scp.refused(Bound.ASSOCIATIONS) == 30
    for peer, answer in came:
        if answer[0] == ACCEPTED:
            peer.release()
        peer.socket.close()
    assert scp.is_well()


def test_a_place_is_free_before_the_peer_hears_of_its_release(serve: Serve) -> None:
    scp = serve(associations=1, connections_per_address=1)
    for _ in range(100):
        with scp.call() as peer:
            peer.associate()
            peer.send(RELEASE)
            peer.receive()


@pytest.mark.parametrize(
    ("most", "bound"),
    [("connections", Bound.CONNECTIONS), ("connections_per_address", Bound.PER_ADDRESS)],
)
def test_too_many_connections_are_closed_before_a_thread(
    serve: Serve, most: str, bound: Bound
) -> None:
    scp = serve(**{most: 5})
    with ExitStack() as stack:
        peers = [stack.enter_context(scp.call()).associate() for _ in range(5)]
        threads = threading.active_count()
        for _ in range(20):
            with scp.call() as one_more:
                assert one_more.is_hung_up_on()
        assert threading.active_count() == threads
        assert scp.refused(bound) == 20
        peers.pop().release()
        assert scp.is_well()


def test_who_is_rejected_reads_why_whatever_it_sent_besides(serve: Serve) -> None:
    scp = serve(associations=0)
    for _ in range(20):
        with scp.call() as peer:
            # More than is read: closed on it, the connection would be reset.
            peer.send(request(), bytes(100_000))
            assert peer.receive() == LIMIT_EXCEEDED
    assert "EVT_REJECTED" in scp.events


def test_who_was_rejected_and_stays_takes_a_connections_place(serve: Serve) -> None:
    scp = serve(associations=0, connections=5, linger_seconds=20.0)
    with ExitStack() as stack:
        for _ in range(5):
            peer = stack.enter_context(scp.call())
            peer.send(request())
            assert peer.receive() == LIMIT_EXCEEDED
        assert stack.enter_context(scp.call()).is_hung_up_on()
    assert scp.refused(Bound.CONNECTIONS) == 1
    assert scp.refused(Bound.MALFORMED) == 0


def test_200_connect_at_once(serve: Serve) -> None:
    scp = serve(associations=300, connections_per_address=300)
    together = threading.Barrier(200)

    def one(_: int) -> bool:
        together.wait()
        return scp.is_well()

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(one, range(200)))


def test_descriptors_beyond_1023_are_served(serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("the system allows fewer descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        scp = serve()
        with scp.call() as peer:
            assert peer.socket.fileno() > 1023
            peer.associate().release()
        until(scp.is_empty)
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_it_waits_and_is_well_again(serve: Serve) -> None:
    scp = serve()
    scp.is_well()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = [socket.socket() for _ in range(5)]
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        with pytest.raises(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for peer in waiting:
            peer.connect((HERE, scp.port))
        used = process_time()
        until(lambda: scp.refused(Bound.DESCRIPTORS) >= 3)
        assert process_time() - used < 0.3
    finally:
        for file in taken:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for peer in waiting:
        peer.close()
    assert scp.is_well()


def test_idle_associations_cost_nothing(serve: Serve) -> None:
    scp = serve(associations=500, connections_per_address=500)
    with ExitStack() as stack:
        peers = [stack.enter_context(scp.call()).associate() for _ in range(100)]
        used, started = process_time(), monotonic()
        threading.Event().wait(1.0)
        assert process_time() - used < 0.05 * (monotonic() - started)
        for peer in peers:
            peer.send(echo())
        for peer in peers:
            assert peer.receive()[0] == 4
            peer.release()


def test_a_silent_association_is_aborted_after_a_while(serve: Serve) -> None:
    scp = serve(idle_seconds=0.3)
    with scp.call() as peer:
        peer.associate()
        assert peer.rest()[0] == ABORTED
    assert scp.refused(Bound.IDLE_SECONDS) == 1
    until(lambda: "EVT_ABORTED" in scp.events)


@pytest.mark.parametrize(
    ("asked", "bound"),
    [
        ({"contexts": []}, Bound.CONTEXTS),
        ({"contexts": [(n, "1.2.840.10008.1.1") for n in range(1, 12, 2)]}, Bound.CONTEXTS),
        ({"maximum": 7}, Bound.PEER_PDU),
        ({"maximum": 127}, Bound.PEER_PDU),
    ],
)
def test_requests_past_a_bound_are_rejected(
    serve: Serve, asked: dict[str, object], bound: Bound
) -> None:
    scp: Scp = serve(contexts=5)
    with scp.call() as peer:
        peer.send(request(**asked))  # type: ignore[arg-type]
        assert peer.receive()[0] == REJECTED
        assert peer.is_hung_up_on()
    assert scp.refused(bound) == 1


def test_2000_associations_leave_nothing(serve: Serve) -> None:
    scp = serve()
    for number in range(2000):
        with scp.call() as peer:
            peer.associate()
            if number % 4 == 0:
                peer.send(struct.pack(">BBLL", 7, 0, 4, 0))
            elif number % 4 == 1:
                peer.reset()
            else:
                peer.release()
    # What the fixture counts.
    until(scp.is_empty)
