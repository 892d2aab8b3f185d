"""An independent C-FIND: a brute-force reading of PS3.4 Annex K over plain data.

It says what a worklist of these entries owes to this Identifier. It shares nothing with the
product: its own list of attributes, no database, no network, nothing fast.

An entry maps keywords to values: text, several texts in a tuple, date, time, int, or the items of a
sequence, mappings again, in a tuple; "", None and () are unknown. A request maps tags to tuples of
values: texts or numbers, or the items of a sequence, mappings again; zero length is ().
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from pydicom.datadict import tag_for_keyword

Values = tuple[Any, ...]
Request = Mapping[int, Values]

PENDING = 0xFF00
PENDING_WARNING = 0xFF01
IDENTIFIER_DOES_NOT_MATCH = 0xA900

# --- Table K.6-1 ----------------------------------------------------------------------------------

# Return key type, VR, keyword. A sequence whose keyword ends in "*" is a code sequence.
_K_6_1 = """
1  SQ ScheduledProcedureStepSequence
1  AE > ScheduledStationAETitle
1  DA > ScheduledProcedureStepStartDate
1  TM > ScheduledProcedureStepStartTime
1  CS > Modality
2  PN > ScheduledPerformingPhysicianName
1C LO > ScheduledProcedureStepDescription
2  SH > ScheduledStationName
2  SH > ScheduledProcedureStepLocation
1C SQ > ScheduledProtocolCodeSequence*
2C LO > PreMedication
1  SH > ScheduledProcedureStepID
2C LO > RequestedContrastAgent
3  CS > ScheduledProcedureStepStatus
3  DA > ScheduledProcedureStepEndDate
3  TM > ScheduledProcedureStepEndTime
3  LT > CommentsOnTheScheduledProcedureStep
1  SH RequestedProcedureID
1C LO RequestedProcedureDescription
1C SQ RequestedProcedureCodeSequence*
1  UI StudyInstanceUID
3  DA StudyDate
3  TM StudyTime
2  SQ ReferencedStudySequence
1  UI > ReferencedSOPClassUID
1  UI > ReferencedSOPInstanceUID
2  SH RequestedProcedurePriority
2  LO PatientTransportArrangements
3  LO ReasonForTheRequestedProcedure
3  SQ ReasonForRequestedProcedureCodeSequence*
3  LO RequestedProcedureLocation
3  LO ConfidentialityCode
3  SH ReportingPriority
3  PN NamesOfIntendedRecipientsOfResults
3  LT RequestedProcedureComments
2  SH AccessionNumber
2  PN RequestingPhysician
2  PN ReferringPhysicianName
3  ST ReferringPhysicianAddress
3  LO PlacerOrderNumberImagingServiceRequest
3  LO FillerOrderNumberImagingServiceRequest
3  LT ImagingServiceRequestComments
3  LO ReasonForTheImagingServiceRequest
3  LO RequestingService
3  DA IssueDateOfImagingServiceRequest
3  TM IssueTimeOfImagingServiceRequest
3  PN OrderEnteredBy
3  SH OrderEntererLocation
3  SH OrderCallbackPhoneNumber
2  LO AdmissionID
2  LO CurrentPatientLocation
2  SQ ReferencedPatientSequence
1  UI > ReferencedSOPClassUID
1  UI > ReferencedSOPInstanceUID
3  CS VisitStatusID
3  LO PatientInstitutionResidence
3  LO InstitutionName
3  ST InstitutionAddress
3  SQ InstitutionCodeSequence*
3  LO InstitutionalDepartmentName
3  DA AdmittingDate
3  TM AdmittingTime
3  LO AdmittingDiagnosesDescription
1  PN PatientName
1  LO PatientID
3  LO IssuerOfPatientID
3  LO OtherPatientIDs
3  PN OtherPatientNames
2  DA PatientBirthDate
3  TM PatientBirthTime
2  CS PatientSex
2  DS PatientWeight
3  DS PatientSize
2  LO ConfidentialityConstraintOnPatientDataDescription
2  LO PatientState
2  US PregnancyStatus
2  LO MedicalAlerts
2  LO Allergies
2  LO SpecialNeeds
3  LT AdditionalPatientHistory
3  CS SmokingStatus
3  DA LastMenstrualDate
3  PN PatientMotherBirthName
3  PN ResponsiblePerson
3  CS ResponsiblePersonRole
3  SH EthnicGroup
3  SH Occupation
3  LO PatientAddress
3  SH PatientTelephoneNumbers
3  LT PatientComments
"""
# Table 8-2a.
_CODE = """
1C SH CodeValue
1C SH CodingSchemeDesignator
3  SH CodingSchemeVersion
3  LO CodeMeaning
1C UC LongCodeValue
1C UR URNCodeValue
"""


@dataclass(frozen=True)
class Attribute:
    """An attribute at its place; `items` are those of a sequence, by tag."""

    keyword: str
    vr: str
    return_type: str
    items: dict[int, Attribute] = field(default_factory=dict)

    @property
    def is_owed(self) -> bool:
        """Whether an answer with the whole sequence holds it even when it has no value."""
        return self.return_type in ("1", "2")


def tag_of(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def _read(table: str) -> dict[int, Attribute]:
    top: dict[int, Attribute] = {}
    level = top
    for line in table.strip().splitlines():
        return_type, vr, *place, keyword = line.split()
        attribute = Attribute(keyword.removesuffix("*"), vr, return_type)
        if keyword.endswith("*"):
            attribute.items.update(_read(_CODE))
        (level if place else top)[tag_of(attribute.keyword)] = attribute
        if not place:
            level = attribute.items
    return top


TABLE = _read(_K_6_1)

_STEP = tag_of("ScheduledProcedureStepSequence")
_STATUS = tag_of("ScheduledProcedureStepStatus")
_START_DATE = tag_of("ScheduledProcedureStepStartDate")
_START_TIME = tag_of("ScheduledProcedureStepStartTime")
# PS3.4 Table K.6-1a: they describe the request and are no keys.
_NO_KEYS = frozenset(map(tag_of, ("SpecificCharacterSet", "TimezoneOffsetFromUTC")))
# Where "CT\PT" means one or the other (B.19).
_OR = frozenset(("Modality", "ScheduledStationAETitle"))
_SEEN_BY_DEFAULT = ("SCHEDULED", "ARRIVED", "READY", "STARTED")
_WILDCARD_VRS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")

# --- the answer -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """What an answer owes for one attribute. An optional one may be missing while it is empty."""

    values: Values
    is_optional: bool = False


Identifier = dict[int, Expected]


@dataclass(frozen=True)
class Answer:
    """What a request is owed: a refusal that names one of `offending`, or its matches in order.

    Each match is the position of its entry and what its Identifier holds. The Specific Character
    Set is the sender's choice and is left out.
    """

    offending: frozenset[int] = frozenset()
    pending: int = PENDING
    matches: tuple[tuple[int, Identifier], ...] = ()

    @property
    def is_refused(self) -> bool:
        return bool(self.offending)


def answer(entries: Sequence[Mapping[str, Any]], request: Request) -> Answer:
    """What these entries, in the order of their database ids, owe to this request."""
    keys = _drop_padding(request, drop=_NO_KEYS)
    offending = frozenset(_offending(keys, TABLE))
    if offending:
        return Answer(offending)
    seen = [
        (step["ScheduledProcedureStepStartDate"], step["ScheduledProcedureStepStartTime"], position)
        for position, entry in enumerate(entries)
        for step in entry["ScheduledProcedureStepSequence"]
        if _satisfies(entry, keys, TABLE) and _is_shown(step, keys)
    ]
    return Answer(
        pending=PENDING if _is_supported(keys, TABLE) else PENDING_WARNING,
        matches=tuple(
            (position, _identifier(entries[position], keys, TABLE)) for *_, position in sorted(seen)
        ),
    )


def _drop_padding(request: Request, *, drop: frozenset[int] = frozenset()) -> dict[int, Values]:
    """The request without group lengths and Data Set Trailing Padding, at every depth (B.25)."""
    return {
        tag: tuple(_drop_padding(v) if isinstance(v, Mapping) else v for v in values)
        for tag, values in request.items()
        if tag & 0xFFFF and tag != 0xFFFCFFFC and tag not in drop
    }


def _is_supported(keys: Request, table: Mapping[int, Attribute]) -> bool:
    """Whether every requested attribute is one of the table's at its place (D.2)."""
    return all(
        tag in table
        and all(_is_supported(item, table[tag].items) for item in _items(table[tag], values))
        for tag, values in keys.items()
    )


