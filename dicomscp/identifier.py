"""A C-FIND request's Identifier: from its bytes to keys, every byte accounted for.

pydicom's reader stops in silence at the first element that it cannot read, and a key that is not
read counts as universal: a damaged Identifier would answer with the whole worklist. So the bytes
are walked here, with bounds, and what is not a well-formed data set is refused.
Pure: no database, no network.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import dictionary_VR

from dicomscp.status import CANNOT_DECODE, IDENTIFIER_DOES_NOT_MATCH, Refusal

# A console's Identifier has about fifty elements, two levels deep, in some hundred bytes.
MAX_BYTES = 256 * 1024
MAX_ELEMENTS = 2000
MAX_DEPTH = 6

SPECIFIC_CHARACTER_SET = 0x00080005
TIMEZONE_OFFSET_FROM_UTC = 0x00080201
_DATA_SET_TRAILING_PADDING = 0xFFFCFFFC
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF

# PS3.5 Table 7.1-1 and 7.1-2: the VRs with a two-byte and with a four-byte length.
_SHORT_VRS = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"}
    | {"LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"}
)
_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
# PS3.5 7.3: what byte order counts for, and how many bytes one number has.
_NUMBER_SIZES = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
_NUMBER_SIZES |= dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8)


@dataclass(frozen=True)
class Element:
    """One element of the Identifier, still in its bytes; of a sequence, its items' elements.

    `vr` is "UN" where neither the stream nor the dictionary knows it.
    """

    tag: int
    vr: str
    value: bytes
    items: tuple[tuple[Element, ...], ...] = ()

    @property
    def is_sequence(self) -> bool:
        return self.vr == "SQ"


def read(encoded: bytes, *, implicit_vr: bool, big_endian: bool = False) -> tuple[Element, ...]:
    """The elements of a data set, in the order in which they were sent, values in little endian.

    Group length elements and trailing padding are left out (PS3.5 7.2, 7.8.1). Raises Refusal:
    0xC001 for bytes that are no data set, 0xA900 past a bound or for an element that stands twice.
    """
    if len(encoded) > MAX_BYTES:
        raise Refusal(IDENTIFIER_DOES_NOT_MATCH, f"Identifier of more than {MAX_BYTES} bytes")
    walker = _Walker(encoded, ">" if big_endian else "<")
    return walker.elements(0, len(encoded), implicit_vr=implicit_vr, depth=1)[0]


def items(element: Element) -> tuple[tuple[Element, ...], ...]:
    """The items of an element that is known to be a sequence.

    PS3.5 6.2.2: one of VR UN and of a known length was a sequence in Implicit VR Little Endian.
    Raises Refusal for what is none.
    """
    if element.vr != "UN":
        return element.items
    header = struct.pack("<HHI", element.tag >> 16, element.tag & 0xFFFF, len(element.value))
    (again,) = read(header + element.value, implicit_vr=True)
    return again.items


def _damaged(rule: str, tag: int | None = None) -> Refusal:
    if tag is None:
        return Refusal(CANNOT_DECODE, f"Identifier damaged: {rule}")
    return Refusal(
        CANNOT_DECODE, f"Identifier damaged at ({tag >> 16:04X},{tag & 0xFFFF:04X}): {rule}", (tag,)
    )


class _Walker:
    """Walks a data set once, forwards, counting what it has met."""

    def __init__(self, encoded: bytes, order: str) -> None:
        self._bytes = encoded
        self._order = order
        self._count = 0

    def _unpack(self, form: str, position: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + form, self._bytes, position)

    def elements(
        self, start: int, end: int, *, implicit_vr: bool, depth: int, undefined: bool = False
    ) -> tuple[tuple[Element, ...], int]:
        """The elements from `start`, and where they end: at `end`, or behind an item delimiter."""
        found: dict[int, Element] = {}
        position = start
        while position < end:
            tag = self._tag(position, end)
            if undefined and tag == _ITEM_END:
                self._no_length(tag, position, end)
                return tuple(found.values()), position + 8
            if tag >> 16 == 0xFFFE:
                raise _damaged("a delimiter out of place", tag)
            element, position = self._element(
                tag, position, end, implicit_vr=implicit_vr, depth=depth
            )
            if tag & 0xFFFF == 0 and not self._is_group_length(tag, element):
                raise _damaged("no group length", tag)
            if tag & 0xFFFF == 0 or tag == _DATA_SET_TRAILING_PADDING:
                continue
            if tag in found:
                raise Refusal(IDENTIFIER_DOES_NOT_MATCH, "an element stands twice", (tag,))
            found[tag] = element
        if undefined:
            raise _damaged("an item has no end")
        return tuple(found.values()), position

    def _tag(self, position: int, end: int) -> int:
        if position + 8 > end:
            raise _damaged("cut inside an element's header")
        group, element = self._unpack("HH", position)
        return group << 16 | element

    def _is_group_length(self, tag: int, element: Element) -> bool:
        """Whether it may be one, right or wrong, and is no key whose tag was damaged."""
        if len(element.value) != 4 or element.vr not in ("UL", "UN"):
            return not element.value and not element.items
        (length,) = struct.unpack("<I", element.value)
        return int(length) <= MAX_BYTES

    def _no_length(self, tag: int, position: int, end: int) -> None:
        if self._unpack("I", position + 4)[0]:
            raise _damaged("a delimiter with a length", tag)

    def _element(
        self, tag: int, position: int, end: int, *, implicit_vr: bool, depth: int
    ) -> tuple[Element, int]:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise Refusal(
                IDENTIFIER_DOES_NOT_MATCH, f"Identifier of more than {MAX_ELEMENTS} elements"
            )
        vr, length, position = self._header(tag, position, end, implicit_vr=implicit_vr)
        if length == _UNDEFINED:
            if vr not in ("SQ", "UN"):
                raise _damaged(f"undefined length for VR {vr}", tag)
            # PS3.5 6.2.2: UN of undefined length is a sequence in Implicit VR Little Endian.
            inner_implicit = implicit_vr or vr == "UN"
            items, position = self._items(
                tag, position, end, implicit_vr=inner_implicit, depth=depth, undefined=True
            )
            return Element(tag, "SQ", b"", items), position
        if length % 2:
            raise _damaged("odd length", tag)
        if position + length > end:
            raise _damaged("longer than what holds it", tag)
        stop = position + length
        if vr == "SQ":
            items, _ = self._items(tag, position, stop, implicit_vr=implicit_vr, depth=depth)
            return Element(tag, "SQ", b"", items), stop
        value = self._bytes[position:stop]
        if self._order == ">" and vr in _NUMBER_SIZES:
            value = _swapped(value, _NUMBER_SIZES[vr])
        return Element(tag, vr, value), stop

    def _header(
        self, tag: int, position: int, end: int, *, implicit_vr: bool
    ) -> tuple[str, int, int]:
        """VR, length and where the value starts."""
        if implicit_vr:
            (length,) = self._unpack("I", position + 4)
            return _dictionary_vr(tag), length, position + 8
        vr = self._bytes[position + 4 : position + 6].decode("latin-1")
        if vr in _SHORT_VRS:
            (length,) = self._unpack("H", position + 6)
            return vr, length, position + 8
        if vr not in _LONG_VRS:
            raise _damaged("unknown VR", tag)
        if position + 12 > end:
            raise _damaged("cut inside an element's header")
        (length,) = self._unpack("I", position + 8)
        return vr, length, position + 12

    def _items(
        self,
        tag: int,
        start: int,
        end: int,
        *,
        implicit_vr: bool,
        depth: int,
        undefined: bool = False,
    ) -> tuple[tuple[tuple[Element, ...], ...], int]:
        if depth >= MAX_DEPTH:
            raise Refusal(
                IDENTIFIER_DOES_NOT_MATCH, f"sequences deeper than {MAX_DEPTH} levels", (tag,)
            )
        items: list[tuple[Element, ...]] = []
        position = start
        while position < end:
            item_tag = self._tag(position, end)
            if undefined and item_tag == _SEQUENCE_END:
                self._no_length(item_tag, position, end)
                return tuple(items), position + 8
            if item_tag != _ITEM:
                raise _damaged("a sequence holds something that is no item", tag)
            self._count += 1
            if self._count > MAX_ELEMENTS:
                raise Refusal(
                    IDENTIFIER_DOES_NOT_MATCH, f"Identifier of more than {MAX_ELEMENTS} elements"
                )
            (length,) = self._unpack("I", position + 4)
            position += 8
            if length == _UNDEFINED:
                item, position = self.elements(
                    position, end, implicit_vr=implicit_vr, depth=depth + 1, undefined=True
                )
            else:
                if position + length > end:
                    raise _damaged("an item longer than its sequence", tag)
                item, position = self.elements(
                    position, position + length, implicit_vr=implicit_vr, depth=depth + 1
                )
            items.append(item)
        if undefined:
            raise _damaged("a sequence has no end", tag)
        return tuple(items), position


def _swapped(value: bytes, size: int) -> bytes:
    """Numbers of this size with their bytes the other way round."""
    return b"".join(value[start : start + size][::-1] for start in range(0, len(value), size))


@lru_cache(maxsize=4096)
def _dictionary_vr(tag: int) -> str:
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return vr if len(vr) == 2 else "UN"
