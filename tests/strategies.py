"""Hypothesis strategies for worklists and for the C-FIND queries that modalities send to them.

A worklist is plain data, keyword by keyword, from which a test fills the database and the oracle
reads its entries. Keys are mostly made from stored values, since a query that hits nothing proves
little. No database and no network here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

from tests.oracle import TABLE, Attribute, Request, tag_of

Draw = st.DrawFn
Row = dict[str, Any]

# --- what is stored -------------------------------------------------------------------------------

NAMES = (
    "Müller^Anna",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Иванов^Иван",
    "Łukasz^Żółć",
    "Καρράς^Γιώργος",
    "O'Neil^Sean",
    "Smith^John",
    "SMITH^JOHN^Q",
    "Smith",
    "Smithers^John^^Dr.",
    "100%^Percent",
    "Under_score^A",
    "Muller^Anna",
    "Mu\u0308ller^Anna",
    "müller ^ ANNA^^^",
    "Straße^Jürgen",
    "Weiss-Großmann^Tessa",
    "Wang^XiaoDong=王^小東",
    "=山田^花子",
    "Yamada^Hanako==やまだ^はなこ",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "van der Berg^Anna Maria^^Prof.^Jr",
    "İpek^Ayşe",
    "D'Arc?^Jeanne*",
    "[A-Z]^Brackets",
)
MANY_GROUPS = tuple(name for name in NAMES if "=" in name)
PATIENT_IDS = ("PAT-001", "pat-001", "PAT_001", "PAT%001", "001", "1", "Ä-7", "A B", "*", "患者1")
TEXTS = (
    "CT Thorax",
    "ct thorax",
    "CT Thorax 100%",
    "CT_Thorax",
    "CT%",
    "Schädel nativ",
    "Schadel nativ",
    "頭部CT",
    "Кардиология",
    "what? *",
    "O'Neil's",
    "[a-z]",
    "Kopf^Hals=2",
    "-",
    "20240705",
)
SHORT = tuple(text for text in TEXTS if len(text) <= 16)
LONG_TEXTS = (*TEXTS, "first line\r\nsecond line", "x" * 300)
CODE_STRINGS = ("ACTIVE", "NO", "UNKNOWN", "A_B", "A1")
UIDS = ("1.2.3", "1.2.3.4", "1.2.30", "1.2.840.10008.3.1.2.1.1", "2.25.1", "1.2.3." + "4" * 58)
STEP_IDS = ("S1", "S10", "s1", "S_1", "S%1", "1", "01", "S 1", "S1*", "S2")
NUMBERS = ("70", "70.0", "7.0E1", "070", "70.5", "+70.50", "1.75", "0", "0.1", ".10", "-1")
FIRST_DAY = date(2024, 7, 5)
DATES = (*(FIRST_DAY + timedelta(days) for days in range(4)), date(2024, 2, 29), date(1999, 12, 31))
TIMES = (
    time(0, 0),
    time(0, 0, 0, 1),
    time(9, 59, 59, 999999),
    time(10, 0),
    time(10, 0, 59, 999999),
    time(10, 1),
    time(10, 0, 0, 500000),
    time(18, 0),
    time(22, 30),
    time(22, 30, 15, 120),
    time(23, 59, 59, 999999),
)
STATUSES = (
    *("SCHEDULED", "ARRIVED", "READY", "STARTED"),
    *("DEPARTED", "COMPLETED", "DISCONTINUED", "CANCELED"),
)
AE_TITLES = ("CT1", "CT2", "MR1", "ct1", "CT_1", "CT%1", "CT 1", "CT10")

POOLS: dict[str, tuple[Any, ...]] = {
    "AE": AE_TITLES,
    "CS": CODE_STRINGS,
    "DA": DATES,
    "DS": NUMBERS,
    "LO": TEXTS,
    "LT": LONG_TEXTS,
    # Names of several component groups are few, and most can go wrong with them.
    "PN": (*NAMES, *MANY_GROUPS, *MANY_GROUPS),
    "SH": SHORT,
    "ST": LONG_TEXTS,
    "TM": TIMES,
    "UI": UIDS,
    "US": (1, 2, 3, 4),
    "Modality": ("CT", "MR", "PT", "US", "CR"),
    # Mostly what is seen without a key on the status.
    "ScheduledProcedureStepStatus": (*STATUSES, *STATUSES[:4], *STATUSES[:4]),
    "PatientSex": ("M", "F", "O"),
    "RequestedProcedurePriority": ("STAT", "HIGH", "ROUTINE"),
    "PatientBirthDate": (date(1970, 1, 1), date(1970, 1, 2), date(1880, 12, 31), date(2000, 2, 29)),
    "AccessionNumber": ("A1", "A10", "a1", "A_1", "A%1"),
    "CodeValue": ("CTTH", "CT_H", "MRH", "24627-2"),
    "CodingSchemeDesignator": ("99SITE", "LN"),
    "CodingSchemeVersion": ("1", "2.0"),
    "CodeMeaning": ("Thorax", "Schädel", "頭部"),
    "LongCodeValue": ("A long code value of more than sixteen characters",),
    "URNCodeValue": ("urn:oid:1.2.3.4",),
}
MULTI_VALUED = frozenset(
    (
        "AdmittingDiagnosesDescription",
        "Allergies",
        "MedicalAlerts",
        "NamesOfIntendedRecipientsOfResults",
        "OtherPatientIDs",
        "OtherPatientNames",
        "PatientTelephoneNumbers",
        "ScheduledStationName",
    )
)
CODES: tuple[Row, ...] = (
    {"CodeValue": "CTTH", "CodingSchemeDesignator": "99SITE", "CodeMeaning": "Thorax"},
    {"CodeValue": "CT_H", "CodingSchemeDesignator": "99SITE", "CodeMeaning": "頭部"},
    {"CodeValue": "MRH", "CodingSchemeDesignator": "99SITE", "CodeMeaning": "Schädel"},
    {"CodeValue": "CTTH", "CodingSchemeDesignator": "LN", "CodingSchemeVersion": "2.0"},
    {"CodeValue": "24627-2", "CodingSchemeDesignator": "LN", "CodeMeaning": "Thorax"},
    {
        "LongCodeValue": "A long code value of more than sixteen characters",
        "CodingSchemeDesignator": "99SITE",
        "CodeMeaning": "Long",
    },
    {"URNCodeValue": "urn:oid:1.2.3.4", "CodeMeaning": "By name"},
)

STEP = TABLE[tag_of("ScheduledProcedureStepSequence")]
_STEP_OWN = tuple(
    attribute.keyword
    for attribute in STEP.items.values()
    if attribute.vr != "SQ" and attribute.keyword != "ScheduledStationAETitle"
)
_TOP = tuple(attribute.keyword for attribute in TABLE.values() if attribute.vr != "SQ")
_FIRST_OF_REQUEST = _TOP.index("AccessionNumber")
_FIRST_OF_PATIENT = _TOP.index("PatientName")
_PROCEDURE_OWN = _TOP[:_FIRST_OF_REQUEST]
_REQUEST_OWN = _TOP[_FIRST_OF_REQUEST:_FIRST_OF_PATIENT]
_PATIENT_OWN = _TOP[_FIRST_OF_PATIENT:]
_MANDATORY = frozenset(
    (
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "Modality",
        "ScheduledProcedureStepStatus",
        "PatientName",
    )
)


@dataclass(frozen=True)
class Worklist:
    """The rows of a worklist; what is not named by a keyword is a position among other rows."""

    patients: tuple[Row, ...]
    requests: tuple[Row, ...]
    procedures: tuple[Row, ...]
    steps: tuple[Row, ...]

    def __repr__(self) -> str:
        """Short, since Hypothesis shows what it drew and the rows would fill pages."""
        return f"<Worklist of {len(self.steps)} steps>"

    def entries(self) -> list[Row]:
        """The entries as the oracle reads them, in the order of the steps."""
        return [self._entry(step) for step in self.steps]

    def _entry(self, step: Row) -> Row:
        procedure = self.procedures[step["procedure"]]
        request = self.requests[procedure["request"]]
        return {
            **self.patients[request["patient"]],
            **request,
            **procedure,
            "ScheduledProcedureStepSequence": (
                {
                    **step,
                    "ScheduledStationAETitle": tuple(AE_TITLES[n] for n in step["stations"]),
                    "ScheduledProtocolCodeSequence": _codes(step["protocol_codes"]),
                },
            ),
            "RequestedProcedureCodeSequence": _codes(procedure["code"]),
            "ReasonForRequestedProcedureCodeSequence": _codes(procedure["reason_code"]),
            "InstitutionCodeSequence": _codes(request["institution_code"]),
            "ReferencedStudySequence": _references(procedure),
            "ReferencedPatientSequence": _references(request),
        }


def _codes(positions: Sequence[int]) -> tuple[Row, ...]:
    return tuple(CODES[position] for position in positions)


def _references(row: Row) -> tuple[Row, ...]:
    return (row["references"],) if row["references"] else ()


def _pool(keyword: str, vr: str) -> tuple[Any, ...]:
    return POOLS[keyword if keyword in POOLS else vr]


def _value(keyword: str) -> st.SearchStrategy[Any]:
    """A stored value of this attribute: often none, where there may be none."""
    pool = _pool(keyword, dictionary_VR(keyword))
    one = st.sampled_from(pool)
    if keyword in _MANDATORY:
        return one
    empty = "" if isinstance(pool[0], str) else None
    if keyword in MULTI_VALUED:
        several = st.lists(one, min_size=2, max_size=3).map(tuple)
        return st.one_of(st.just(empty), one, several)
    return st.sampled_from((empty, *pool))


def _row(keywords: Sequence[str]) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries({keyword: _value(keyword) for keyword in keywords})


_one_code = st.lists(st.integers(0, len(CODES) - 1), max_size=1)
_several_codes = st.lists(st.integers(0, len(CODES) - 1), max_size=3, unique=True)
_stations = st.lists(st.integers(0, len(AE_TITLES) - 1), max_size=3, unique=True)
_referenced = st.sampled_from(
    (
        {},
        {"ReferencedSOPClassUID": UIDS[3], "ReferencedSOPInstanceUID": UIDS[0]},
        {"ReferencedSOPClassUID": UIDS[3], "ReferencedSOPInstanceUID": UIDS[1]},
        {"ReferencedSOPClassUID": "", "ReferencedSOPInstanceUID": UIDS[1]},
    )
)
_patient = _row([keyword for keyword in _PATIENT_OWN if keyword != "PatientID"])
_request = _row([keyword for keyword in _REQUEST_OWN if keyword != "AccessionNumber"])
_procedure = _row([keyword for keyword in _PROCEDURE_OWN if keyword != "StudyInstanceUID"])
_step = _row(
    [keyword for keyword in _STEP_OWN if not keyword.startswith("ScheduledProcedureStepEnd")]
)
_ends = st.tuples(st.sampled_from((None, 0, 0, 1)), st.sampled_from((None, *TIMES)))


@st.composite
def worklists(draw: Draw) -> Worklist:
    """Worklists of up to ten patients, four requests, five procedures and ten steps."""
    patients = [
        {**draw(_patient), "PatientID": patient_id}
        for patient_id in PATIENT_IDS[: draw(st.sampled_from((1, 3, 4, 10)))]
    ]
    requests: list[Row] = [
        {
            **draw(_request),
            # Once per patient.
            "AccessionNumber": draw(st.sampled_from(("", number))),
            "patient": draw(st.integers(0, len(patients) - 1)),
            "institution_code": draw(_one_code),
            "references": draw(_referenced),
        }
        for number in POOLS["AccessionNumber"][: draw(st.sampled_from((1, 3, 4)))]
    ]
    procedures: list[Row] = [
        {
            **draw(_procedure),
            "RequestedProcedureID": draw(st.sampled_from(SHORT)),
            "StudyInstanceUID": uid,
            "request": draw(st.integers(0, len(requests) - 1)),
            "code": draw(_one_code),
            "reason_code": draw(_one_code),
            "references": draw(_referenced),
        }
        for uid in UIDS[: draw(st.sampled_from((1, 3, 5)))]
    ]
    steps: list[Row] = []
    for step_id in STEP_IDS[: draw(st.sampled_from((1, 8, 3, 10, 8, 5, 10, 0)))]:
        step = draw(_step)
        days, end = draw(_ends)
        start = step["ScheduledProcedureStepStartTime"]
        # A step does not end before it starts.
        step["ScheduledProcedureStepEndTime"] = None if days == 0 and end and end < start else end
        step["ScheduledProcedureStepEndDate"] = (
            None if days is None else step["ScheduledProcedureStepStartDate"] + timedelta(days)
        )
        step["ScheduledProcedureStepID"] = step_id
        step["procedure"] = draw(st.integers(0, len(procedures) - 1))
        step["stations"] = draw(_stations)
        step["protocol_codes"] = draw(_several_codes)
        steps.append(step)
    return Worklist(tuple(patients), tuple(requests), tuple(procedures), tuple(steps))


def one_of_each() -> Worklist:
    """Four entries: the second has values where it must, the others have some everywhere."""

    def row(keywords: Sequence[str], n: int) -> Row:
        found: Row = {}
        for keyword in keywords:
            pool = _pool(keyword, dictionary_VR(keyword))
            if n == 1 and keyword not in _MANDATORY:
                found[keyword] = "" if isinstance(pool[0], str) else None
            else:
                several = n == 2 and keyword in MULTI_VALUED
                found[keyword] = pool[-2:] if several else pool[n % len(pool)]
        return found

    def references(n: int) -> Row:
        class_uid, uid = "ReferencedSOPClassUID", "ReferencedSOPInstanceUID"
        return {} if n == 1 else {class_uid: UIDS[3], uid: UIDS[n]}

    patients, requests, procedures, steps = [], [], [], []
    for n in range(4):
        codes = ([3], [], [5], [6])[n]
        patients.append({**row(_PATIENT_OWN, n), "PatientID": PATIENT_IDS[n]})
        requests.append(
            {
                **row(_REQUEST_OWN, n),
                "patient": n,
                "institution_code": codes,
                "references": references(n),
            }
        )
        procedures.append(
            {
                **row(_PROCEDURE_OWN, n),
                "RequestedProcedureID": SHORT[n],
                "StudyInstanceUID": UIDS[n],
                "request": n,
                "code": codes,
                "reason_code": codes,
                "references": references(n),
            }
        )
        step = row(_STEP_OWN, n)
        for end in ("Date", "Time"):
            step[f"ScheduledProcedureStepEnd{end}"] = (
                None if n == 1 else step[f"ScheduledProcedureStepStart{end}"]
            )
        steps.append(
            {
                **step,
                "ScheduledProcedureStepStatus": STATUSES[n],
                "ScheduledProcedureStepID": STEP_IDS[n],
                "procedure": n,
                "stations": ([0], [], [1, 2], [3])[n],
                "protocol_codes": ([0, 3], [], [5, 6], [1])[n],
            }
        )
    return Worklist(tuple(patients), tuple(requests), tuple(procedures), tuple(steps))


def one_step_each(values: Sequence[Row]) -> Worklist:
    """An entry for each of these, of a patient or a step, with little else."""
    bare = one_of_each()
    numbers = range(len(values))
    return Worklist(
        tuple({**bare.patients[1], "PatientID": f"P{n}", **values[n]} for n in numbers),
        tuple({**bare.requests[1], "patient": n} for n in numbers),
        tuple(
            {**bare.procedures[1], "StudyInstanceUID": f"2.25.{n}", "request": n} for n in numbers
        ),
        tuple({**bare.steps[1], "procedure": n, **values[n]} for n in numbers),
    )


# --- what is asked --------------------------------------------------------------------------------

# The Specific Character Sets that requests come in; () is none.
CHARACTER_SETS: tuple[tuple[str, ...], ...] = (
    ("ISO_IR 192",),
    ("ISO_IR 100",),
    ("GB18030",),
    ("", "ISO 2022 IR 87"),
    (),
)
_SPECIFIC_CHARACTER_SET = tag_of("SpecificCharacterSet")
_START = (tag_of("ScheduledProcedureStepStartDate"), tag_of("ScheduledProcedureStepStartTime"))
CHARACTER_SET_VRS = ("LO", "LT", "PN", "SH", "ST", "UC")


@dataclass(frozen=True)
class Key:
    """An element of a request; the values of a sequence are its items, tuples of keys."""

    tag: int
    vr: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Query:
    """A request Identifier, in ascending order of tags, and how its sequences are encoded."""

    keys: tuple[Key, ...]
    has_undefined_lengths: bool = False

    def __repr__(self) -> str:
        return f"<Query of {len(self.keys)} keys>"

    @property
    def character_set(self) -> tuple[str, ...]:
        return next((key.values for key in self.keys if key.tag == _SPECIFIC_CHARACTER_SET), ())

    def request(self) -> Request:
        return _plain(self.keys)


def _plain(keys: Sequence[Key]) -> Request:
    return {
        key.tag: tuple(map(_plain, key.values)) if key.vr == "SQ" else key.values for key in keys
    }


def fits(text: str, character_set: tuple[str, ...]) -> bool:
    """Whether every character of a text can be sent in this character set."""
    codec = {"ISO_IR 192": "utf-8", "ISO_IR 100": "latin-1", "GB18030": "gb18030"}
    name = character_set[-1] if character_set else ""
    try:
        if name == "ISO 2022 IR 87":
            others = [character for character in text if not character.isascii()]
            return all(c.encode("iso2022_jp").startswith(b"\x1b$B") for c in others)
        text.encode(codec.get(name, "ascii"))
    except UnicodeEncodeError:
        return False
    return True


def texts(keys: Sequence[Key]) -> Iterator[str]:
    """Every text of a request to which its character set applies, at every depth."""
    for key in keys:
        if key.vr == "SQ":
            for item in key.values:
                yield from texts(item)
        elif key.vr in CHARACTER_SET_VRS:
            yield from key.values


Shape = Callable[[str, int], str]


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


# A key made of a stored text and a position in it.
SHAPES: tuple[Shape, ...] = (
    lambda text, n: text,
    lambda text, n: text[:n] + "*",
    lambda text, n: "*" + text[n:],
    lambda text, n: text[:n] + "?" + text[n + 1 :],
    lambda text, n: "*" + text[n : n + 3] + "*",
    lambda text, n: f"  {text} ",
    lambda text, n: text[:n] + "*" + text[n:],
    lambda text, n: "?" * len(text),
    lambda text, n: "?" + text,
    lambda text, n: text[:n],
    lambda text, n: text[:n] + "_" + text[n + 1 :],
    lambda text, n: text[:n] + "%" + text[n + 1 :],
    lambda text, n: text.swapcase(),
    lambda text, n: text.upper()[: n + 2] + "*",
    lambda text, n: text.lower(),
    lambda text, n: _without_accents(text),
    lambda text, n: unicodedata.normalize("NFD", text),
    lambda text, n: "**",
    lambda text, n: "?*",
    lambda text, n: f"{text} x",
)
NAME_SHAPES: tuple[Shape, ...] = (
    lambda text, n: text.swapcase(),
    lambda text, n: text.upper(),
    lambda text, n: _without_accents(text),
    lambda text, n: unicodedata.normalize("NFD", text),
    lambda text, n: text + "^^",
    lambda text, n: text.split("=")[n % (text.count("=") + 1)],
    lambda text, n: text.split("=")[n % (text.count("=") + 1)][:2] + "*",
    lambda text, n: "=" + "=".join(text.split("=")[1:]),
    lambda text, n: "=*" + "".join(text.split("=")[1:2])[-2:],
    lambda text, n: text.split("=")[0] + "=",
    lambda text, n: text.split("=")[0] + "=*",
    lambda text, n: "==" + "".join(text.split("=")[2:]) + "*",
    lambda text, n: text.replace("^", " ^ "),
    lambda text, n: text.replace("^", "*"),
    lambda text, n: text.split("^")[0],
    lambda text, n: text.split("^")[0].upper() + "^*",
    lambda text, n: "*^*",
    lambda text, n: "*=*",
)
_UNIVERSAL = ((), ("*",), (" ",), (" * ",), ())
# The last ones are nearly universal.
_UNIVERSAL_NAMES = (*_UNIVERSAL, ("^",), ("==",), (" ^ ^=",), ("*^",), ("*=",), ("* ^^=",))


def _draw_text(draw: Draw, attribute: Attribute, stored: tuple[str, ...]) -> tuple[str, ...]:
    pool = _pool(attribute.keyword, attribute.vr)
    if attribute.vr == "AE":
        pool = AE_TITLES
    source = draw(st.sampled_from((*stored, *stored, draw(st.sampled_from(pool)))))
    kind = draw(st.integers(0, 19))
    is_list = attribute.keyword in ("Modality", "ScheduledStationAETitle")
    if kind == 0 or (kind < 6 and is_list):
        if attribute.vr in ("LT", "ST"):
            return (source[:2] + "\\" + source[2:],)
        if attribute.vr == "UR":
            return (source,)
        other = draw(st.sampled_from((*pool[:3], "", "*", " * ", "C*") if is_list else pool))
        return (source, other) if draw(st.booleans()) else (other, source)
    if kind == 6:
        return draw(st.sampled_from(_UNIVERSAL_NAMES if attribute.vr == "PN" else _UNIVERSAL))
    # The first ones do match what they are made of.
    others = (*NAME_SHAPES, *NAME_SHAPES) if attribute.vr == "PN" else SHAPES[:7]
    shape = draw(st.sampled_from((*SHAPES, *SHAPES[:7], *others)))
    text = shape(source, draw(st.integers(0, max(len(source), 1))))
    return (text,)


_WRONG_DATES = (
    *("20241301", "2024", "202407", "today", "2024-07-05", "-", "20240230", "2024.7.5", "*0705"),
    *("2024070*", "20240705 10", "--", "2024.07-2024.08", "+2024070", "²0240705", "00000101"),
    *("20240705-20240706-20240707", "20240705--", "20240705-20241301", "**", "2024 0705"),
)
_WRONG_TIMES = (
    *("2460", "2400", "1", "100", "10:", "10:0", "1000-1100-1200", "-", "10.5", "100000.", "noon"),
    *("100000.1234567", "2*", "1?", "10:00:00:00", "10:0000", "-1000-", "1000-2500", "**", "+1"),
    *("1060", "10 00", "1000.5", "100000.²"),
)
_WRONG_NUMBERS = (
    "abc",
    "70kg",
    "1,5",
    "70-80",
    "nan",
    "inf",
    "1_0",
    "0x10",
    "7*",
    "--1",
    "1e",
    ".",
)
_WRONG_UIDS = ("1.2.x", "abc", "1.2.*", "1.2?", "1." * 32 + "1", "1.2-3", "**")
_DATE_FORMATS = ("%Y%m%d", "%Y%m%d", "%Y.%m.%d")
_TIME_FORMATS = (
    *("%H%M%S", "%H%M", "%H", "%H:%M", "%H:%M:%S", "%H%M%S.%f", "%H:%M:%S.%f"),
    *("%H%M%S.%f-1", "%H%M%S.%f-5", "%H%M%S.%f-4"),  # so many digits fewer
)
_RANGES = ("{}-{}", "{}-{}", "{}-", "-{1}", " {} - {} ", "{} -", "- {1}")


def _spell_time(moment: time, form: str) -> str:
    form, _, fewer = form.partition("-")
    text = moment.strftime(form)
    return text[: -int(fewer)] if fewer else text


def _draw_date(draw: Draw, day: date) -> str:
    day += timedelta(draw(st.sampled_from((0, 0, 1, -1, 2))))
    return day.strftime(draw(st.sampled_from(_DATE_FORMATS)))


def _draw_time(draw: Draw, moment: time) -> str:
    if draw(st.integers(0, 2)) == 0:
        moment = draw(st.sampled_from((*TIMES, time(10, 30), time(12, 0), time(0, 0, 1))))
    return _spell_time(moment, draw(st.sampled_from(_TIME_FORMATS)))


def _draw_range(draw: Draw, vr: str, stored: Any) -> str:
    one = _draw_date if vr == "DA" else _draw_time
    ends = [one(draw, stored), one(draw, stored)]
    if draw(st.integers(0, 3)):
        # Mostly the right way round; as text, which the few spellings do not upset much.
        ends.sort(key=lambda text: text.replace(".", "").replace(":", ""))
    return draw(st.sampled_from(_RANGES)).format(*ends)


def _draw_moment(draw: Draw, attribute: Attribute, stored: tuple[Any, ...]) -> tuple[str, ...]:
    source = stored[0] if stored else draw(st.sampled_from(_pool(attribute.keyword, attribute.vr)))
    kind = draw(st.integers(0, 15))
    if kind == 0:
        return (draw(st.sampled_from(_WRONG_DATES if attribute.vr == "DA" else _WRONG_TIMES)),)
    if kind == 1:
        return draw(st.sampled_from(_UNIVERSAL))
    one = _draw_date if attribute.vr == "DA" else _draw_time
    if kind == 2:
        return (one(draw, source), one(draw, source))
    if kind < 8:
        text = one(draw, source)
        return (f" {text} " if kind == 3 else text,)
    return (_draw_range(draw, attribute.vr, source),)


def _draw_number(draw: Draw, stored: tuple[str, ...]) -> tuple[str, ...]:
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return (draw(st.sampled_from(_WRONG_NUMBERS)),)
    if kind == 1:
        return draw(st.sampled_from((*_UNIVERSAL, ("70", "70"))))
    text = draw(st.sampled_from((*stored, *stored, draw(st.sampled_from(NUMBERS)))))
    other = {"70": "70.00", "70.0": "7e1", "70.5": "705E-1", "1.75": "+1.750", "0": "-0"}
    return (other.get(text, f" {text} ") if draw(st.booleans()) else text,)


def _draw_uids(draw: Draw, stored: tuple[str, ...]) -> tuple[str, ...]:
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return (*stored, draw(st.sampled_from(_WRONG_UIDS)))
    if kind == 1:
        return draw(st.sampled_from((*_UNIVERSAL, ("\0",))))
    others = draw(st.lists(st.sampled_from((*UIDS, "1.2", "9")), max_size=3))
    found = (*others, *stored) if kind % 2 else tuple(others)
    return found if kind != 2 else tuple(f"{uid} " for uid in found)


def _draw_values(draw: Draw, attribute: Attribute, stored: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of a matching key for this attribute, mostly made of what one entry has."""
    if attribute.vr in ("DA", "TM"):
        return _draw_moment(draw, attribute, stored)
    if attribute.vr == "US":
        return draw(st.sampled_from((stored, stored, (1,), (4,), (0,), (), (1, 2))))
    if attribute.vr == "DS":
        return _draw_number(draw, stored)
    if attribute.vr == "UI":
        return _draw_uids(draw, stored)
    return _draw_text(draw, attribute, stored)


