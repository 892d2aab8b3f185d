"""Worklist files: read into records, one a step, and written again.

A file is what wlmscpfs and Orthanc keep: a data set in Part 10 format or bare, or DICOM JSON. The
attribute table says what is read; the rest is counted. No database, no network.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pydicom
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomscp import identifier
from dicomscp.status import Refusal
from worklist import attributes, character_set, values
from worklist.attributes import Attribute

SUFFIXES = (".wl", ".dcm", ".json")
LOCKFILE = "lockfile"

STEPS = attributes.find("ScheduledProcedureStepSequence")
# What a step cannot be scheduled without and nobody can make up.
REQUIRED = tuple(
    attributes.find(*path)
    for path in (
        ("PatientName",),
        ("PatientID",),
        (STEPS.keyword, "ScheduledStationAETitle"),
        (STEPS.keyword, "ScheduledProcedureStepStartDate"),
        (STEPS.keyword, "ScheduledProcedureStepStartTime"),
        (STEPS.keyword, "Modality"),
    )
)

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_IMPLICIT = "1.2.840.10008.1.2"
# Their data sets are deflated as a whole (PS3.5 A.5, and JPIP's).
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
# Their bytes are numbers, not text.
_NO_TEXT_VRS = frozenset("AT FD FL OB OD OF OL OV OW SL SS SV UL US UV".split())  # noqa: SIM905

Value = values.Value | tuple[str, ...]
Code = tuple[str, ...]
"""One item of a code sequence: its values in the order of the sequence's lines in the table."""

# A data set as texts: the values of an attribute, or the items of a sequence. What the table lacks
# is there without its value.
_Node = dict[int, "tuple[str, ...] | tuple[_Node, ...]"]
_SOMETHING = ("something",)


class BadDataSetError(ValueError):
    """A data set that cannot go in; its text names attribute, rule and offender."""


@dataclass(frozen=True)
class Record:
    """One step with all that stands above it. Attributes without a value are not in it."""

    values: Mapping[Attribute, Value]
    codes: Mapping[Attribute, tuple[Code, ...]]


@dataclass(frozen=True)
class DataSet:
    """What one data set of a file holds: its steps, or the reason why they cannot be read."""

    name: str
    records: tuple[Record, ...] = ()
    reason: str = ""
    not_held: Counter[str] = field(default_factory=Counter)


def label(attribute: Attribute) -> str:
    """The attribute as reports print it: name and tag, after those of the sequence it stands in."""
    own = _name_of(attribute.tag)
    if attribute.parent and attribute.parent is not STEPS:
        return f"{label(attribute.parent)} > {own}"
    return own


def _name_of(tag: int) -> str:
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    try:
        return f"{dictionary_description(tag)} {number}"
    except KeyError:
        return f"{'Private attribute' if tag >> 16 & 1 else 'Unknown attribute'} {number}"


def _bad(attribute: Attribute, rule: str) -> BadDataSetError:
    return BadDataSetError(f"{label(attribute)}: {rule}")


