"""Keys that nobody can have asked with: what is left of others whose tag was damaged.

An optional key that is not supported asks for nothing (PS3.4 C.2.2.1.3), so one flipped bit in the
tag of a patient's ID would ask for everybody's exams. An empty one does no such harm.
Pure: no database, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydicom.datadict import dictionary_VM, dictionary_VR

from dicomscp import identifier
from dicomscp.identifier import Element
from dicomscp.status import IDENTIFIER_DOES_NOT_MATCH, Refusal

_TEXTS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT"})
_TEXTS |= {"PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
# PS3.5 6.1.3, and NUL, with which some fill a value up.
_CONTROLS = frozenset(b"\t\n\f\r\x1b\0")
_ANY_SEQUENCE = 0x00400100
_NUMBERS = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}


def refuse_what_is_none(level: Sequence[Element], position: int) -> None:
    """Refuse an unsupported key with a value that is none of a data set.

    `level` holds all the keys of its level as they were sent. Raises Refusal (0xA900).
    """
    element = level[position]
    if not _has_value(element):
        return
    before = max((other.tag for other in level[:position]), default=0)
    after = min((other.tag for other in level[position + 1 :]), default=0xFFFFFFFF)
    if not before < element.tag < after:
        raise _refusal(element, "out of order")
    if element.tag >> 16 & 1:
        if not _is_private(element, level):
            raise _refusal(element, "private, and nobody's")
        return
    try:
        vrs = dictionary_VR(element.tag).split(" or ")
    except KeyError:
        raise _refusal(element, "no attribute of DICOM") from None
    if element.vr not in (*vrs, "UN", "OB"):
        raise _refusal(element, f"VR {element.vr}, not {vrs[0]}")
    if not _is_of(element, vrs):
        raise _refusal(element, f"no value of VR {vrs[0]}")


def _has_value(element: Element) -> bool:
    if not element.value.strip(b" \0"):
        return any(_has_value(inner) for item in element.items for inner in item)
    if element.vr != "UN":
        return True
    try:
        # It may be a sequence in Implicit VR that no dictionary knows: read as one that it does.
        items = identifier.items(replace(element, tag=_ANY_SEQUENCE))
    except Refusal:
        return True
    return any(_has_value(inner) for item in items for inner in item)


def _is_private(element: Element, level: Sequence[Element]) -> bool:
    """Whether it is in a block, or reserves one: that which comes first, or one that is used.

    PS3.5 7.8.1; that blocks are reserved is not asked for, since consoles forget it.
    """
    group, number = element.tag >> 16, element.tag & 0xFFFF
    if group in (1, 3, 5, 7, 0xFFFF):
        return False
    if 0x10 <= number <= 0xFF:
        return number == 0x10 or any(other.tag >> 8 == group << 8 | number for other in level)
    return number >= 0x1000


def _is_of(element: Element, vrs: Sequence[str]) -> bool:
    """Whether the value may be one of these VRs."""
    if "SQ" in vrs:
        return element.is_sequence or element.vr == "UN"
    if element.is_sequence:
        return False
    if size := _NUMBERS.get(vrs[0]):
        is_one = dictionary_VM(element.tag) == "1"
        return len(element.value) == size if is_one else len(element.value) % size == 0
    return vrs[0] not in _TEXTS or _is_text(element.value)


def _is_text(value: bytes) -> bool:
    return all(byte >= 0x20 or byte in _CONTROLS for byte in value) and b"\0" not in value.rstrip(
        b"\0 "
    )


def _refusal(element: Element, rule: str) -> Refusal:
    return Refusal(
        IDENTIFIER_DOES_NOT_MATCH,
        f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X}): {rule}",
        (element.tag,),
    )
