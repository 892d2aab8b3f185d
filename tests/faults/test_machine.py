"""Peers that do anything in any order, on real sockets: what they hear; nothing is left of them."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from tests.faults.conftest import Scp, answers, descriptors
from tests.raw import (
    ABORT,
    ABORTED,
    ACCEPTED,
    ANYBODY,
    CANCELLED,
    DATA,
    PENDING,
    REJECTED,
    SUCCESS,
    Peer,
    cancel,
    echo,
    find,
    pdu,
    pdv,
    request,
)
from tests.waiting import until

PLACES = 3
MATCHES = 5


class Peers(RuleBasedStateMachine):
    """A model of the places: who is associated, and who is merely connected."""

    silent: Bundle[Peer] = Bundle("silent")
    associated: Bundle[Peer] = Bundle("associated")

    @initialize()
    def start(self) -> None:
        self.threads, self.files = threading.active_count(), descriptors()
        self.scp = Scp(answers(MATCHES), associations=PLACES, connections_per_address=100)
        self.open: set[Peer] = set()
        self.number = 0
        self.count = 0

    def next(self) -> int:
        self.count += 1
        return self.count

    def gone(self, peer: Peer) -> None:
        self.open.discard(peer)
        if peer.socket.fileno() >= 0:
            peer.socket.close()

    def left(self, peer: Peer) -> None:
        """An associated peer is no more; its place may take a moment."""
        self.gone(peer)
        self.number -= 1
        until(lambda: self.scp.gate.admitted == self.number)

    @rule(target=silent, begun=st.integers(0, 30))
    def connect(self, begun: int) -> Peer:
        peer = self.scp.call()
        self.open.add(peer)
        peer.send(request()[:begun])
        peer.begun = begun  # type: ignore[attr-defined]
        return peer

    @rule(target=associated, peer=consumes(silent))
    def associate(self, peer: Any) -> Any:
        peer.send(request()[peer.begun :])
        told = peer.receive()
        if self.number < PLACES:
            assert told[0] == ACCEPTED
            self.number += 1
            return peer
        assert told[0] == REJECTED
        assert peer.is_hung_up_on()
        self.gone(peer)
        return multiple()

    @rule(peer=consumes(silent), reset=st.booleans())
    def go(self, peer: Peer, reset: bool) -> None:
        if reset:
            peer.reset()
        self.gone(peer)

    @rule(peer=associated, strays=st.integers(0, 20))
    def find(self, peer: Peer, strays: int) -> None:
        others = b"".join(cancel(60_000 + number) for number in range(strays))
        peer.send(others, find(self.next()), others)
        assert peer.statuses() == [PENDING] * MATCHES + [SUCCESS]

    @rule(peer=associated)
    def find_and_cancel(self, peer: Peer) -> None:
        number = self.next()
        peer.send(find(number), cancel(number))
        assert peer.statuses()[-1] in (CANCELLED, SUCCESS)

    @rule(peer=associated, ahead=st.integers(1, 12))
    def echo(self, peer: Peer, ahead: int) -> None:
        peer.send(*(echo(self.next()) for _ in range(ahead)))
        for _ in range(ahead):
            assert peer.receive()[0] == DATA

    @rule(peer=consumes(associated))
    def release(self, peer: Peer) -> None:
        peer.release()
        self.left(peer)

    @rule(peer=consumes(associated), how=st.sampled_from(["abort", "reset", "close"]))
    def leave(self, peer: Peer, how: str) -> None:
        peer.send(find(self.next()))
        if how == "abort":
            peer.send(ABORT)
        elif how == "reset":
            peer.reset()
        self.left(peer)

    @rule(
        peer=consumes(associated),
        wrong=st.sampled_from(
            [
                pdu(DATA, pdv(9, 3, b"context")),
                pdu(DATA, pdv(1, 3, b"command")),
                pdu(DATA, pdv(1, 2, ANYBODY)),
                pdu(DATA, b""),
                request(),
                b"\xff" * 20,
            ]
        ),
    )
    def misbehave(self, peer: Peer, wrong: bytes) -> None:
        peer.send(wrong)
        assert peer.rest()[-10] == ABORTED
        self.left(peer)

    @precondition(lambda self: hasattr(self, "scp") and self.number < PLACES)
    @rule()
    def another_is_served(self) -> None:
        assert self.scp.is_well()

    @invariant()
    def places_are_counted(self) -> None:
        if hasattr(self, "scp"):
            until(lambda: self.scp.gate.admitted == self.number)
            until(lambda: self.scp.gate.connections == len(self.open))

    def teardown(self) -> None:
        for peer in list(self.open):
            self.gone(peer)
        until(self.scp.is_empty, "an association is left behind")
        self.scp.stop()
        until(lambda: threading.active_count() <= self.threads, "a thread is left behind")
        until(lambda: descriptors() <= self.files, "a descriptor is left behind")


Peers.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestPeers = Peers.TestCase
