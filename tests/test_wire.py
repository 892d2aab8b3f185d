"""Our classes of pynetdicom's: what a peer may do to an association, packet by packet."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dicomscp.server import WorklistScp
from dicomscp.wire.client import Checkpoint
from tests import network, raw
from tests.asking import keys
from tests.cast import DAY, step
from tests.raw import Peer, cancel
from tests.strategies import Query
from worklist.models import ScheduledProcedureStep


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


@pytest.fixture
def peer(scp: WorklistScp) -> Iterator[Peer]:
    with Peer(scp.port, receives=4096) as peer:
        yield peer.associate()


def find(message_id: int, **values: Any) -> bytes:
    return raw.find(message_id, network.encode(Query(keys(values)), is_explicit=False))


def steps(number: int, **values: Any) -> None:
    first = step(**values)
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            requested_procedure=first.requested_procedure,
            step_id=f"n{n}",
            start_date=DAY,
            start_time=first.start_time,
            modality="CT",
        )
        for n in range(1, number)
    )


def test_a_cancel_in_the_packet_of_its_request_is_heard(peer: Peer) -> None:
    steps(100)
    for _ in range(20):
        peer.socket.sendall(find(7, PatientID="") + cancel(7))
        statuses = peer.statuses()
        assert statuses[-1] == 0xFE00
        assert len(statuses) < 20


def test_a_cancel_from_before_its_request_is_not_for_it(peer: Peer) -> None:
    steps(30)
    peer.socket.sendall(cancel(7) + cancel(8) + find(7, PatientID="") + cancel(9))
    assert peer.statuses() == [0xFF00] * 30 + [0]


def test_many_cancels_of_unknown_requests_harm_nobody(peer: Peer) -> None:
    steps(100)
    strays = b"".join(map(cancel, range(100, 130)))
    peer.socket.sendall(strays + find(7, PatientID="") + strays + cancel(7))
    assert peer.statuses()[-1] == 0xFE00
    peer.socket.sendall(find(8, PatientID=""))
    assert len(peer.statuses()) == 101


def test_an_answer_does_not_run_ahead_of_a_peer_that_reads_slowly(peer: Peer) -> None:
    steps(2000, PatientComments="x" * 10240)
    peer.socket.sendall(find(7, PatientComments=""))
    peer.socket.recv(1, socket.MSG_PEEK)
    peer.socket.sendall(cancel(7))
    statuses = peer.statuses()
    assert statuses[-1] == 0xFE00
    assert len(statuses) < 2000


def test_a_peer_that_goes_away_in_the_middle_leaves_no_thread(scp: WorklistScp, peer: Peer) -> None:
    steps(2000, PatientComments="x" * 10240)
    peer.socket.sendall(find(7, PatientComments=""))
    peer.socket.recv(1, socket.MSG_PEEK)
    assert scp._servers[0] is not None
    (association,) = scp._servers[0].active_associations
    peer.socket.close()
    association.join(20)
    assert not association.is_alive()


def test_a_thread_that_passes_the_checkpoint_stands_still_no_more() -> None:
    association: Any = SimpleNamespace(_is_paused=True)
    checkpoint = Checkpoint(association)
    checkpoint.wait()
    assert association._is_paused is False
    checkpoint.clear()
    association._is_paused = True
    passed = threading.Thread(target=checkpoint.wait, daemon=True)
    passed.start()
    assert association._is_paused is True
    checkpoint.set()
    passed.join(10)
    assert association._is_paused is False
