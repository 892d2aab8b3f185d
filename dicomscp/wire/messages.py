"""Messages of DIMSE (PS3.7 6.3) out of PDVs and into PDUs, bounded.

A command set is decoded and encoded by the library once, then known by its bytes or its values:
they hold nothing of patients, and consoles repeat themselves.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import (
    _DATASET_KEYWORDS,
    _MESSAGE_TYPES,
    C_ECHO_RSP,
    C_FIND_RSP,
    DIMSEMessage,
)
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_FIND
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from dicomscp.wire.bounds import Bound, Bounds, refuse
from dicomscp.wire.upper import Encoded, Line

if TYPE_CHECKING:
    from dicomscp.wire.association import WorklistAssociation

# Message control header (PS3.8 E.2).
_IS_COMMAND, _IS_LAST = 1, 2
# PDU type and length, item length, context, message control header (PS3.8 9.3.5).
_HEAD = struct.Struct(">BBLLBB")
_PDV_HEAD = 6
# Of a command set (PS3.7 E).
_NO_DATA_SET = 0x0101
_IS_RESPONSE = 0x8000
# C-CANCELs that are kept for a request that is to come or under way.
_CANCELS = 9


class Cancels(dict[int, C_CANCEL]):
    """C-CANCELs by the message they name; the oldest goes when there are too many."""

    def __setitem__(self, message_id: int, cancel: C_CANCEL) -> None:
        while len(self) >= _CANCELS:
            del self[next(iter(self))]
        super().__setitem__(message_id, cancel)


class _Command(NamedTuple):
    """A command set that was decoded: its primitive, and what its data set is called."""

    primitive: Any
    keyword: str
    has_data_set: bool


def _decode(encoded: bytes) -> DIMSEMessage:
    """The library's message of a command set; it raises whatever it likes when it is none."""
    message = DIMSEMessage()
    part = P_DATA()
    part.presentation_data_value_list.append((1, bytes((_IS_COMMAND | _IS_LAST,)) + encoded))
    message.decode_msg(part)
    return message


@lru_cache(1024)
def _command(encoded: bytes) -> _Command:
    message = _decode(encoded)
    if message.command_set.CommandField & _IS_RESPONSE:
        raise ValueError("a response, where nothing was asked")
    return _Command(
        message.message_to_primitive(),
        _DATASET_KEYWORDS.get(type(message).__name__, ""),
        message.command_set.CommandDataSetType != _NO_DATA_SET,
    )


@lru_cache(4096)
def command_pdus(
    kind: type[C_FIND] | type[C_ECHO],
    message_id: int,
    sop_class: str,
    status: int,
    has_data_set: bool,
    context_id: int,
    maximum: int,
) -> bytes:
    """The PDUs of a response's command set, as the library encodes it (PS3.7 9.3)."""
    primitive = kind()
    primitive.MessageID = primitive.MessageIDBeingRespondedTo = message_id
    primitive.AffectedSOPClassUID = sop_class
    primitive.Status = status
    message = C_FIND_RSP() if kind is C_FIND else C_ECHO_RSP()
    if isinstance(primitive, C_FIND) and has_data_set:
        primitive.Identifier = BytesIO(b"there is one")
    message.primitive_to_message(primitive)
    encoded = cast(bytes, encode(message.command_set, True, True))
    return b"".join(pdus(encoded, _IS_COMMAND, context_id, maximum))


def pdus(encoded: bytes, kind: int, context_id: int, maximum: int) -> list[bytes]:
    """A command set or data set as P-DATA-TF PDUs of the peer's maximum length; 0 is none."""
    length = len(encoded)
    size = maximum - _PDV_HEAD if maximum else length
    if length <= size:
        head = _HEAD.pack(4, 0, length + 6, length + 2, context_id, kind | _IS_LAST)
        return [head, encoded]
    parts = []
    for start in range(0, length, size):
        part = encoded[start : start + size]
        last = _IS_LAST if start + size >= length else 0
        head = _HEAD.pack(4, 0, len(part) + 6, len(part) + 2, context_id, kind | last)
        parts += [head, part]
    return parts