def _items(attribute: Attribute, values: Values) -> Values:
    return values if attribute.vr == "SQ" else ()


def _is_shown(step: Mapping[str, Any], keys: Request) -> bool:
    """Whether a step of this status is seen: an active one, unless a key asks for a status."""
    attribute = TABLE[_STEP].items[_STATUS]
    for item in keys.get(_STEP, ()):
        if _STATUS in item and not _is_universal(attribute, item[_STATUS]):
            return True
    return step["ScheduledProcedureStepStatus"] in _SEEN_BY_DEFAULT


def _identifier(
    entry: Mapping[str, Any], keys: Request, table: Mapping[int, Attribute]
) -> Identifier:
    """What is returned of this entry, or of this item of a sequence, for these keys (C.2, C.3)."""
    found: Identifier = {}
    for tag, asked in keys.items():
        if tag not in table:
            continue
        attribute = table[tag]
        stored = _stored(entry, attribute)
        if attribute.vr != "SQ":
            found[tag] = Expected(tuple(spell(value) for value in stored))
        elif not asked or not asked[0]:
            found[tag] = Expected(tuple(_everything(item, attribute.items) for item in stored))
        else:
            items = (_identifier(item, asked[0], attribute.items) for item in stored)
            # C.5: exactly one item of the step; elsewhere an item of nothing is none.
            found[tag] = Expected(tuple(item for item in items if item or tag == _STEP))
    return found


