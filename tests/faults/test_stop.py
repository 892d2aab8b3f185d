"""Stopping: what runs may end, what idles is aborted, nothing hangs; and shared sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomscp import handlers
from dicomscp.server import WorklistScp
from tests.faults.conftest import Serve
from tests.raw import (
    ABORTED,
    ANYBODY,
    HERE,
    PENDING,
    RELEASE,
    RELEASED,
    SUCCESS,
    Peer,
    echo,
    find,
    request,
)
from tests.waiting import until


@pytest.fixture
def scp(transactional_db: None, settings: Any) -> Iterator[WorklistScp]:
    settings.DICOM_ACCESS = "any"
    scp = WorklistScp(ae_title="WORKLIST", bind=HERE, port=0)
    scp.start()
    yield scp
    scp.stop()


def stopping(scp: WorklistScp, drain: float) -> threading.Thread:
    thread = threading.Thread(target=scp.stop, kwargs={"drain": drain})
    thread.start()
    return thread


def slowly(began: threading.Event, goes_on: threading.Event) -> Any:
    """In place of the handler: it answers when it is told to."""

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        began.set()
        assert goes_on.wait(10)
        yield SUCCESS, None

    return on_find


def handled(monkeypatch: pytest.MonkeyPatch, on_find: Any) -> None:
    changed = [
        (event, on_find if event.name == "EVT_C_FIND" else handler)
        for event, handler in handlers.HANDLERS
    ]
    monkeypatch.setattr(handlers, "HANDLERS", changed)


def test_a_running_answer_ends_and_may_be_released(
    transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on = threading.Event(), threading.Event()
    handled(monkeypatch, slowly(began, goes_on))
    settings.DICOM_ACCESS = "any"
    scp = WorklistScp(ae_title="WORKLIST", bind=HERE, port=0)
    scp.start()
    port = scp.port
    with Peer(port) as peer, Peer(port) as late:
        peer.associate()
        late.associate()
        peer.send(find())
        assert began.wait(10)
        stop = stopping(scp, 8.0)
        # It is idle, and aborted after a second; nobody is let in any more.
        assert late.rest()[0] == ABORTED
        with pytest.raises(OSError):
            socket.create_connection((HERE, port)).close()
        goes_on.set()
        assert peer.statuses() == [SUCCESS]
        peer.send(RELEASE)
        assert peer.receive()[0] == RELEASED
        stop.join(10)
        assert not stop.is_alive()


def test_half_a_message_and_silence_do_not_hold_it(scp: WorklistScp) -> None:
    with Peer(scp.port) as silent, Peer(scp.port) as half, Peer(scp.port) as idle:
        half.associate().send(echo()[:9])
        idle.associate()
        silent.send(request()[:7])
        started = monotonic()
        scp.stop(drain=5.0)
        assert monotonic() - started < 4.0
        assert half.rest()[0] == idle.rest()[0] == ABORTED
        assert silent.is_hung_up_on()


def test_without_a_drain_it_is_over_at_once(scp: WorklistScp) -> None:
    peers = [Peer(scp.port).associate() for _ in range(20)]
    started = monotonic()
    scp.stop()
    assert monotonic() - started < 1.5
    for peer in peers:
        assert peer.rest()[0] == ABORTED
        peer.socket.close()


def test_an_association_that_does_not_read_is_called_off(serve: Serve) -> None:
    ended = threading.Event()

    def on_find(event: Any) -> Iterator[tuple[int, bytes]]:
        try:
            while True:
                yield PENDING, ANYBODY * 300
        finally:
            ended.set()

    scp = serve(on_find)
    with scp.call(receives=4096) as peer:
        peer.associate()
        peer.send(find())
        peer.receive()
        scp.server.call_off()
        assert ended.wait(5)
        until(scp.is_empty, within=5)


def test_aborts_from_other_threads_are_never_missed(serve: Serve) -> None:
    """A wake-up that is lost would show as a stall until the idle time."""
    scp = serve(linger_seconds=0.0)
    for number in range(300):
        with scp.call() as peer:
            peer.associate()
            if number % 2:
                peer.send(echo())
            (association,) = scp.server.active_associations
            association.abort()
            assert peer.rest()[-10] == ABORTED
            association.join(5)
            assert not association.is_alive()


def test_processes_may_share_a_socket_that_listens(transactional_db: None, settings: Any) -> None:
    settings.DICOM_ACCESS = "any"
    with socket.create_server((HERE, 0), backlog=512) as listening:
        port = listening.getsockname()[1]
        scps = [
            WorklistScp(ae_title="WORKLIST", bind=HERE, port=port, listening=listening.dup())
            for _ in range(2)
        ]
        for scp in scps:
            scp.start()
            assert scp.port == port

        def one(_: int) -> bool:
            with Peer(port) as peer:
                peer.associate()
                peer.send(echo())
                peer.receive()
                peer.release()
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(100)))
            scps[0].stop(drain=5.0)
            # The other one goes on, and so does the socket.
            assert all(pool.map(one, range(100)))
        scps[1].stop(drain=5.0)
        with socket.create_connection((HERE, port)):
            pass