# --- where the files are --------------------------------------------------------------------------


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that are named, and the worklist files below the folders that are named.

    Sorted within a folder, each once. A path that does not exist is answered too: reading tells.
    """
    seen: set[Path] = set()
    for path in paths:
        for found in _below(path) if path.is_dir() else (path,):
            resolved = found.resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield found


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and name != LOCKFILE:
                yield Path(place) / name


# --- reading --------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[DataSet]:
    """The data sets of one file. One that cannot be read comes with its reason."""
    name = str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        yield DataSet(name, reason=f"cannot be read: {error.strerror or error}")
        return
    if path.suffix.lower() == ".json" or content.lstrip()[:1] in (b"{", b"["):
        yield from _read_json(name, content)
        return
    try:
        yield _data_set(name, _from_elements(_decode(content), attributes.BY_TAG, ()))
    except BadDataSetError as error:
        yield DataSet(name, reason=str(error))


def _decode(content: bytes) -> tuple[identifier.Element, ...]:
    """The elements of a file, Part 10 or bare, every byte accounted for."""
    try:
        syntax, start = _meta(content, 132 if content[128:132] == b"DICM" else 0)
        encoded = content[start:]
        if syntax in _DEFLATED:
            encoded = zlib.decompress(encoded, -zlib.MAX_WBITS)
        elif syntax == _BIG_ENDIAN:
            encoded = _swapped(content)
        # A bare data set does not say; Explicit VR has a VR where Implicit VR has a length.
        is_implicit = syntax == _IMPLICIT if syntax else not encoded[4:6].isupper()
        elements = identifier.read(encoded, implicit_vr=is_implicit)
    except Refusal as error:
        rule = error.comment.removeprefix("Identifier damaged").removeprefix(": ").strip()
        raise BadDataSetError(
            f"not a DICOM data set: {rule.replace('Identifier', 'data set')}"
        ) from None
    except (struct.error, zlib.error) as error:
        raise BadDataSetError(f"not a DICOM data set: {error}") from None
    if not elements:
        raise BadDataSetError("not a DICOM data set: it is empty")
    return elements


def _meta(content: bytes, position: int) -> tuple[str, int]:
    """The Transfer Syntax UID that the File Meta Information names, "" for none, and its end."""
    syntax = ""
    while content[position : position + 2] == b"\x02\x00":
        element, vr, length = struct.unpack_from("<H2sH", content, position + 2)
        position += 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", content, position)
            position += 4
        if position + length > len(content):
            raise BadDataSetError("not a DICOM data set: cut inside its File Meta Information")
        if element == 0x0010:
            syntax = content[position : position + length].decode("latin-1").strip(" \0")
        position += length
    return syntax, position


def _swapped(content: bytes) -> bytes:
    """A big endian file's data set in Explicit VR Little Endian."""
    try:
        dataset = pydicom.dcmread(BytesIO(content), force=True)
        buffer = _explicit_little_endian()
        write_dataset(buffer, Dataset(dataset))
    except Exception as error:  # pydicom raises whatever the bytes make it stumble over
        raise BadDataSetError(f"not a DICOM data set: {error}") from None
    return buffer.getvalue()


def _explicit_little_endian() -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    return buffer


def _from_elements(
    elements: Sequence[identifier.Element],
    level: Mapping[int, Attribute],
    terms: character_set.CharacterSet,
) -> _Node:
    for element in elements:
        if element.tag == identifier.SPECIFIC_CHARACTER_SET:
            terms = character_set.read(element.value)
    node: _Node = {}
    for element in elements:
        attribute = level.get(element.tag)
        if attribute is None:
            is_held = bool(element.items or element.value.strip(b" \0"))
            if is_held and element.tag != identifier.SPECIFIC_CHARACTER_SET:
                node[element.tag] = _SOMETHING
        elif attribute.is_sequence:
            node[element.tag] = tuple(
                _from_elements(item, attribute.item_by_tag, terms)
                for item in _items(attribute, element)
            )
        else:
            node[element.tag] = _texts(attribute, element, terms)
    return node


def _items(
    attribute: Attribute, element: identifier.Element
) -> tuple[tuple[identifier.Element, ...], ...]:
    if element.is_sequence:
        return element.items
    if element.vr != "UN":
        raise _bad(attribute, f"a sequence, but its VR in the file is {element.vr}")
    # PS3.5 6.2.2: what is UN of a known length here was a sequence in Implicit VR Little Endian.
    header = struct.pack("<HHI", element.tag >> 16, element.tag & 0xFFFF, len(element.value))
    try:
        (read_again,) = identifier.read(header + element.value, implicit_vr=True)
    except Refusal as error:
        raise _bad(attribute, error.comment) from None
    return read_again.items


