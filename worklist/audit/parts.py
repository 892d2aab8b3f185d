"""The elements of an audit message (PS3.15 A.5.1), and texts made fit for them. Pure.

Whatever a text holds, what comes out is XML that the schema takes.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Mapping
from xml.etree.ElementTree import Element, SubElement

from worklist.audit.codes import Code

UNKNOWN = "unknown"
# XML 1.0, 2.2 Char: what no document may hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BLANKS = re.compile("[ \t\r\n]+")


def coded(parent: Element, name: str, code: Code) -> None:
    """A CodedValueType under this name."""
    attributes = {
        "csd-code": code.value,
        "codeSystemName": code.scheme,
        "originalText": code.meaning,
    }
    SubElement(parent, name, attributes)


def participant(
    message: Element,
    user: str,
    address: str | None = None,
    *,
    role: Code | None = None,
    ae_title: str = "",
    asks: bool = False,
    machine: str = "",
) -> None:
    """An ActiveParticipant, at an IP address or else on a machine, if either is known."""
    attributes = {"UserID": plain(user) or UNKNOWN}
    if ae_title := plain(ae_title):
        attributes["AlternativeUserID"] = f"AETITLES={ae_title}"  # A.5.2.2
    attributes["UserIsRequestor"] = "true" if asks else "false"
    if address := plain(address or ""):
        attributes |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2"}
    elif machine:
        attributes |= {"NetworkAccessPointID": machine, "NetworkAccessPointTypeCode": "1"}
    made = SubElement(message, "ActiveParticipant", attributes)
    if role is not None:
        coded(made, "RoleIDCode", role)


def described(
    message: Element,
    codes: tuple[str, str],
    id_type: Code,
    identifier: str,
    name: str = "",
    *,
    query: bytes | None = None,
    life_cycle: str = "",
    details: Mapping[str, str] | None = None,
) -> Element:
    """A ParticipantObjectIdentification: `codes` are its type and role.

    It has a name or a query, as the schema wants. Details without a value are left out.
    """
    attributes = {
        "ParticipantObjectID": plain(identifier) or UNKNOWN,
        "ParticipantObjectTypeCode": codes[0],
        "ParticipantObjectTypeCodeRole": codes[1],
    }
    if life_cycle:
        attributes["ParticipantObjectDataLifeCycle"] = life_cycle
    found = SubElement(message, "ParticipantObjectIdentification", attributes)
    coded(found, "ParticipantObjectIDTypeCode", id_type)
    if query is None:
        SubElement(found, "ParticipantObjectName").text = plain(name) or UNKNOWN
    else:
        SubElement(found, "ParticipantObjectQuery").text = _base64(query)
    for kind, value in (details or {}).items():
        if value:
            pair = {"type": kind, "value": _base64(value.encode("utf-8", "backslashreplace"))}
            SubElement(found, "ParticipantObjectDetail", pair)
    return found


def plain(text: object) -> str:
    """A text that XML can hold: on one line, a character that it cannot hold by its number."""
    one_line = _BLANKS.sub(" ", str(text)).strip(" ")
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", one_line)


def in_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def decoded(text: object) -> bytes:
    """The bytes that a base64 text stands for; those of the text where it is none."""
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return str(text).encode("utf-8", "backslashreplace")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def instant(at: dt.datetime) -> str:
    """An instant to the microsecond, in UTC, for xsd:dateTime and RFC 5424 alike.

    Neither can write the offsets of long ago, which had seconds.
    """
    aware = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    return aware.astimezone(dt.UTC).isoformat(timespec="microseconds")
