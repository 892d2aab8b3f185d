"""An event as a DICOM audit message (PS3.15 A.5): pure, event in, XML out.

The structure is A.5.1's schema, what stands in it A.5.2 and the tables of A.5.3. Each event is one
message. What a row is about in DICOM's words (`Subject`) is found by who calls.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, tostring

from worklist.audit import codes
from worklist.audit.codes import Code
from worklist.audit.parts import coded, decoded, described, in_json, instant, participant, plain


class Event(Protocol):
    """The columns of an AuditEvent that a message is made of."""

    at: dt.datetime
    actor: str
    address: str | None
    action: str
    outcome: int
    reason: str
    model: str
    object_id: str
    object_label: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Who reports: this installation."""

    ae_title: str
    site: str


@dataclass(frozen=True)
class Person:
    """A patient as messages name one; texts are "" where nobody knows any more."""

    patient_id: str
    name: str


@dataclass(frozen=True)
class Subject:
    """What an event is about."""

    patients: tuple[Person, ...] = ()
    studies: tuple[str, ...] = ()
    accession_number: str = ""


_RECORDS = {
    "worklist.patient": codes.PATIENT_RECORD,
    "worklist.patientmerge": codes.PATIENT_RECORD,
    "worklist.imagingservicerequest": codes.ORDER_RECORD,
    "worklist.requestedprocedure": codes.PROCEDURE_RECORD,
    "worklist.scheduledprocedurestep": codes.PROCEDURE_RECORD,
}
LOOKS = ("view", "print", "export")
_ACTION_CODES = {"create": "C", "change": "U", "delete": "D"} | dict.fromkeys((*LOOKS, "test"), "R")
# A.5.1.2.3: creation, amendment, erasure; use, report, export.
_LIFE_CYCLES = {
    "create": "1",
    "change": "3",
    "delete": "15",
    "view": "6",
    "print": "9",
    "export": "10",
    "test": "6",
}
_ALERTS = {
    "lock": codes.USER_SECURITY_CHANGED,
    "deny": codes.RESTRICTED_FUNCTION,
    "refuse": codes.NODE_AUTHENTICATION,
}
_CONFIGURATIONS = {
    "auth.group": codes.SECURITY_ROLES_CHANGED,
    "worklist.station": codes.NETWORK_CONFIGURATION,
}
_ACTIVITIES = {
    "start": (codes.APPLICATION_ACTIVITY, codes.APPLICATION_START),
    "stop": (codes.APPLICATION_ACTIVITY, codes.APPLICATION_STOP),
    "sign-in": (codes.USER_AUTHENTICATION, codes.LOGIN),
    "sign-out": (codes.USER_AUTHENTICATION, codes.LOGOUT),
}
# What of an account decides what it may do; the rest is how a person likes the screens.
_SECURITY_COLUMNS = frozenset(
    ["username", "password", "is_active", "is_staff", "is_superuser", "groups", "user_permissions"]
)


def xml(event: Event, subject: Subject, source: Source) -> bytes:
    """The message of an event: one AuditMessage in UTF-8, on one line, without a declaration."""
    family, kind = classify(event)
    message = Element("AuditMessage")
    _identify(message, event, family, kind)
    _participants(message, event, family, source)
    reporter = SubElement(
        message,
        "AuditSourceIdentification",
        # The site first: a source's ID need only be unique within it.
        AuditEnterpriseSiteID=plain(source.site),
        AuditSourceID=plain(source.ae_title),
    )
    # A.5.1.2.1: an application server.
    SubElement(reporter, "AuditSourceTypeCode", {"csd-code": "4"})
    _objects(message, event, family, subject)
    return tostring(message, encoding="utf-8", xml_declaration=False)


