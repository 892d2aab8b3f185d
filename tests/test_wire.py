"""Our classes of pynetdicom's: what a peer may do to an association, packet by packet."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dimse_messages import C_CANCEL_RQ, C_FIND_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_FIND
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA, MaximumLengthNotification
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ImplementationClass
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp.server import WorklistScp
from dicomscp.wire.client import Checkpoint
from tests import network
from tests.cast import DAY, step
from tests.strategies import Query
from tests.test_acceptance import keys
from worklist.models import ScheduledProcedureStep

CONTEXT = 1


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


@pytest.fixture
def peer(scp: WorklistScp) -> Iterator[Peer]:
    with socket.socket() as line:
        # So little that what is not read is soon not sent either.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield Peer(line, scp.port)


class Peer:
    """A modality whose packets a test makes by hand."""

    def __init__(self, line: socket.socket, port: int) -> None:
        self.socket = line
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))
        request = A_ASSOCIATE()
        request.application_context_name = "1.2.840.10008.3.1.1.1"
        request.calling_ae_title, request.called_ae_title = "CT1", "WORKLIST"
        context = build_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
        context.context_id = CONTEXT
        request.presentation_context_definition_list = [context]
        length, implementation = MaximumLengthNotification(), ImplementationClass()
        length.maximum_length_received = 16382
        implementation.implementation_class_uid = "1.2.3"
        request.user_information = [length, implementation]
        pdu = A_ASSOCIATE_RQ()
        pdu.from_primitive(request)
        self.socket.sendall(pdu.encode())
        assert self.receive()[:1] == b"\x02", "the association was not accepted"

    def receive(self) -> bytes:
        """One PDU."""
        head = self.read(6)
        return head + self.read(int.from_bytes(head[2:], "big"))

    def read(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            part = self.socket.recv(length - len(found))
            assert part, "the SCP has closed the connection"
            found += part
        return found

    def statuses(self) -> list[int]:
        """Those of the responses up to the last one."""
        found: list[int] = []
        message = DIMSEMessage()
        while not found or found[-1] in (0xFF00, 0xFF01):
            pdu = P_DATA_TF()
            pdu.decode(self.receive())
            if message.decode_msg(pdu.to_primitive(), cast(Any, None)):
                found.append(cast(Any, message.message_to_primitive()).Status)
                message = DIMSEMessage()
        return found


def packed(message: DIMSEMessage, primitive: Any) -> bytes:
    message.primitive_to_message(primitive)
    encoded = b""
    for part in message.encode_msg(CONTEXT, 16382):
        assert isinstance(part, P_DATA)
        pdu = P_DATA_TF()
        pdu.from_primitive(part)
        encoded += pdu.encode()
    return encoded


def find(message_id: int, **values: Any) -> bytes:
    request = C_FIND()
    request.MessageID = message_id
    request.AffectedSOPClassUID = ModalityWorklistInformationFind
    request.Priority = 2
    request.Identifier = BytesIO(network.encode(Query(keys(values)), is_explicit=False))
    return packed(C_FIND_RQ(), request)


def cancel(message_id: int) -> bytes:
    request = C_CANCEL()
    request.MessageIDBeingRespondedTo = message_id
    return packed(C_CANCEL_RQ(), request)


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
