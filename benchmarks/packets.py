"""PDUs of a modality, encoded beforehand, and what is read of a server's, as cheaply as may be.

Plain bytes: a load client that costs as much as what it measures would measure itself.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

VERIFICATION = b"1.2.840.10008.1.1"
FIND = b"1.2.840.10008.5.1.4.31"
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_IMPLICIT_LITTLE_ENDIAN = b"1.2.840.10008.1.2"
MAXIMUM_LENGTH = 16384

_FIND_CONTEXT, _ECHO_CONTEXT = 1, 3
_MOST_AT_ONCE = 256 * 1024

# PS3.8 9.3: types of PDU.
_ACCEPTED, _REJECTED, _DATA, _RELEASED = 2, 3, 4, 6
RELEASE_RQ = struct.pack(">BxLL", 5, 4, 0)
# PS3.7 E.1, command sets are in Implicit VR Little Endian: header of Status, of the group's length.
_STATUS = b"\0\0\0\x09\2\0\0\0"
_GROUP_LENGTH = b"\0\0\0\0\4\0\0\0"
_PENDING = (b"\0\xff", b"\1\xff")
_SUCCESS = b"\0\0"
# So many bytes before a Status hold the whole of its command set up to there.
_BEFORE_STATUS = 512


class WrongAnswerError(Exception):
    """A server answered otherwise than a measurement needs; the text says how."""


# Gives the bytes that it is sent to whoever waits for them.
Answer: TypeAlias = Generator[None, bytes, int]


# --- what is sent ---------------------------------------------------------------------------------


def associate_rq(*, calling: str, called: str, only_echo: bool = False) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) for C-FIND and C-ECHO, in Implicit VR Little Endian."""
    items = _item(0x10, _APPLICATION_CONTEXT)
    contexts = ((_FIND_CONTEXT, FIND), (_ECHO_CONTEXT, VERIFICATION))
    for number, abstract_syntax in contexts[only_echo:]:
        syntaxes = _item(0x30, abstract_syntax) + _item(0x40, _IMPLICIT_LITTLE_ENDIAN)
        items += _item(0x20, struct.pack(">B3x", number) + syntaxes)
    length = _item(0x51, struct.pack(">L", MAXIMUM_LENGTH))
    items += _item(0x50, length + _item(0x52, b"1.2.826.0.1.3680043.10.1"))
    titles = struct.pack("16s16s32x", called.encode().ljust(16), calling.encode().ljust(16))
    body = struct.pack(">Hxx", 1) + titles + items
    return struct.pack(">BxL", 1, len(body)) + body


def find_rq(identifier: bytes, *, message_id: int = 1) -> bytes:
    """A C-FIND-RQ (PS3.7 9.3.2.1), with its Identifier in the same PDU."""
    command = _command((0x0002, _uid(FIND)), *_numbers(0x0020, message_id, data_set=True))
    parts = _pdv(_FIND_CONTEXT, 0x03, command) + _pdv(_FIND_CONTEXT, 0x02, identifier)
    return struct.pack(">BxL", 4, len(parts)) + parts


def echo_rq(*, message_id: int = 1) -> bytes:
    """A C-ECHO-RQ (PS3.7 9.3.5.1)."""
    command = _command((0x0002, _uid(VERIFICATION)), *_numbers(0x0030, message_id, data_set=False))
    part = _pdv(_ECHO_CONTEXT, 0x03, command)
    return struct.pack(">BxL", 4, len(part)) + part


def _numbers(field: int, message_id: int, *, data_set: bool) -> list[tuple[int, bytes]]:
    numbers = [(0x0100, field), (0x0110, message_id), (0x0800, 0x0102 if data_set else 0x0101)]
    if data_set:
        numbers.insert(2, (0x0700, 0))  # Priority: medium
    return [(element, struct.pack("<H", number)) for element, number in numbers]


