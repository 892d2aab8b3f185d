"""Real associations of tests: a C-FIND SCU that sends whatever bytes a query stands for.

The requests are encoded here, text by text through pydicom, since pydicom's own writer refuses or
repairs what a test must be able to send (a malformed DS, a group length). No Django.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import PersonName
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp.wire import client
from tests.strategies import CHARACTER_SET_VRS, Key, Query
from tests.waiting import until

TRANSFER_SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
UNDEFINED_LENGTH = 0xFFFFFFFF
_LONG_VRS = ("OB", "SQ", "UC", "UN", "UR", "UT")
_NUMBERS = {"UL": "<L", "US": "<H"}


if TYPE_CHECKING:
    from dicomscp.server import WorklistScp


@dataclass(frozen=True)
class Reply:
    """What came back: each Pending's status and Identifier, and the last response."""

    pendings: tuple[tuple[int, Dataset], ...]
    final: Dataset


@contextmanager
def association(port: int, syntax: UID, *, ae_title: str = "CT1") -> Iterator[Association]:
    """An association for C-FIND with the SCP on this port of this machine."""
    ae = AE(ae_title=ae_title)
    ae.add_requested_context(ModalityWorklistInformationFind, syntax)
    assoc = ae.associate("127.0.0.1", port, ae_title="WORKLIST", evt_handlers=client.HANDLERS)
    assert assoc.is_established, "the SCP did not accept the association"
    # Command and Identifier are two writes: the second would wait 40 ms for the first to be seen.
    assert assoc.dul.socket is not None
    assert assoc.dul.socket.socket is not None
    assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield assoc
    finally:
        assoc.release()


def over(scp: WorklistScp) -> None:
    """Wait until every connection has ended, if in its handshake, and the journal tells of it."""
    # Here alone: the rest of this module is of use without Django.
    from dicomscp.journal import JOURNAL

    until(lambda: not any(server.is_serving for server in scp._servers), "every connection's end")
    assert JOURNAL.flush()


def ask(assoc: Association, query: Query) -> Reply:
    """Send a query and wait for all of its answers."""
    (context,) = assoc.accepted_contexts
    (syntax,) = context.transfer_syntax
    encoded = encode(query, is_explicit=syntax == ExplicitVRLittleEndian)
    with mock.patch("pynetdicom.association.encode", lambda *_: encoded):
        responses = list(assoc.send_c_find(Dataset(), ModalityWorklistInformationFind))
    pendings = [
        (status.Status, identifier) for status, identifier in responses if identifier is not None
    ]
    assert len(pendings) == len(responses) - 1, "one response, the last one, has no Identifier"
    return Reply(tuple(pendings), responses[-1][0])


def plain(dataset: Dataset) -> dict[int, tuple[Any, ...]]:
    """The values of an Identifier as texts by tag, as the oracle writes them."""
    found: dict[int, tuple[Any, ...]] = {}
    for element in dataset:
        assert dictionary_VR(element.tag) == element.VR, element
        value = element.value
        if element.VR == "SQ":
            found[int(element.tag)] = tuple(plain(item) for item in value)
        elif element.is_empty:
            found[int(element.tag)] = ()
        else:
            several = value if isinstance(value, MultiValue) else (value,)
            found[int(element.tag)] = tuple(str(one) for one in several)
    return found


# --- encoding -------------------------------------------------------------------------------------


def encode(query: Query, *, is_explicit: bool) -> bytes:
    """The bytes of a request Identifier, little endian."""
    encoder = _Encoder(query, is_explicit)
    return encoder.elements(query.keys)


class _Encoder:
    def __init__(self, query: Query, is_explicit: bool) -> None:
        self.encodings = convert_encodings(list(query.character_set) or None)
        self.has_undefined_lengths = query.has_undefined_lengths
        self.is_explicit = is_explicit

    def elements(self, keys: Sequence[Key]) -> bytes:
        return b"".join(map(self.element, keys))

    def element(self, key: Key) -> bytes:
        if key.vr == "SQ":
            return self.sequence(key)
        if key.vr in CHARACTER_SET_VRS:
            return self.text(key)
        return self.header(key, len(value := self.value(key))) + value

    def header(self, key: Key, length: int) -> bytes:
        tag = struct.pack("<HH", key.tag >> 16, key.tag & 0xFFFF)
        if not self.is_explicit:
            return tag + struct.pack("<L", length)
        if key.vr in _LONG_VRS:
            return tag + key.vr.encode() + struct.pack("<HL", 0, length)
        return tag + key.vr.encode() + struct.pack("<H", length)

    def value(self, key: Key) -> bytes:
        if key.vr in _NUMBERS:
            return b"".join(struct.pack(_NUMBERS[key.vr], number) for number in key.values)
        value = "\\".join(key.values).encode("latin-1")
        return value + (b"\0" if key.vr in ("OB", "UI") else b" ") * (len(value) % 2)

    def text(self, key: Key) -> bytes:
        if key.vr == "PN":
            names = b"\\".join(map(self.name, key.values))
            names += b" " * (len(names) % 2)
            return self.header(key, len(names)) + names
        fp = DicomBytesIO()
        fp.is_little_endian, fp.is_implicit_VR = True, not self.is_explicit
        value = list(key.values) if len(key.values) > 1 else "".join(key.values)
        element = DataElement(key.tag, key.vr, value, validation_mode=config.IGNORE)
        write_data_element(fp, element, self.encodings)
        return fp.getvalue()

    def name(self, name: str) -> bytes:
        """A name with all of its "=": pydicom's writer drops those at the end."""
        stripped = name.rstrip("=")
        return PersonName(stripped).encode(self.encodings) + b"=" * (len(name) - len(stripped))

    def sequence(self, key: Key) -> bytes:
        items = b"".join(map(self.item, key.values))
        if self.has_undefined_lengths:
            end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
            return self.header(key, UNDEFINED_LENGTH) + items + end
        return self.header(key, len(items)) + items

    def item(self, keys: Sequence[Key]) -> bytes:
        elements = self.elements(keys)
        if self.has_undefined_lengths:
            end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
            return struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED_LENGTH) + elements + end
        return struct.pack("<HHL", 0xFFFE, 0xE000, len(elements)) + elements


def describe(keys: Sequence[Key]) -> dict[str, Any]:
    """A request as people read it."""
    return {
        f"({key.tag >> 16:04X},{key.tag & 0xFFFF:04X}) {keyword_for_tag(key.tag)}": (
            [describe(item) for item in key.values] if key.vr == "SQ" else key.values
        )
        for key in keys
    }