def _everything(entry: Mapping[str, Any], table: Mapping[int, Attribute]) -> Identifier:
    """All that is known of an item whose whole sequence was asked for (B.17)."""
    found: Identifier = {}
    for tag, attribute in table.items():
        stored = _stored(entry, attribute)
        found[tag] = Expected(
            tuple(
                _everything(value, attribute.items) if attribute.vr == "SQ" else spell(value)
                for value in stored
            ),
            is_optional=not attribute.is_owed,
        )
    return found


def _stored(entry: Mapping[str, Any], attribute: Attribute) -> Values:
    """The stored values; () when there are none."""
    value = entry.get(attribute.keyword)
    if value is None or value == "":
        return ()
    return value if isinstance(value, tuple) else (value,)


def spell(value: Any) -> str:
    """A stored value as its text on the wire."""
    if isinstance(value, date):
        return f"{value:%Y%m%d}" if value.year > 999 else f"{value.year:04}{value:%m%d}"
    if isinstance(value, time):
        return f"{value:%H%M%S}" + (f".{value:%f}" if value.microsecond else "")
    return str(value)


# --- matching -------------------------------------------------------------------------------------


def strip(text: str, vr: str = "") -> str:
    """The text without padding: spaces before a long text are part of it (B.21)."""
    text = text.rstrip(" \0")
    return text if vr in ("LT", "ST", "UC", "UR", "UT") else text.lstrip(" ")


def _is_universal(attribute: Attribute, values: Values) -> bool:
    """Whether a key that is not a sequence matches everything (B.2, B.8)."""
    if attribute.vr == "US":
        return not values
    texts = [strip(value, attribute.vr) for value in values]
    if attribute.vr == "PN" and len(texts) == 1:
        return not wanted_groups(texts[0])
    return texts in ([], [""], ["*"]) or (attribute.keyword in _OR and "*" in texts)


