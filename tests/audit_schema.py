"""The schema of DICOM audit messages (PS3.15 A.5.1, RELAX NG there) as a table, and a checker.

Names, order and number of elements, attributes that must be there, the values that each may take.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, fromstring

Check = Callable[[str], bool]


def anything(text: str) -> bool:
    return True


def one_of(*values: str) -> Check:
    return lambda text: text in values


def number(least: int, most: int) -> Check:
    return one_of(*map(str, range(least, most + 1)))


def date_time(text: str) -> bool:
    """xsd:dateTime, with the zone that A.5.2.5 wants."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)", text):
        return False
    return dt.datetime.fromisoformat(text).tzinfo is not None


def base64_binary(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


boolean = one_of("true", "false", "0", "1")
integer = re.compile(r"[+-]?\d+").fullmatch


@dataclass(frozen=True)
class Shape:
    """An element: its attributes ("?" at the end of the name: optional), children in order, text.

    A child is its names (one of them) and how often it may come: "1", "?", "*", "+".
    """

    attributes: dict[str, Check] = field(default_factory=dict)
    children: tuple[tuple[tuple[str, ...], str], ...] = ()
    text: Check | None = None


def child(names: str) -> tuple[tuple[str, ...], str]:
    """ "A|B+" as names and number."""
    bare = names.rstrip("?*+")
    return tuple(bare.split("|")), names[len(bare) :] or "1"


def children(*names: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    return tuple(map(child, names))


CODED = Shape(
    {
        "csd-code": anything,
        "codeSystemName": anything,
        "displayName?": anything,
        "originalText": anything,
    }
)
UID = Shape({"UID": anything})

SCHEMA: dict[str, Shape] = {
    "AuditMessage": Shape(
        children=children(
            "EventIdentification",
            "ActiveParticipant+",
            "AuditSourceIdentification",
            "ParticipantObjectIdentification*",
        )
    ),
    "EventIdentification": Shape(
        {
            "EventActionCode?": one_of(*"CRUDE"),
            "EventDateTime": date_time,
            "EventOutcomeIndicator": one_of("0", "4", "8", "12"),
        },
        children("EventID", "EventTypeCode*", "EventOutcomeDescription?"),
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "EventOutcomeDescription": Shape(text=anything),
    "ActiveParticipant": Shape(
        {
            "UserID": anything,
            "AlternativeUserID?": anything,
            "UserName?": anything,
            "UserIsRequestor": boolean,
            "NetworkAccessPointID?": anything,
            "NetworkAccessPointTypeCode?": number(1, 5),
        },
        children("RoleIDCode*", "MediaIdentifier?"),
    ),
    "RoleIDCode": CODED,
    "MediaIdentifier": Shape(children=children("MediaType")),
    "MediaType": CODED,
    "AuditSourceIdentification": Shape(
        {"AuditEnterpriseSiteID?": anything, "AuditSourceID": anything},
        children("AuditSourceTypeCode*"),
    ),
    "AuditSourceTypeCode": Shape(
        {
            "csd-code": anything,
            "codeSystemName?": anything,
            "displayName?": anything,
            "originalText?": anything,
        }
    ),
    "ParticipantObjectIdentification": Shape(
        {
            "ParticipantObjectID": anything,
            "ParticipantObjectTypeCode?": number(1, 4),
            "ParticipantObjectTypeCodeRole?": number(1, 26),
            "ParticipantObjectDataLifeCycle?": number(1, 15),
            "ParticipantObjectSensitivity?": anything,
        },
        children(
            "ParticipantObjectIDTypeCode",
            "ParticipantObjectName|ParticipantObjectQuery",
            "ParticipantObjectDetail*",
            "ParticipantObjectDescription*",
        ),
    ),
    "ParticipantObjectIDTypeCode": CODED,
    "ParticipantObjectName": Shape(text=anything),
    "ParticipantObjectQuery": Shape(text=base64_binary),
    "ParticipantObjectDetail": Shape({"type": anything, "value": base64_binary}),
    "ParticipantObjectDescription": Shape(
        children=children(
            "MPPS*",
            "Accession*",
            "SOPClass*",
            "ParticipantObjectContainsStudy?",
            "Encrypted?",
            "Anonymized?",
        )
    ),
    "MPPS": UID,
    "Accession": Shape({"Number": anything}),
    "SOPClass": Shape(
        {"UID?": anything, "NumberOfInstances": lambda text: bool(integer(text))},
        children("Instance*"),
    ),
    "Instance": UID,
    "ParticipantObjectContainsStudy": Shape(children=children("StudyIDs")),
    "StudyIDs": Shape({"UID?": anything}),
    "Encrypted": Shape(text=boolean),
    "Anonymized": Shape(text=boolean),
}


def faults(document: bytes) -> list[str]:
    """Where a message breaks the schema; [] when it holds."""
    root = fromstring(document)
    if root.tag != "AuditMessage":
        return [f"{root.tag} is not AuditMessage"]
    return list(_faults(root, root.tag))


def _faults(element: Element, path: str) -> Iterator[str]:
    shape = SCHEMA[element.tag]
    allowed = {name.rstrip("?"): check for name, check in shape.attributes.items()}
    for name, value in element.attrib.items():
        if name not in allowed:
            yield f"{path}: no attribute {name}"
        elif not allowed[name](value):
            yield f"{path}: {name} may not be {value!r}"
    for name in shape.attributes:
        if not name.endswith("?") and name not in element.attrib:
            yield f"{path}: lacks {name}"
    text = element.text or ""
    if shape.text is None and text.strip():
        yield f"{path}: holds text"
    if shape.text is not None and not shape.text(text):
        yield f"{path}: may not hold {text!r}"
    yield from _order(element, shape, path)
    for each in element:
        if each.tag in SCHEMA:
            yield from _faults(each, f"{path}/{each.tag}")


def _order(element: Element, shape: Shape, path: str) -> Iterator[str]:
    rest = [each.tag for each in element]
    for names, times in shape.children:
        count = 0
        while rest and rest[0] in names:
            rest.pop(0)
            count += 1
        if (count == 0 and times in "1+") or (count > 1 and times in "1?"):
            yield f"{path}: {count} of {'|'.join(names)}, where {times!r} is asked for"
    if rest:
        yield f"{path}: {rest[0]} has no place there"
