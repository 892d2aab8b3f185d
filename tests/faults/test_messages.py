"""What an associated peer sends that is no message, or too much of one."""

from __future__ import annotations

import random
import resource
import struct
from contextlib import suppress

import pytest
from pynetdicom.sop_class import CTImageStorage

from dicomscp.wire.bounds import Bound
from tests.faults.conftest import Serve, answers
from tests.raw import (
    ABORT,
    ABORTED,
    ACCEPTED,
    ANYBODY,
    DATA,
    ECHO,
    PENDING,
    SUCCESS,
    WORKLIST,
    Peer,
    cancel,
    echo,
    find,
    pdu,
    pdv,
    request,
)
from tests.waiting import until

COMMAND, LAST_COMMAND, LAST_DATA = 1, 3, 2


def data(*pdvs: bytes) -> bytes:
    return pdu(DATA, b"".join(pdvs))


def command_of(encoded: bytes) -> bytes:
    """The command set of a message in one PDU."""
    return encoded[12 : 6 + int.from_bytes(encoded[2:6], "big")]


def altered(encoded: bytes, element: int, value: int) -> bytes:
    """A command set with another value of (0000,element)."""
    at = encoded.index(struct.pack("<HHL", 0, element, 2))
    return encoded[: at + 8] + struct.pack("<H", value) + encoded[at + 10 :]


FIND = command_of(find())


NO_MESSAGES = (
    pytest.param(data(), id="no PDV"),
    pytest.param(data(pdv(WORKLIST, LAST_COMMAND, b"", length=0)), id="PDV of length 0"),
    pytest.param(data(pdv(WORKLIST, LAST_COMMAND, FIND, length=5000)), id="PDV beyond its PDU"),
    pytest.param(data(b"\0\0"), id="half a PDV"),
    pytest.param(data(pdv(WORKLIST, LAST_COMMAND, b"")), id="empty command"),
    pytest.param(data(pdv(WORKLIST, LAST_COMMAND, b"\xff" * 50)), id="no command"),
    pytest.param(data(pdv(WORKLIST, LAST_COMMAND, FIND[:-7])), id="half a command"),
    pytest.param(
        data(pdv(WORKLIST, LAST_COMMAND, altered(FIND, 0x0100, 0x7777))), id="unknown command"
    ),
    pytest.param(
        data(pdv(WORKLIST, LAST_COMMAND, altered(FIND, 0x0100, 0x8020)))
        + data(pdv(WORKLIST, LAST_DATA, ANYBODY)),
        id="a response",
    ),
    pytest.param(data(pdv(WORKLIST, LAST_DATA, ANYBODY)), id="data set without command"),
    pytest.param(
        data(pdv(WORKLIST, LAST_COMMAND, FIND)) + data(pdv(WORKLIST, LAST_COMMAND, FIND)),
        id="command in place of its data set",
    ),
    pytest.param(
        data(pdv(WORKLIST, LAST_COMMAND, FIND)) + data(pdv(ECHO, LAST_DATA, ANYBODY)),
        id="data set of another context",
    ),
    pytest.param(data(pdv(2, LAST_COMMAND, FIND)), id="even context"),
    pytest.param(data(pdv(99, LAST_COMMAND, FIND)), id="context never proposed"),
    pytest.param(data(pdv(5, LAST_COMMAND, FIND)), id="context not accepted"),
    pytest.param(
        data(pdv(ECHO, LAST_COMMAND, FIND)) + data(pdv(ECHO, LAST_DATA, ANYBODY)),
        id="C-FIND in the context of C-ECHO",
    ),
    pytest.param(request(), id="a second request"),
    pytest.param(pdu(6, bytes(4)), id="a release that is confirmed"),
    pytest.param(pdu(2, bytes(70)), id="an A-ASSOCIATE-AC"),
    pytest.param(pdu(0xFF, b"hello"), id="no such PDU"),
)


@pytest.mark.parametrize("spoken", NO_MESSAGES)
def test_what_is_no_message_is_aborted(serve: Serve, spoken: bytes) -> None:
    scp = serve()
    contexts = ((WORKLIST, "1.2.840.10008.5.1.4.31"), (ECHO, "1.2.840.10008.1.1"))
    with scp.call() as peer:
        peer.associate(request(contexts=(*contexts, (5, CTImageStorage))))
        peer.send(spoken)
        last = peer.rest()
        assert last[0] == ABORTED
        assert len(last) == 10
    until(lambda: "EVT_ABORTED" in scp.events)
    assert scp.is_well()


@pytest.mark.parametrize("begun", [1, 5, 20])
def test_a_pdu_that_does_not_go_on_is_aborted(serve: Serve, begun: int) -> None:
    scp = serve(pdu_seconds=0.3)
    with scp.call() as peer:
        peer.associate()
        peer.send(echo()[:begun])
        assert peer.rest()[0] == ABORTED
    assert scp.refused(Bound.PDU_SECONDS) == 1