def _command(*elements: tuple[int, bytes]) -> bytes:
    encoded = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements
    )
    return _GROUP_LENGTH + struct.pack("<L", len(encoded)) + encoded


def _uid(uid: bytes) -> bytes:
    return uid + b"\0" * (len(uid) % 2)


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _pdv(context: int, control: int, fragment: bytes) -> bytes:
    return struct.pack(">LBB", len(fragment) + 2, context, control) + fragment


# --- what is received -----------------------------------------------------------------------------


def acceptance() -> Answer:
    """Wait for the A-ASSOCIATE-AC; answers its length."""
    received = yield from _pdu()
    if received[0] == _REJECTED:
        reason = "/".join(str(number) for number in received[7:10])
        raise WrongAnswerError(f"association rejected, {reason}")
    return _expect(received, _ACCEPTED)


def release() -> Answer:
    """Wait for the A-RELEASE-RP; answers its length."""
    return _expect((yield from _pdu()), _RELEASED)


def matches() -> Answer:
    """Wait for the last response to a C-FIND; answers how many Pending ones came before it.

    Nothing is decoded: Status elements are counted as they stand in the bytes. What that takes for
    granted (such bytes in no Identifier, one command set a PDV) `strictly` finds out.
    """
    responses, held = 0, b""
    while True:
        received = yield
        if not received:
            raise WrongAnswerError("the connection was closed in mid-answer")
        # A header that lies across two receipts is counted with the second.
        overlap = max(0, len(held) - len(_STATUS) + 1)
        held += received
        responses += held.count(_STATUS, overlap)
        last = held.rfind(_STATUS)
        if last >= 0 and _is_final(held, last):
            return responses - 1
        held = held[-_BEFORE_STATUS:]


def _is_final(held: bytes, status_at: int) -> bool:
    """Whether this Status ends the answer, and the PDV in which it stands is here to its end."""
    status = held[status_at + 8 : status_at + 10]
    if len(status) < 2 or status in _PENDING:
        return False
    begins = held.rfind(_GROUP_LENGTH, 0, status_at)
    length = int.from_bytes(held[begins - 6 : begins - 2], "big")
    if len(held) < begins - 2 + length:
        return False
    if status != _SUCCESS:
        raise WrongAnswerError(f"status {int.from_bytes(status, 'little'):04X}")
    return True


def _pdu() -> Generator[None, bytes, bytes]:
    held = b""
    while len(held) < 6 or len(held) < 6 + int.from_bytes(held[2:6], "big"):
        received = yield
        if not received:
            raise WrongAnswerError("the connection was closed")
        held += received
    return held


def _expect(pdu: bytes, kind: int) -> int:
    if pdu[0] != kind:
        raise WrongAnswerError(f"PDU of type {pdu[0]}, not {kind}")
    return len(pdu)


# --- the same, strictly ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Strictly:
    """What an answer holds when every PDU and PDV is walked: the responses, and their data."""

    statuses: tuple[int, ...]
    identifiers: int
    octets: int


def strictly(answer: bytes) -> Strictly:
    """Read a whole answer, for comparison with what `matches` counts."""
    statuses, identifiers, octets = [], 0, 0
    command = b""
    for control, fragment in _pdvs(answer):
        if control & 1:
            command += fragment
            if control & 2:
                at = command.index(_STATUS) + len(_STATUS)
                statuses.append(int.from_bytes(command[at : at + 2], "little"))
                command = b""
        else:
            octets += len(fragment)
            identifiers += control >> 1 & 1
    return Strictly(tuple(statuses), identifiers, octets)


def _pdvs(received: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(received):
        kind, length = struct.unpack_from(">BxL", received, at)
        if kind != _DATA:
            raise WrongAnswerError(f"PDU of type {kind} in an answer")
        at, end = at + 6, at + 6 + length
        while at < end:
            (size,) = struct.unpack_from(">L", received, at)
            yield received[at + 5], received[at + 6 : at + 4 + size]
            at += 4 + size