def _texts(
    attribute: Attribute, element: identifier.Element, terms: character_set.CharacterSet
) -> tuple[str, ...]:
    vr, value = attribute.vr, element.value
    if element.is_sequence or (element.vr in _NO_TEXT_VRS and element.vr != vr):
        raise _bad(attribute, f"its VR in the file is {element.vr}, not {vr}")
    if vr == "US":
        if element.vr not in ("US", "UN"):
            value = value.strip(b" \0")
            return (value.decode("latin-1"),) if value else ()
        return tuple(str(number) for number in struct.unpack(f"<{len(value) // 2}H", value))
    try:
        if vr in character_set.GOVERNED_VRS:
            text = character_set.decode(value, terms, vr)
        else:
            text = value.decode("ascii")
    except UnicodeError:
        raise _bad(attribute, f"{value!r} is not ASCII") from None
    except ValueError as error:
        raise _bad(attribute, f"{value!r}: {error}") from None
    return tuple(text.split("\\")) if attribute.is_multi_valued else (text,)


def _read_json(name: str, content: bytes) -> Iterator[DataSet]:
    try:
        # Numbers stay as they are spelt: a DS is kept as text.
        found = json.loads(content, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        yield DataSet(name, reason=f"not DICOM JSON: {error}")
        return
    several = found if isinstance(found, list) else [found]
    if not several:
        yield DataSet(name, reason="not DICOM JSON: no data set in it")
    for number, one in enumerate(several, start=1):
        own_name = f"{name}[{number}]" if isinstance(found, list) else name
        try:
            yield _data_set(own_name, _from_json(one, attributes.BY_TAG))
        except BadDataSetError as error:
            yield DataSet(own_name, reason=str(error))


def _from_json(found: Any, level: Mapping[int, Attribute]) -> _Node:
    """PS3.18 F.2: an object of eight-digit tags, each with its VR and its values."""
    if not isinstance(found, dict):
        raise BadDataSetError("not DICOM JSON: a data set is an object")
    node: _Node = {}
    for key, element in found.items():
        try:
            tag = int(key, 16)
        except ValueError:
            tag = -1
        if len(key) != 8 or tag < 0 or not isinstance(element, dict):
            raise BadDataSetError(f"not DICOM JSON: {key!r} is not a tag with its element")
        attribute = level.get(tag)
        several = element.get("Value") or []
        is_held = bool(several) or "InlineBinary" in element or "BulkDataURI" in element
        if attribute is None:
            if is_held and tag != identifier.SPECIFIC_CHARACTER_SET:
                node[tag] = _SOMETHING
            continue
        if not isinstance(several, list) or (is_held and not several):
            raise _bad(attribute, "its Value in the file is not an array")
        if attribute.is_sequence:
            node[tag] = tuple(_from_json(item or {}, attribute.item_by_tag) for item in several)
        else:
            node[tag] = tuple(_json_text(attribute, one) for one in several)
    return node


def _json_text(attribute: Attribute, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict) and attribute.vr == "PN":
        groups = [value.get(group) or "" for group in ("Alphabetic", "Ideographic", "Phonetic")]
        if all(isinstance(group, str) for group in groups):
            return "=".join(groups).rstrip("=")
    if not isinstance(value, str):
        raise _bad(attribute, f"not a value of VR {attribute.vr}: {value!r}")
    return value


# --- from texts to records ------------------------------------------------------------------------


def _data_set(name: str, node: _Node) -> DataSet:
    not_held: Counter[str] = Counter()
    above = _Taker(not_held)
    steps = cast("tuple[_Node, ...]", node.pop(STEPS.tag, ()))
    above.take(node, attributes.BY_TAG)
    if not steps:
        raise _bad(STEPS, "it has no item: a step is missing")
    records = []
    for step in steps:
        taker = _Taker(not_held, above)
        taker.take(step, STEPS.item_by_tag)
        for attribute in REQUIRED:
            if attribute not in taker.values:
                raise _bad(attribute, "it has no value")
        records.append(Record(taker.values, taker.codes))
    return DataSet(name, tuple(records), not_held=not_held)


class _Taker:
    """Takes the table's attributes out of a data set, checked, and counts the others."""

    def __init__(self, not_held: Counter[str], above: _Taker | None = None) -> None:
        self.values: dict[Attribute, Value] = dict(above.values) if above else {}
        self.codes: dict[Attribute, tuple[Code, ...]] = dict(above.codes) if above else {}
        self._not_held = not_held

    def take(self, node: _Node, level: Mapping[int, Attribute]) -> None:
        for tag, found in node.items():
            attribute = level.get(tag)
            if attribute is None:
                self._not_held[_name_of(tag)] += 1
            elif not attribute.is_sequence:
                value = _value(attribute, cast("tuple[str, ...]", found))
                if value is not None:
                    self.values[attribute] = value
            elif attribute.column:
                self._take_codes(attribute, cast("tuple[_Node, ...]", found))
            elif found:
                first, *others = cast("tuple[_Node, ...]", found)
                self.take(first, attribute.item_by_tag)
                self._count(attribute, len(others))

    def _take_codes(self, attribute: Attribute, items: tuple[_Node, ...]) -> None:
        codes = []
        for item in items:
            taker = _Taker(self._not_held)
            taker.take(item, attribute.item_by_tag)
            if not taker.values:
                self._count(attribute, 1)
                continue
            given = [one for one in taker.values if one.column.endswith("value")]
            if len(given) > 1:
                raise _bad(given[1], f"a code has one value; this one has {given[0].name} too")
            if not given:
                self._count(attribute, 1)
                continue
            codes.append(tuple(str(taker.values.get(one, "")) for one in attribute.items))
        # A code that stands twice in a sequence says nothing the second time.
        once = tuple(dict.fromkeys(codes))
        self._count(attribute, len(codes) - len(once))
        if once:
            self.codes[attribute] = once

    def _count(self, attribute: Attribute, items: int) -> None:
        if items:
            self._not_held[f"{label(attribute)}: item"] += items


def _value(attribute: Attribute, texts: tuple[str, ...]) -> Value | None:
    """The checked value; None when there is none."""
    try:
        if attribute.is_multi_valued:
            parts = [str(values.parse(text, attribute.vr)) for text in texts]
            if attribute.vr == "AE":
                parts = [part for part in dict.fromkeys(parts) if part]
            return tuple(parts) if any(parts) else None
        if len(texts) > 1:
            raise ValueError(f"{len(texts)} values; it has one: {', '.join(texts)}")
        text = texts[0].strip(" \0") if texts else ""
        return values.parse(text, attribute.vr) if text else None
    except ValueError as error:
        raise _bad(attribute, str(error)) from None


# --- writing --------------------------------------------------------------------------------------


def file_name(study_instance_uid: str, step_id: str) -> str:
    """The name under which a step is exported; different steps never share one."""
    return f"{quote(study_instance_uid, safe='')}.{quote(step_id, safe='')}.wl"


def write(folder: Path, dataset: Dataset) -> Path:
    """Write one step's data set as a Part 10 file in Explicit VR Little Endian.

    The file appears whole or not at all: a server may be reading the folder.
    """
    (step,) = dataset.ScheduledProcedureStepSequence
    path = folder / file_name(dataset.StudyInstanceUID, step.ScheduledProcedureStepID)
    part = path.with_suffix(".part")
    part.write_bytes(part10(dataset))
    part.replace(path)
    return path


def part10(dataset: Dataset) -> bytes:
    """One step's data set as a worklist file, in Explicit VR Little Endian."""
    (step,) = dataset.ScheduledProcedureStepSequence
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.31")
    meta.MediaStorageSOPInstanceUID = made_uid(
        "file", dataset.StudyInstanceUID, step.ScheduledProcedureStepID
    )
    buffer = _explicit_little_endian()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta)
    write_dataset(buffer, dataset)
    written: bytes = buffer.getvalue()
    return written


# --- identifiers that a file lacks ----------------------------------------------------------------

_NAMESPACE = uuid.UUID("7f0f2a0e-30c1-5a7e-9a50-0c7c1c1b8f11")


def made_uid(*identity: str) -> UID:
    """A UID made of these texts, the same each time (PS3.5 B.2)."""
    return UID(f"2.25.{_uuid(identity).int}")


def made_id(prefix: str, *identity: str) -> str:
    """An identifier of 16 characters (SH) made of these texts, the same each time."""
    return prefix + _uuid((prefix, *identity)).hex[: 16 - len(prefix)].upper()


def _uuid(identity: Sequence[str]) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, json.dumps(identity))