def classify(event: Event) -> tuple[Code, Code | None]:
    """The event's family and, where the family has kinds, its kind."""
    if event.action in _ACTIVITIES:
        return _ACTIVITIES[event.action]
    if event.action in _ALERTS:
        return codes.SECURITY_ALERT, _ALERTS[event.action]
    if event.action == "query":
        return codes.QUERY, None
    if event.model in _RECORDS:
        return _RECORDS[event.model], None
    if event.action in LOOKS:
        # A list is what a person asks for and gets: a query that is not DICOM's (A.5.3.10, note 2).
        is_trail = event.object_label == codes.AUDIT_TRAIL
        return (codes.AUDIT_LOG_USED if is_trail else codes.QUERY), None
    return codes.SECURITY_ALERT, _configuration(event)


def _configuration(event: Event) -> Code:
    if event.model == "worklist.user" and {*event.before, *event.after} & _SECURITY_COLUMNS:
        return codes.USER_SECURITY_CHANGED
    return _CONFIGURATIONS.get(event.model, codes.SOFTWARE_CONFIGURATION)


def _identify(message: Element, event: Event, family: Code, kind: Code | None) -> None:
    code = "E"
    if family in (codes.PATIENT_RECORD, codes.ORDER_RECORD, codes.PROCEDURE_RECORD):
        code = _ACTION_CODES.get(event.action, "E")
        if event.model == "worklist.patientmerge":
            # Merging, and taking a merge back, update the survivor.
            code = "U"
    elif family == codes.AUDIT_LOG_USED:
        code = "R"
    identification = SubElement(
        message,
        "EventIdentification",
        EventActionCode=code,
        EventDateTime=instant(event.at),
        EventOutcomeIndicator=str(event.outcome),
    )
    coded(identification, "EventID", family)
    if kind is not None:
        coded(identification, "EventTypeCode", kind)
    why = plain(event.reason or event.after.get("comment", ""))
    if event.outcome and why:
        SubElement(identification, "EventOutcomeDescription").text = why


# --- who takes part -------------------------------------------------------------------------------


def _participants(message: Element, event: Event, family: Code, source: Source) -> None:
    own = source.ae_title
    if family == codes.APPLICATION_ACTIVITY:
        ae_title = str(event.after.get("ae_title", ""))
        participant(message, event.actor, role=codes.APPLICATION, ae_title=ae_title)
        return
    if family == codes.SECURITY_ALERT:
        # Who reports comes first; those who acted are no requestors (A.5.3.11).
        participant(message, own, role=codes.APPLICATION, ae_title=own)
        ae_title = event.actor if event.action == "refuse" else ""
        participant(message, event.actor, event.address, ae_title=ae_title)
        return
    if event.action == "query":
        called = str(event.after.get("called") or own)
        participant(
            message,
            event.actor,
            event.address,
            role=codes.SOURCE,
            ae_title=event.actor,
            asks=True,
        )
        participant(message, called, role=codes.DESTINATION, ae_title=called)
        return
    is_idle = event.action == "sign-out" and event.reason == "idle"
    participant(
        message,
        event.actor,
        event.address,
        role=codes.SOURCE if family == codes.QUERY else None,
        # A.5.3.12: where a clock signs out, the system asks for it.
        asks=not is_idle,
        # It wants an access point: who comes through a socket of this machine is on it.
        machine="localhost" if family == codes.USER_AUTHENTICATION else "",
    )
    role = codes.DESTINATION if family == codes.QUERY else codes.APPLICATION
    participant(message, own, role=role, ae_title=own, asks=is_idle)


# --- what it is about -----------------------------------------------------------------------------


