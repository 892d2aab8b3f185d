"""Queries to the entries, each with the entries that answer it, written by hand.

`EXAMPLES` are what two servers answer alike; `DIFFERENCES` are where DCMTK's wlmscpfs 3.6 answers
otherwise, each with the rule that this broker follows instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.worklists.entries import ENTRIES, STEP

DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
TITLE = "ScheduledStationAETitle"
ALL = frozenset(ENTRIES)


@dataclass(frozen=True)
class Example:
    """Keys at the top and in the step's item, and the names of the entries that answer.

    `step` is None where the request says what it wants of the step in `top`.
    """

    answers: frozenset[str]
    step: dict[str, Any] | None = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)


def _of(answers: str, step: dict[str, Any] | None = None, /, **top: Any) -> Example:
    names = frozenset(answers.split())
    return Example(names, None if STEP in top else (step or {}), top)


EXAMPLES: dict[str, Example] = {
    "everything universal": Example(ALL),
    "one patient by ID": _of("caroline-plain caroline-contrast", PatientID="AST001"),
    "one patient by name": _of("kepler", PatientName="Kepler^Johannes"),
    "wildcard name": _of("kepler", PatientName="Kepl?r*"),
    "wildcard name, several": _of("caroline-plain caroline-contrast payne", PatientName="*^C*"),
    "date": _of("caroline-plain caroline-contrast william", {DATE: "20310310"}),
    "date range": _of("kepler leavitt rubin", {DATE: "20310311-20310312"}),
    "date range, open start": _of(
        "caroline-plain caroline-contrast william kepler", {DATE: "-20310311"}
    ),
    "date range, open end": _of("payne herschel-small", {DATE: "20310314-"}),
    "time": _of("leavitt", {TIME: "073000"}),
    "time range": _of("caroline-plain caroline-contrast william angstrom", {TIME: "080000-110000"}),
    # From 10 March 10:00 to 12 March 18:00, not from 10:00 to 18:00 on each of the days.
    "date and time range combined": _of(
        "william kepler leavitt", {DATE: "20310310-20310312", TIME: "100000-180000"}
    ),
    "one day between two times": _of("leavitt", {DATE: "20310312", TIME: "070000-120000"}),
    "modality": _of("william payne", {"Modality": "MR"}),
    "AE title": _of("kepler herschel-small", {TITLE: "US1"}),
    "AE title, one of a step's two": _of("rubin", {TITLE: "CT2"}),
    "station and day": _of(
        "caroline-plain caroline-contrast", {TITLE: "CT1", DATE: "20310310", "Modality": "CT"}
    ),
    "performing physician": _of(
        "kepler leavitt rubin herschel-small",
        {"ScheduledPerformingPhysicianName": "Haddad^*"},
    ),
    "accession number": _of("leavitt", AccessionNumber="ACC-2001"),
    "accession number, wildcard": _of(
        "caroline-plain caroline-contrast william kepler", AccessionNumber="ACC-1*"
    ),
    "referring physician": _of("kepler leavitt payne", ReferringPhysicianName="Quist^Per"),
    "requesting physician": _of(
        "caroline-plain caroline-contrast kepler rubin payne", RequestingPhysician="L?nd^*"
    ),
    "both physicians": _of(
        "caroline-plain caroline-contrast rubin",
        ReferringPhysicianName="Okafor*",
        RequestingPhysician="Lind^Sara",
    ),
    "requested procedure": _of("payne", RequestedProcedureID="RP008"),
    "priority": _of("rubin", RequestedProcedurePriority="HIGH"),
    "sex": _of("caroline-plain caroline-contrast leavitt rubin payne", PatientSex="F"),
    "birth date": _of("angstrom", PatientBirthDate="19540813"),
    "admission": _of("payne", AdmissionID="ADM-81"),
    "responsible person": _of(
        "payne", ResponsiblePerson="Payne^Emma", ResponsiblePersonRole="PARENT"
    ),
    "empty sequence": Example(ALL, None, {STEP: []}),
    "sequence with an empty item": Example(ALL, None, {STEP: [{}]}),
    "empty sequence, one patient": _of("william", PatientID="AST002", **{STEP: []}),
    "anybody who refers": Example(ALL - {"nobody-known"}, top={"ReferringPhysicianName": "?*"}),
    "star for any physician": Example(ALL, top={"ReferringPhysicianName": "*"}),
    "star for any AE title": Example(ALL, {TITLE: "*"}),
    "time to the minute": _of("leavitt", {TIME: "0730"}),
    "days to days, at one time": _of("william", {DATE: "20310310-20310312", TIME: "101500"}),
    "issuer of the patient ID": _of(
        "caroline-plain caroline-contrast", IssuerOfPatientID="OBSERVATORY"
    ),
    "letters beyond ASCII": _of("angstrom", PatientName="Ångstr?m^*"),
    "no such patient": _of("", PatientID="AST999"),
    "no such day": _of("", {DATE: "20320229"}),
}


@dataclass(frozen=True)
class Difference:
    """A query that wlmscpfs answers otherwise, and the rule that makes our answer.

    None stands for a query that is refused as malformed (0xA900).
    """

    rule: str
    ours: frozenset[str] | None
    theirs: frozenset[str] | None
    asked: Example


def _differs(
    rule: str, asked: Example, *, theirs: frozenset[str] | None, refused: bool = False
) -> Difference:
    return Difference(rule, None if refused else asked.answers, theirs, asked)


_NONE: frozenset[str] = frozenset()
_CASE = "PS3.4 C.2.2.2.1.1: a name is compared without regard to case and empty components"
_WILD = "a wildcard is one in every text; Table K.6-1 has single values here"
_STAR = "what consoles send for anything is universal in every key"
_KEYS = "a supported optional key is matched on (PS3.4 K.2.2.1.1.2); wlmscpfs only returns it"
_INTERVAL = "two ranges are one interval (PS3.4 C.2.2.2.5.1), whatever the form of each"

DIFFERENCES: dict[str, Difference] = {
    "name in capitals": _differs(_CASE, _of("kepler", PatientName="KEPLER^JOHANNES"), theirs=_NONE),
    "name in capitals, wildcard": _differs(
        _CASE,
        _of("caroline-plain caroline-contrast william herschel-small", PatientName="HERSCHEL^*"),
        theirs=_NONE,
    ),
    "name of a step in capitals": _differs(
        _CASE,
        _of(
            "kepler leavitt rubin herschel-small",
            {"ScheduledPerformingPhysicianName": "HADDAD^NOUR"},
        ),
        theirs=_NONE,
    ),
    "name with empty components": _differs(
        _CASE, _of("kepler", PatientName="Kepler^Johannes^^"), theirs=_NONE
    ),
    "wildcard in an AE title": _differs(
        _WILD, _of("caroline-plain caroline-contrast rubin", {TITLE: "CT?"}), theirs=_NONE
    ),
    "wildcard in a modality": _differs(
        _WILD, _of("william leavitt payne", {"Modality": "M*"}), theirs=_NONE
    ),
    "wildcard in a patient ID": _differs(
        _WILD, Example(ALL, top={"PatientID": "AST00*"}), theirs=_NONE
    ),
    "star for any date": _differs(_STAR, Example(ALL, {DATE: "*"}), theirs=None),
    "star for any time": _differs(_STAR, Example(ALL, {TIME: "*"}), theirs=None),
    "two modalities": _differs(
        "several modalities mean any of them",
        _of("nobody-known angstrom", {"Modality": "CR\\XA"}),
        theirs=None,
    ),
    "date with dots": _differs(
        "PS3.5 6.2: the older form of a date is read",
        _of("payne herschel-small", {DATE: "2031.03.14"}),
        theirs=None,
    ),
    "dates backwards": _differs(
        "a malformed key is refused, never answered by nothing",
        _of("", {DATE: "20310312-20310310"}),
        refused=True,
        theirs=_NONE,
    ),
    "times to an hour": _differs(
        "the end of a range of times holds all of its hour",
        _of(
            "caroline-plain caroline-contrast william leavitt nobody-known angstrom",
            {TIME: "-10"},
        ),
        # Up to 10:00:00; the one at 10:15 is not found.
        theirs=frozenset(
            {"caroline-plain", "caroline-contrast", "leavitt", "nobody-known", "angstrom"}
        ),
    ),
    "days to days, from a time": _differs(
        _INTERVAL,
        _of("william kepler leavitt rubin", {DATE: "20310310-20310312", TIME: "100000-"}),
        # Each day from 10:00 on; of the last, an evening is not found.
        theirs=frozenset({"william", "kepler"}),
    ),
    "days without end, two times": _differs(
        _INTERVAL,
        _of(
            "rubin nobody-known angstrom payne herschel-small",
            {DATE: "20310312-", TIME: "100000-180000"},
        ),
        theirs=frozenset({"payne", "herschel-small"}),
    ),
    "study": _differs(
        _KEYS, _of("leavitt", StudyInstanceUID=ENTRIES["leavitt"]["StudyInstanceUID"]), theirs=ALL
    ),
    "step": _differs(_KEYS, _of("leavitt", {"ScheduledProcedureStepID": "ST004"}), theirs=ALL),
    "wildcard on a description": _differs(
        _KEYS,
        _of("caroline-plain caroline-contrast", {"ScheduledProcedureStepDescription": "Chest*"}),
        theirs=ALL,
    ),
    "wildcard on a long text": _differs(
        _KEYS, _of("kepler", RequestedProcedureComments="*left*last year*"), theirs=ALL
    ),
    "code": _differs(
        _KEYS,
        _of("payne", RequestedProcedureCodeSequence=[{"CodeValue": "MR-HEAD", "CodeMeaning": ""}]),
        theirs=ALL,
    ),
    "weight": _differs(
        _KEYS, _of("caroline-plain caroline-contrast", PatientWeight="52.50"), theirs=ALL
    ),
}


@dataclass(frozen=True)
class Shape:
    """An attribute without a value as both return it: () is empty, None is left out."""

    rule: str
    entry: str
    path: tuple[str, ...]
    ours: tuple[str, ...] | None
    theirs: tuple[str, ...] | None


SHAPES: tuple[Shape, ...] = (
    Shape(
        "PS3.4 C.2.2.2.6: a sequence that was asked for and has no item is zero-length",
        "kepler",
        ("RequestedProcedureCodeSequence",),
        ours=(),
        theirs=None,
    ),
    Shape(
        "what is not known has no value; wlmscpfs makes a 4 of it",
        "kepler",
        ("PregnancyStatus",),
        ours=(),
        theirs=("4",),
    ),
    Shape(
        "an attribute of type 3 without a value is left out of a whole sequence",
        "payne",
        ("RequestedProcedureCodeSequence", "CodingSchemeVersion"),
        ours=None,
        theirs=(),
    ),
)

# What makes wlmscpfs answer 0xFF01, Pending with a warning: attributes that it does not know.
UNKNOWN_TO_WLMSCPFS = (
    "ReasonForRequestedProcedureCodeSequence",
    "ReferringPhysicianAddress",
    "VisitStatusID",
    "PatientInstitutionResidence",
    "InstitutionCodeSequence",
    "InstitutionalDepartmentName",
    "AdmittingDate",
    "AdmittingTime",
    "PatientBirthTime",
    "PatientMotherBirthName",
    "Occupation",
    "PatientTelephoneNumbers",
)
