"""Worklist files as wlmscpfs and Orthanc keep them: where they are, what they hold, writing them.

Reading is a room of its own. No database, no network.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from worklist import attributes, values
from worklist.attributes import Attribute

SUFFIXES = (".wl", ".dcm", ".json")
LOCKFILE = "lockfile"

STEPS = attributes.find("ScheduledProcedureStepSequence")
Value = values.Value | tuple[str, ...]
Code = tuple[str, ...]
"""One item of a code sequence: its values in the order of the sequence's lines in the table."""


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
    own = name_of(attribute.tag)
    if attribute.parent and attribute.parent is not STEPS:
        return f"{label(attribute.parent)} > {own}"
    return own


def name_of(tag: int) -> str:
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    try:
        return f"{dictionary_description(tag)} {number}"
    except KeyError:
        return f"{'Private attribute' if tag >> 16 & 1 else 'Unknown attribute'} {number}"


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


# --- writing --------------------------------------------------------------------------------------


def _explicit_little_endian() -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    return buffer


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