def _objects(message: Element, event: Event, family: Code, subject: Subject) -> None:
    details = _details(event)
    life_cycle = _LIFE_CYCLES.get(event.action, "")
    if family == codes.AUDIT_LOG_USED:
        details["Search"] = in_json(event.after)
        name = "Security Audit Log"
        described(message, ("2", "13"), codes.URI, "/audit/", name=name, details=details)
    elif family == codes.QUERY:
        _query(message, event, life_cycle)
        _people(message, subject.patients, life_cycle)
    elif family == codes.SECURITY_ALERT:
        _alert(message, event, details)
    elif family == codes.PATIENT_RECORD:
        people = subject.patients or (Person("", event.object_label),)
        _people(message, people[:1], life_cycle, details)
        # What was merged lives on in the survivor.
        is_merge = event.model == "worklist.patientmerge" and event.action == "create"
        _people(message, people[1:], "14" if is_merge else life_cycle)
    elif family in (codes.ORDER_RECORD, codes.PROCEDURE_RECORD):
        if family == codes.PROCEDURE_RECORD:
            for study in subject.studies:
                _study(message, study, subject.accession_number, event, details)
        elif subject.accession_number:
            described(
                message,
                ("2", "3"),
                codes.ACCESSION_NUMBER,
                subject.accession_number,
                name=event.object_label,
                life_cycle=life_cycle,
                details=details,
            )
        _people(message, subject.patients or (Person("", ""),))


def _query(message: Element, event: Event, life_cycle: str) -> None:
    """What was asked: a SOP Class with the very bytes of the request (A.5.3.10), or a list."""
    if event.action == "query":
        about = {
            "TransferSyntax": event.after.get("transfer_syntax", ""),
            "Status": event.after.get("status", ""),
            "Matches": event.after.get("matches", ""),
        }
        described(
            message,
            ("2", "3"),
            codes.SOP_CLASS_UID,
            codes.MODALITY_WORKLIST_FIND,
            query=decoded(event.after.get("identifier", "")),
            details={name: str(value) for name, value in about.items()},
        )
    else:
        described(
            message,
            ("2", "3"),
            codes.SEARCH_CRITERIA,
            event.object_label or event.model,
            query=in_json(event.after).encode("utf-8", "backslashreplace"),
            life_cycle=life_cycle,
        )


def _alert(message: Element, event: Event, details: dict[str, str]) -> None:
    """What an alert is about, with its description (A.5.3.11)."""
    words = " ".join(filter(None, (event.action, event.object_label, event.reason)))
    id_type, name = codes.URI, event.object_label
    if event.action == "refuse":
        id_type, identifier, name = codes.NODE_ID, event.address or event.actor, event.actor
    elif event.action == "deny":
        identifier = quote(event.object_label, errors="replace")
        details["Permission"] = str(event.after.get("permission", ""))
    else:
        model, key = event.model or "worklist.user", event.object_id or event.actor
        identifier = quote(f"{model}/{key}", errors="replace")
    details = {"Alert Description": words, **details}
    described(message, ("2", "13"), id_type, identifier, name, details=details)


def _people(
    message: Element,
    people: Iterable[Person],
    life_cycle: str = "",
    details: Mapping[str, str] | None = None,
) -> None:
    for person in people:
        described(
            message,
            ("1", "1"),
            codes.PATIENT_NUMBER,
            person.patient_id,
            name=person.name,
            life_cycle=life_cycle,
            details=details,
        )


def _study(
    message: Element, uid: str, accession_number: str, event: Event, details: Mapping[str, str]
) -> None:
    study = described(
        message,
        ("2", "3"),
        codes.STUDY_INSTANCE_UID,
        uid,
        name=event.object_label,
        life_cycle=_LIFE_CYCLES.get(event.action, ""),
        details=details,
    )
    if accession_number := plain(accession_number):
        description = SubElement(study, "ParticipantObjectDescription")
        SubElement(description, "Accession", Number=accession_number)
        # Table A.5.2-1: required beside an accession number; what is scheduled has no instances.
        SubElement(description, "SOPClass", NumberOfInstances="0")


def _details(event: Event) -> dict[str, str]:
    """What else is known of it: which columns changed, not what they held, and why."""
    changed = ", ".join(event.after) if event.action == "change" else ""
    return {"Changed": changed, "Reason": event.reason}