def test_what_has_no_end_is_cut(serve: Serve) -> None:
    scp = serve()
    piece = bytes(16000)
    cases = {
        Bound.PDU_BYTES: (b"", pdu(DATA, piece, length=300_000_000), piece),
        Bound.COMMAND_BYTES: (b"", data(pdv(WORKLIST, COMMAND, piece)), b""),
        Bound.IDENTIFIER_BYTES: (
            data(pdv(WORKLIST, LAST_COMMAND, FIND)),
            data(pdv(WORKLIST, 0, piece)),
            data(pdv(WORKLIST, 0, piece)),
        ),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bound, (first, begin, more) in cases.items():
        with scp.call() as peer:
            peer.associate()
            try:
                peer.send(first, begin)
                for _ in range(20_000 if more else 0):
                    peer.send(more)
            except OSError:
                pass
        until(scp.is_empty)
        assert scp.refused(bound) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024
    assert scp.is_well()


def test_a_command_in_many_fragments_and_pdus_is_read(serve: Serve) -> None:
    scp = serve()
    encoded = [data(pdv(WORKLIST, COMMAND, bytes((byte,)))) for byte in FIND[:-1]]
    encoded.append(data(pdv(WORKLIST, LAST_COMMAND, FIND[-1:]), pdv(WORKLIST, 0, ANYBODY[:5])))
    encoded.append(data(pdv(WORKLIST, LAST_DATA, ANYBODY[5:])))
    with scp.call() as peer:
        peer.associate()
        for part in encoded:
            peer.send(part)
        assert peer.statuses() == [PENDING] * 3 + [SUCCESS]
        peer.release()


def test_requests_that_were_sent_ahead_are_answered_in_turn(serve: Serve) -> None:
    scp = serve(waiting=3)
    with scp.call() as peer:
        # With the association's own request, too.
        peer.send(request(), *(find(number) + echo(number) for number in range(1, 30)))
        assert peer.receive()[0] == ACCEPTED
        for _ in range(1, 30):
            assert len(peer.statuses()) == 4
            assert peer.receive()[0] == DATA
        peer.release()


def mutated(encoded: bytes, chance: random.Random) -> bytes:
    made = bytearray(encoded)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(made))
        match chance.randrange(4):
            case 0:
                made[at] = chance.randrange(256)
            case 1:
                made[at] ^= 1 << chance.randrange(8)
            case 2:
                del made[at : at + chance.choice((1, 2, 8))]
            case _:
                made[at:at] = chance.randbytes(chance.choice((1, 4)))
    return bytes(made)


def comes_to_an_end(peer: Peer) -> None:
    """Say that this was all, and wait for the end."""
    try:
        peer.send(ABORT)
        peer.socket.shutdown(1)
    except OSError:
        pass
    peer.rest()


def test_1500_mutated_requests_do_no_harm(serve: Serve) -> None:
    scp = serve(pdu_seconds=0.3, request_seconds=0.5, linger_seconds=0.2, contexts=3)
    chance = random.Random(7)
    for _ in range(1500):
        with scp.call() as peer:
            peer.send(mutated(request(), chance))
            comes_to_an_end(peer)
    until(scp.is_empty)
    assert scp.is_well()


def test_1500_mutated_messages_do_no_harm(serve: Serve) -> None:
    scp = serve(pdu_seconds=0.3, linger_seconds=0.2)
    chance = random.Random(8)
    spoken = [find(1), echo(2), cancel(1), find(3) + cancel(3)]
    for number in range(1500):
        with scp.call() as peer:
            peer.associate()
            peer.send(mutated(spoken[number % len(spoken)], chance))
            comes_to_an_end(peer)
    until(scp.is_empty)
    assert scp.is_well()


def test_random_bytes_do_no_harm(serve: Serve) -> None:
    scp = serve(pdu_seconds=0.2, request_seconds=0.3, linger_seconds=0.2)
    chance = random.Random(9)
    for number in range(300):
        with scp.call() as peer:
            if number % 2:
                peer.associate()
            with suppress(OSError):
                peer.send(chance.randbytes(chance.randrange(1, 400)))
            comes_to_an_end(peer)
    assert scp.is_well()


def test_the_answers_of_one_do_not_wait_for_another(serve: Serve) -> None:
    scp = serve(answers(3))
    with scp.call() as slow, scp.call() as peer:
        slow.associate()
        slow.send(find()[:30])
        peer.associate()
        for _ in range(20):
            peer.send(find())
            assert len(peer.statuses()) == 4
        slow.send(find()[30:])
        assert len(slow.statuses()) == 4
