"""A modality whose packets a test makes by hand, and what may stand in them. No Django."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from io import BytesIO
from types import TracebackType
from typing import Any, Self, cast

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dimse_messages import C_CANCEL_RQ, C_ECHO_RQ, C_FIND_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_FIND
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA, MaximumLengthNotification
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ImplementationClass
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

HERE = "127.0.0.1"
# The presentation contexts of a peer.
WORKLIST, ECHO = 1, 3
# An Identifier that asks for a name and an ID, whoever it is (Implicit VR Little Endian).
ANYBODY = bytes.fromhex("10001000000000001000200000000000")

RELEASE = bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0))
ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0))
# Types of PDUs that come back (PS3.8 9.3.1).
ACCEPTED, REJECTED, DATA, RELEASED, ABORTED = 2, 3, 4, 6, 7

PENDING, SUCCESS, CANCELLED = 0xFF00, 0x0000, 0xFE00


def request(
    *,
    contexts: Iterable[tuple[int, str]] = (
        (WORKLIST, ModalityWorklistInformationFind),
        (ECHO, Verification),
    ),
    maximum: int = 16382,
    syntax: str = ImplicitVRLittleEndian,
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "CT1", "WORKLIST"
    proposed = []
    for number, abstract in contexts:
        context = build_context(abstract, syntax)
        context.context_id = number
        proposed.append(context)
    asked.presentation_context_definition_list = proposed
    length, implementation = MaximumLengthNotification(), ImplementationClass()
    length.maximum_length_received = maximum
    implementation.implementation_class_uid = "1.2.3"
    asked.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(asked)
    return pdu.encode()


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """Any PDU, whatever length it declares."""
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body


def pdv(context: int, header: int, value: bytes, *, length: int | None = None) -> bytes:
    """A presentation data value: header 3 is a last fragment of a command, 2 of a data set."""
    declared = len(value) + 2 if length is None else length
    return struct.pack(">LBB", declared, context, header) + value


def packed(message: DIMSEMessage, primitive: Any, context: int = WORKLIST) -> bytes:
    message.primitive_to_message(primitive)
    encoded = b""
    for part in message.encode_msg(context, 16382):
        assert isinstance(part, P_DATA)
        data = P_DATA_TF()
        data.from_primitive(part)
        encoded += data.encode()
    return encoded


def find(message_id: int = 1, identifier: bytes = ANYBODY) -> bytes:
    asked = C_FIND()
    asked.MessageID = message_id
    asked.AffectedSOPClassUID = ModalityWorklistInformationFind
    asked.Priority = 2
    asked.Identifier = BytesIO(identifier)
    return packed(C_FIND_RQ(), asked)


def cancel(message_id: int) -> bytes:
    asked = C_CANCEL()
    asked.MessageIDBeingRespondedTo = message_id
    return packed(C_CANCEL_RQ(), asked)


def echo(message_id: int = 1) -> bytes:
    asked = C_ECHO()
    asked.MessageID = message_id
    asked.AffectedSOPClassUID = Verification
    return packed(C_ECHO_RQ(), asked, ECHO)


class Peer:
    """A connection to the SCP on this port, of this machine unless told otherwise."""

    def __init__(self, port: int, *, host: str = HERE, receives: int | None = None) -> None:
        # The Error Comment of the last response, "" without one.
        self.comment = ""
        self.socket = socket.socket()
        if receives:
            # So little that what is not read is soon not sent either.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self.socket.settimeout(30)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *encoded: bytes) -> None:
        self.socket.sendall(b"".join(encoded))

    def associate(self, encoded: bytes | None = None) -> Self:
        self.send(encoded or request())
        assert self.receive()[0] == ACCEPTED, "the association was not accepted"
        return self

    def release(self) -> None:
        self.send(RELEASE)
        assert self.receive()[0] == RELEASED
        assert self.is_hung_up_on()

    def reset(self) -> None:
        """Close so that the other side gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

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

    def rest(self) -> bytes:
        """All that comes until the SCP hangs up."""
        found = b""
        try:
            while part := self.socket.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found

    def is_hung_up_on(self) -> bool:
        """Whether nothing comes any more, but the end."""
        return self.rest() == b""

    def response(self) -> tuple[int, bytes]:
        """Status and Identifier of the next response."""
        message, is_whole = DIMSEMessage(), False
        while not is_whole:
            data = P_DATA_TF()
            encoded = self.receive()
            assert encoded[0] == DATA, f"PDU of type {encoded[0]}"
            data.decode(encoded)
            is_whole = message.decode_msg(data.to_primitive(), cast(Any, None))
        primitive: Any = message.message_to_primitive()
        identifier = getattr(primitive, "Identifier", None)
        self.comment = getattr(primitive, "ErrorComment", None) or ""
        return primitive.Status, identifier.getvalue() if identifier else b""

    def responses(self) -> list[tuple[int, bytes]]:
        """Those up to the last one."""
        found = [self.response()]
        while found[-1][0] in (0xFF00, 0xFF01):
            found.append(self.response())
        return found

    def statuses(self) -> list[int]:
        """Those of the responses up to the last one."""
        return [status for status, _ in self.responses()]