def _offending(keys: Request, table: Mapping[int, Attribute]) -> Iterator[int]:
    """The tags of the keys that cannot be understood (B.22, B.24)."""
    combined = _combined(keys) if table is TABLE[_STEP].items else None
    if isinstance(combined, frozenset):
        yield from combined
    for tag, values in keys.items():
        if tag not in table:
            continue
        attribute = table[tag]
        if attribute.vr == "SQ":
            if len(values) > 1:
                yield tag
            for item in values:
                yield from _offending(item, attribute.items)
        elif combined is not None and tag in (_START_DATE, _START_TIME):
            continue
        elif not _is_universal(attribute, values) and _condition(attribute, values) is None:
            yield tag


def _satisfies(entry: Mapping[str, Any], keys: Request, table: Mapping[int, Attribute]) -> bool:
    """Whether an entry, or an item of a sequence, satisfies all these keys together (B.1, B.16)."""
    combined = _combined(keys) if table is TABLE[_STEP].items else None
    if combined is not None:
        assert not isinstance(combined, frozenset), "this request is to be refused"
        start = _stored(entry, table[_START_DATE]) + _stored(entry, table[_START_TIME])
        if len(start) != 2 or not combined(datetime.combine(*start)):
            return False
    for tag, values in keys.items():
        if tag not in table or (combined is not None and tag in (_START_DATE, _START_TIME)):
            continue
        attribute = table[tag]
        stored = _stored(entry, attribute)
        if attribute.vr == "SQ":
            if any(_says_something(item, attribute.items) for item in values) and not any(
                _satisfies(item, values[0], attribute.items) for item in stored
            ):
                return False
        elif not _is_universal(attribute, values):
            matches = _condition(attribute, values)
            assert matches is not None, "this request is to be refused"
            # B.3: what is empty satisfies no key. B.18: of several values, one suffices.
            if not any(matches(value) for value in stored):
                return False
    return True


def _says_something(keys: Request, table: Mapping[int, Attribute]) -> bool:
    """Whether any of an item's keys is not universal."""
    return any(
        any(_says_something(item, table[tag].items) for item in values)
        if table[tag].vr == "SQ"
        else not _is_universal(table[tag], values)
        for tag, values in keys.items()
        if tag in table
    )


Condition = Callable[[Any], bool]


def _condition(attribute: Attribute, values: Values) -> Condition | None:
    """What a stored value must be to match this key; None when the key makes no sense."""
    if attribute.vr == "US":
        return values[0].__eq__ if len(values) == 1 else None
    texts = [strip(value, attribute.vr) for value in values]
    if not all(_is_possible(text, attribute.vr) for text in texts):
        return None
    if attribute.vr == "UI":
        texts = [text for text in texts if text]
        return texts.__contains__ if texts and all(map(_looks_like_a_uid, texts)) else None
    if attribute.keyword in _OR:
        if not any(texts):
            return None
        return lambda stored: any(is_like(stored, text) for text in texts if text)
    if len(texts) != 1:
        return None
    text = texts[0]
    if attribute.vr == "PN":
        return lambda stored: is_name_like(stored, text)
    if attribute.vr in _WILDCARD_VRS:
        return lambda stored: is_like(stored, text)
    if attribute.vr == "DS":
        number = read_number(text)
        return None if number is None else lambda stored: read_number(stored) == number
    read = read_date if attribute.vr == "DA" else read_time
    if "-" in text:
        bounds = read_range(text, read)
        if bounds is None:
            return None
        lower, upper = bounds
        if None not in bounds and lower > upper:
            return None
        return lambda stored: (
            (lower is None or lower <= stored) and (upper is None or stored <= upper)
        )
    moment = read(text)
    return None if moment is None else lambda stored: stored == moment[0]