Place = tuple[int, ...]
Tree = dict[int, Any]


def _places(table: Mapping[int, Attribute], above: Place = ()) -> Iterator[tuple[Place, Attribute]]:
    for tag, attribute in table.items():
        yield (*above, tag), attribute
        yield from _places(attribute.items, (*above, tag))


PLACES: dict[Place, Attribute] = dict(_places(TABLE))
_LEAVES = tuple(place for place, attribute in PLACES.items() if attribute.vr != "SQ")
_SEQUENCES = tuple(place for place, attribute in PLACES.items() if attribute.vr == "SQ")
# What modalities do ask by is asked by half of the time.
_OFTEN = tuple(
    place
    for place, attribute in PLACES.items()
    if len(place) == 3
    or attribute.vr == "PN"
    or attribute.keyword
    in (
        *("ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "Modality"),
        *("ScheduledProcedureStepStartTime", "PatientID"),
        *("ScheduledProcedureStepStatus", "AccessionNumber", "StudyInstanceUID", "Allergies"),
        *("ScheduledProcedureStepStatus", "PatientWeight", "PregnancyStatus", "OtherPatientNames"),
        *("CodeValue", "PatientTelephoneNumbers", "PatientBirthDate", "ReferencedSOPInstanceUID"),
    )
)


def stored_at(entry: Mapping[str, Any], place: Place) -> tuple[Any, ...]:
    """The values an entry has at a place: those of all items of a sequence, one after the other."""
    found: list[Mapping[str, Any]] = [entry]
    for end in range(1, len(place)):
        keyword = PLACES[place[:end]].keyword
        found = [item for one in found for item in one[keyword]]
    values: list[Any] = []
    for one in found:
        value = one.get(PLACES[place].keyword)
        values += value if isinstance(value, tuple) else [value]
    return tuple(value for value in values if value not in (None, ""))


def _put(tree: Tree, place: Place, values: tuple[Any, ...]) -> None:
    for tag in place[:-1]:
        items = tree.setdefault(tag, [{}])
        if not items:
            items.append({})
        tree = items[0]
    tree[place[-1]] = values


def _seen_first(entries: Sequence[Row]) -> list[Row]:
    """The entries, those that are seen by default first and twice."""

    def is_seen(entry: Row) -> bool:
        (step,) = entry["ScheduledProcedureStepSequence"]
        return step["ScheduledProcedureStepStatus"] in STATUSES[:4]

    return [*filter(is_seen, entries), *filter(is_seen, entries), *entries]


def _filled(entry: Row | None, places: Sequence[Place]) -> Sequence[Place]:
    """Those of the places where this entry has a value."""
    return [place for place in places if entry and stored_at(entry, place)] or places


# Elements that are no keys of the worklist, by whether they go into the step's item.
_EXTRAS: tuple[tuple[bool, Key], ...] = (
    (False, Key(tag_of("QueryRetrieveLevel"), "CS", ("WORKLIST",))),
    (False, Key(tag_of("Modality"), "CS", ("CT",))),
    (False, Key(tag_of("ScheduledProcedureStepStartDate"), "DA", ("nonsense",))),
    (False, Key(tag_of("PatientAge"), "AS")),
    (False, Key(tag_of("TimezoneOffsetFromUTC"), "SH", ("+0100",))),
    (
        False,
        Key(tag_of("OtherPatientIDsSequence"), "SQ", ((Key(tag_of("PatientID"), "LO", ("1",)),),)),
    ),
    (False, Key(0x00090010, "LO", ("ACME 1.0",))),
    (False, Key(0x00091001, "LO", ("private",))),
    (False, Key(0x00091001, "UN", ("private ",))),
    (False, Key(0x00100041, "SQ")),
    (False, Key(0x00100000, "UL", (64,))),
    (False, Key(0x00400000, "UL", (64,))),
    (False, Key(0xFFFCFFFC, "OB", ("\0\0",))),
    (True, Key(0x00400000, "UL", (64,))),
    (True, Key(0xFFFCFFFC, "OB", ("\0\0",))),
    (True, Key(tag_of("TimezoneOffsetFromUTC"), "SH", ("+0100",))),
    (True, Key(tag_of("PatientName"), "PN", ("Smith*",))),
    (True, Key(tag_of("AnatomicalOrientationType"), "CS")),
    (True, Key(0x00400010 + 0x10000, "LO", ("ACME 1.0",))),
    (True, Key(0x00411001, "LO")),
)


def _keys(tree: Tree, table: Mapping[int, Attribute], extras: Mapping[int, Key]) -> tuple[Key, ...]:
    found: list[Key] = list(extras.values())
    for tag, values in tree.items():
        if tag in extras:
            continue
        attribute = table[tag]
        if attribute.vr == "SQ":
            values = tuple(_keys(item, attribute.items, {}) for item in values)
        found.append(Key(tag, attribute.vr, tuple(values)))
    return tuple(sorted(found, key=lambda key: key.tag))


@st.composite
def queries(draw: Draw, entries: Sequence[Row]) -> Query:
    """Requests to a worklist of these entries, some of which it has to refuse."""
    tree: Tree = {}
    if draw(st.integers(0, 29)) == 29:
        asked: Sequence[Place] = _LEAVES
    else:
        asked = draw(st.lists(st.sampled_from(_LEAVES), max_size=6))
    for place in asked:
        _put(tree, place, ())
    if draw(st.booleans()):
        for keyword in ("StudyInstanceUID", "PatientID"):
            _put(tree, (tag_of(keyword),), ())
        _put(tree, (tag_of(STEP.keyword), tag_of("ScheduledProcedureStepID")), ())
    for place in draw(st.lists(st.sampled_from(_SEQUENCES), max_size=1)):
        # The whole sequence, in either spelling; rarely two items, which is refused.
        _put(tree, place, draw(st.sampled_from(([], [{}], [], [{}], [], [{}], [{}, {}]))))
    target = draw(st.sampled_from(_seen_first(entries))) if entries else None
    # Mostly of what the target has; sometimes of what it may not have.
    often, all_of_it = (_filled(target, places) for places in (_OFTEN, _LEAVES))
    for _ in range(draw(st.sampled_from((1, 2, 0, 1, 3)))):
        place = draw(st.sampled_from(draw(st.sampled_from((often, often, all_of_it, _LEAVES)))))
        stored = stored_at(target, place) if target else ()
        _put(tree, place, _draw_values(draw, PLACES[place], stored))
    if target and draw(st.integers(0, 4)) == 4:
        for tag, vr in zip(_START, ("DA", "TM"), strict=True):
            place = (tag_of(STEP.keyword), tag)
            _put(tree, place, (_draw_range(draw, vr, stored_at(target, place)[0]),))
    return draw(_finished(tree))


@st.composite
def _finished(draw: Draw, tree: Tree) -> Query:
    """The request with what does not belong there, in a character set that can hold it."""
    extras = (
        draw(st.lists(st.sampled_from(_EXTRAS), max_size=2)) if draw(st.integers(0, 3)) == 3 else ()
    )
    top = {key.tag: key for is_inside, key in extras if not is_inside}
    inside = {key.tag: key for is_inside, key in extras if is_inside}
    step = tag_of(STEP.keyword)
    keys = list(_keys(tree, TABLE, top))
    if inside:
        items = tree.get(step) or [{}]
        item = _keys(items[0], STEP.items, inside)
        keys = [key for key in keys if key.tag != step] + [Key(step, "SQ", (item,))]
    # An Identifier without an element is no Identifier.
    keys = keys or [Key(tag_of("PatientName"), "PN")]
    found = list(texts(keys))
    possible = [name for name in CHARACTER_SETS if all(fits(text, name) for text in found)]
    character_set = draw(st.sampled_from(possible))
    if character_set:
        keys.append(Key(_SPECIFIC_CHARACTER_SET, "CS", character_set))
    return Query(tuple(sorted(keys, key=lambda key: key.tag)), draw(st.booleans()))


@st.composite
def conversations(draw: Draw, length: int) -> tuple[Worklist, list[Query]]:
    """A worklist and so many queries to it."""
    worklist = draw(worklists())
    entries = worklist.entries()
    different = st.lists(queries(entries), min_size=length, max_size=length, unique=True)
    return worklist, draw(different)