class Dimse(DIMSEServiceProvider):
    """Messages in and out, with the C-CANCELs since the request they name."""

    assoc: WorklistAssociation

    def __init__(self, association: WorklistAssociation, bounds: Bounds) -> None:
        self._assoc: Any = association
        self._bounds = bounds
        self._cancels = Cancels()
        self.message = None
        self.msg_queue: Any = Line()
        # Of the message that is coming in.
        self._context: int | None = None
        self._encoded = bytearray()
        self._data = bytearray()
        self._heard: _Command | None = None

    @property
    def cancel_req(self) -> dict[int, C_CANCEL]:
        return self._cancels

    @cancel_req.setter
    def cancel_req(self, nothing: object) -> None:
        """The library starts anew when it begins to serve a request, too late: not so here."""

    # --- in ---------------------------------------------------------------------------------------

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in the PDVs of a P-DATA: what is no message ends the association (Evt19)."""
        try:
            for context_id, fragment in primitive.presentation_data_value_list:
                self._take(context_id, fragment)
        except _PastBoundError as error:
            self._refuse(error.bound)
        except Exception:
            self._refuse(Bound.MALFORMED)

    def _refuse(self, bound: Bound) -> None:
        refuse(bound, self.assoc.requestor.address)
        self._encoded, self._data = bytearray(), bytearray()
        self.dul.event_queue.put("Evt19")

    def _take(self, context_id: int, fragment: bytes) -> None:
        if self._context is None:
            if context_id not in self.assoc._accepted_cx:
                raise ValueError("a presentation context that was not accepted")
            self._context = context_id
        if context_id != self._context or bool(fragment[0] & _IS_COMMAND) != (self._heard is None):
            raise ValueError("a fragment of another message")
        is_last = fragment[0] & _IS_LAST
        if self._heard is None:
            self._encoded += fragment[1:]
            if len(self._encoded) > self._bounds.command_bytes:
                raise _PastBoundError(Bound.COMMAND_BYTES)
            if not is_last:
                return
            self._heard = _command(bytes(self._encoded))
            if self._heard.has_data_set:
                return
        else:
            self._data += fragment[1:]
            if len(self._data) > self._bounds.identifier_bytes:
                raise _PastBoundError(Bound.IDENTIFIER_BYTES)
            if not is_last:
                return
        self._complete(self._heard)
        self._context = self._heard = None
        self._encoded, self._data = bytearray(), bytearray()

    def _complete(self, heard: _Command) -> None:
        """A whole message: what it cancels is kept, what it asks waits to be served."""
        if self.assoc.get_handlers(evt.EVT_DIMSE_RECV):
            message = _decode(bytes(self._encoded))
            message.context_id, message.data_set = self._context, BytesIO(self._data)
            evt.trigger(self.assoc, evt.EVT_DIMSE_RECV, {"message": message})
        primitive: Any = object.__new__(type(heard.primitive))
        primitive.__dict__.update(heard.primitive.__dict__)
        primitive._context_id = self._context
        if heard.keyword:
            setattr(primitive, heard.keyword, BytesIO(self._data))
        if isinstance(primitive, C_CANCEL):
            self._cancels[primitive.MessageIDBeingRespondedTo or 0] = primitive
            return
        # A C-CANCEL from before was for an earlier request: many consoles number them all alike.
        self._cancels.pop(primitive.MessageID or 0, None)
        self.msg_queue.put((self._context, primitive))

    # --- out --------------------------------------------------------------------------------------

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a response; one that says nothing but its status is known already."""
        kind: Any = type(primitive)
        is_plain = (
            kind in (C_ECHO, C_FIND)
            and (kind is C_ECHO or _says_nothing(primitive))
            and primitive.MessageIDBeingRespondedTo is not None
        )
        if not is_plain or not self.assoc.takes_bytes:
            super().send_msg(primitive, context_id)
            return
        encoded = command_pdus(
            kind,
            primitive.MessageIDBeingRespondedTo,
            primitive.AffectedSOPClassUID,
            primitive.Status,
            False,
            context_id,
            self.maximum_pdu_size,
        )
        self.dul.send_pdu(Encoded(encoded))

    @property
    def maximum_pdu_size(self) -> int:
        """The peer's maximum length; one that does not say takes everything."""
        return self.assoc.requestor.maximum_length or 0


def _says_nothing(response: C_FIND) -> bool:
    """Whether a response has neither Identifier nor comment."""
    return (
        response.Identifier is None
        and response.OffendingElement is None
        and response.ErrorComment is None
    )


class _PastBoundError(Exception):
    """A message that is longer than a peer may send."""

    def __init__(self, bound: Bound) -> None:
        super().__init__(bound)
        self.bound = bound


# A message that the library could not name would stay a mere DIMSEMessage.
assert all(issubclass(kind, DIMSEMessage) for _, kind in _MESSAGE_TYPES.values())