_LENGTHS = {"AE": 16, "CS": 16, "DS": 16, "LO": 64, "LT": 10240, "PN": 64, "SH": 16}
_LENGTHS |= {"ST": 1024, "UC": 1024, "UR": 1024}
_LINES = "\t\n\f\r"


def _is_possible(text: str, vr: str) -> bool:
    """Whether a value of this VR can be like the text: of its length, and without controls."""
    allowed = _LINES if vr in ("LT", "ST", "UT") else ""
    if any(unicodedata.category(c) == "Cc" and c not in allowed for c in text):
        return False
    groups = fold(text) if vr == "PN" else [text]
    longest = _LENGTHS.get(vr, len(text))
    return len(groups) <= 3 and all(
        len(group) - group.startswith("*") - group.endswith("*") <= longest for group in groups
    )


def _combined(keys: Request) -> Condition | frozenset[int] | None:
    """The one interval of start date and start time when both are ranges, else None (B.12).

    A set of tags: the interval makes no sense because of one of these.
    """
    found = [keys.get(tag, ()) for tag in (_START_DATE, _START_TIME)]
    texts = [strip(values[0]) if len(values) == 1 else "" for values in found]
    if not all("-" in text for text in texts):
        return None
    dates, times = read_range(texts[0], read_date), read_range(texts[1], read_time)
    wrong = {_START_DATE: dates, _START_TIME: times}
    if dates is None or times is None:
        return frozenset(tag for tag, bounds in wrong.items() if bounds is None)
    lower = dates[0] and datetime.combine(dates[0], times[0] or time.min)
    upper = dates[1] and datetime.combine(dates[1], times[1] or time.max)
    if lower and upper and lower > upper:
        return frozenset(wrong)
    return lambda start: (not lower or lower <= start) and (not upper or start <= upper)


Equal = Callable[[str, str], bool]


def is_like(text: str, pattern: str, equal: Equal = str.__eq__) -> bool:
    """Whether the whole text fits: "*" is any run of characters, "?" is one (B.7).

    `equal` says whether two characters are the same; by default case counts.
    """
    if not pattern:
        return not text
    if pattern[0] == "*":
        rest = pattern.lstrip("*")
        return any(is_like(text[n:], rest, equal) for n in range(len(text) + 1))
    return (
        bool(text)
        and (pattern[0] == "?" or equal(text[0], pattern[0]))
        and is_like(text[1:], pattern[1:], equal)
    )


def is_same_letter(one: str, other: str) -> bool:
    """Whether two characters differ in case at most: a character never equals two."""
    return one == other or one.casefold() == other.casefold()


def fold(name: str) -> list[str]:
    """The component groups of a PN as they are compared, without empty ones at the end (B2)."""
    groups = []
    for group in name.split("="):
        components = [strip(component) for component in group.split("^")]
        groups.append(unicodedata.normalize("NFC", "^".join(components).rstrip("^")))
    while groups and not groups[-1]:
        groups.pop()
    return groups


def wanted_groups(key: str) -> list[str]:
    """What a key asks of the component groups, "" for any value or none; [] when of none."""
    groups = fold(key)
    if len(groups) == 1:
        return [] if groups == ["*"] else groups
    wanted = ["" if set(group) == {"*"} else group for group in groups]
    return wanted if any(wanted) else []


def is_name_like(name: str, key: str) -> bool:
    stored, wanted = fold(name), wanted_groups(key)
    if len(wanted) == 1:
        return any(group and is_name_group_like(group, wanted[0]) for group in stored)
    stored += [""] * len(wanted)
    return all(
        not pattern or (group and is_name_group_like(group, pattern))
        for group, pattern in zip(stored, wanted, strict=False)
    )


def is_name_group_like(group: str, pattern: str) -> bool:
    return any(is_like(group, one, is_same_letter) for one in sharp_spellings(pattern))


