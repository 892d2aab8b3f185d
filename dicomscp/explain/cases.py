"""A logged query as a text that DCMTK's dump2dcm reads: a case to try again anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.datadict import keyword_for_tag

from dicomscp import asked, identifier
from dicomscp.identifier import Element
from dicomscp.models import Query

_TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"}
    | {"UR", "UT"}
)
_NUMBERS = {"US": 2, "UL": 4, "SS": 2, "SL": 4}
# What dump2dcm takes for the end of a value, or of a line.
_ODD = frozenset(b"[]\r\n#")


def dump(query: Query) -> bytes:
    """The query's Identifier, in the bytes of its own character set. Raises Refusal."""
    head = (
        f"# query {query.pk} of {query.at:%Y-%m-%d %H:%M:%S} UTC, calling AE title {query.calling}",
        f"# answered with {query.sent} matches, final status "
        + ("none" if query.status is None else f"0x{query.status:04X}"),
        "# dump2dcm +l 1000000 FILE.dump FILE.dcm && findscu -W -od ANSWERS HOST PORT FILE.dcm",
    )
    lines = [line.encode("ascii", "backslashreplace") for line in head]
    return b"\n".join((*lines, *_lines(asked.elements(query), 0))) + b"\n"


def _lines(elements: Sequence[Element], depth: int) -> Iterator[bytes]:
    indent = b"  " * depth
    for element in sorted(elements, key=lambda each: each.tag):
        tag = f"({element.tag >> 16:04x},{element.tag & 0xFFFF:04x})".encode()
        name = f"  # {keyword_for_tag(element.tag) or 'unknown'}".encode()
        items = identifier.items(element) if element.vr == "SQ" else ()
        if element.vr != "SQ":
            vr, value = _value(element)
            yield indent + tag + b" " + vr + b" " + value + name
            continue
        yield indent + tag + b" SQ" + name
        for item in items:
            yield indent + b"  (fffe,e000) na"
            yield from _lines(item, depth + 2)
            yield indent + b"  (fffe,e00d) na"
        yield indent + b"(fffe,e0dd) na"


def _value(element: Element) -> tuple[bytes, bytes]:
    """VR and value as dump2dcm spells them; bytes that it would stumble over as such."""
    value, vr = element.value, element.vr
    if vr in _NUMBERS:
        size = _NUMBERS[vr]
        signed = vr.startswith("S")
        numbers = (
            int.from_bytes(value[at : at + size], "little", signed=signed)
            for at in range(0, len(value), size)
        )
        return vr.encode(), "\\".join(map(str, numbers)).encode()
    if vr in _TEXT_VRS and not set(value) & _ODD:
        text = value.rstrip(b"\0") if vr == "UI" else value.rstrip(b" \0")
        return vr.encode(), b"[" + text + b"]" if text else b"(no value available)"
    return b"UN", "\\".join(f"{byte:02x}" for byte in value).encode() or b"(no value available)"