def sharp_spellings(pattern: str, left: int = 3) -> list[str]:
    """The pattern with its first "ss" or "ß", read from the left, as either; and so on, thrice."""
    for at, letter in enumerate(pattern):
        two = [each.casefold() for each in pattern[at : at + 2]]
        length = 1 if letter in "ßẞ" else 2 if two == ["s", "s"] else 0
        if length and left:
            rest = sharp_spellings(pattern[at + length :], left - 1)
            return [pattern[:at] + sharp + more for sharp in ("ss", "ß") for more in rest]
    return [pattern]


def _is_digits(text: str) -> bool:
    return bool(text) and all(character in "0123456789" for character in text)


def _looks_like_a_uid(text: str) -> bool:
    return len(text) <= 64 and _is_digits(text.replace(".", ""))


def read_number(text: str) -> Decimal | None:
    """A DS by its meaning; None when it is no number."""
    text = strip(text)
    mantissa, _, exponent = text.upper().partition("E")
    whole, _, fraction = mantissa[mantissa[:1] in ("+", "-") :].partition(".")
    if "E" in text.upper() and not _is_digits(exponent[exponent[:1] in ("+", "-") :]):
        return None
    return Decimal(text) if _is_digits(whole + fraction) else None


def read_date(text: str) -> tuple[date, date] | None:
    """A DA, YYYYMMDD or YYYY.MM.DD, as the first and last day it means."""
    if len(text) == 10 and text[4] == text[7] == ".":
        text = text[:4] + text[5:7] + text[8:]
    if len(text) != 8 or not _is_digits(text):
        return None
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
    return day, day


def read_time(text: str) -> tuple[time, time] | None:
    """A TM as the first and the last moment it means (B.14): "10" is a whole hour.

    What is named is covered whole down to the last digit: "100000.5" is a tenth of a second.
    """
    whole, point, fraction = text.partition(".")
    parts = (
        whole.split(":") if ":" in whole else [whole[n : n + 2] for n in range(0, len(whole), 2)]
    )
    if not 1 <= len(parts) <= 3 or not all(len(part) == 2 and _is_digits(part) for part in parts):
        return None
    if point and (len(parts) != 3 or not 1 <= len(fraction) <= 6 or not _is_digits(fraction)):
        return None
    named = [int(part) for part in parts]
    first = [*named, *[0] * (3 - len(named)), int(fraction.ljust(6, "0"))]
    last = [*named, *[59] * (3 - len(named)), int(fraction.ljust(6, "9"))]
    try:
        return _moment(first), _moment(last)
    except ValueError:
        return None


def _moment(parts: Sequence[int]) -> time:
    return time(parts[0], parts[1], parts[2], parts[3])


def read_range(text: str, read: Callable[[str], Any]) -> tuple[Any, Any] | None:
    """The bounds of "a-b", "a-" or "-b", None for an open one; None for what is no range (B.11)."""
    parts = [strip(part) for part in text.split("-")]
    if len(parts) != 2 or not any(parts):
        return None
    ends = [read(part) if part else () for part in parts]
    if None in ends:
        return None
    return ends[0][0] if ends[0] else None, ends[1][1] if ends[1] else None


# --- comparing ------------------------------------------------------------------------------------


def differences(expected: Identifier, actual: Mapping[int, Values]) -> Iterator[str]:
    """Say, attribute by attribute, where an answer is not what it should be."""
    for tag in sorted({*expected, *actual}):
        name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        if tag not in expected:
            yield f"{name} was not asked for: {actual[tag]}"
            continue
        wanted = expected[tag].values
        if tag not in actual:
            if wanted or not expected[tag].is_optional:
                yield f"{name} is missing, should be {wanted}"
        elif any(isinstance(value, Mapping) for value in (*wanted, *actual[tag])):
            if len(wanted) != len(actual[tag]):
                yield f"{name} has {len(actual[tag])} items, should have {len(wanted)}"
            for one, other in zip(wanted, actual[tag], strict=False):
                yield from (f"{name} {text}" for text in differences(one, other))
        elif wanted != actual[tag]:
            yield f"{name} is {actual[tag]}, should be {wanted}"
