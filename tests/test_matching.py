"""Matching as a table of cases: stored, key, does it match (PS3.4 C.2.2.2)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomscp import matching
from dicomscp.matching import Item
from dicomscp.status import IDENTIFIER_DOES_NOT_MATCH, Refusal
from worklist import attributes
from worklist.attributes import Attribute

NAME = attributes.find("PatientName")
PATIENT_ID = attributes.find("PatientID")
WEIGHT = attributes.find("PatientWeight")
UID = attributes.find("StudyInstanceUID")
BIRTH_DATE = attributes.find("PatientBirthDate")
_STEP = "ScheduledProcedureStepSequence"
MODALITY = attributes.find(_STEP, "Modality")
AE_TITLE = attributes.find(_STEP, "ScheduledStationAETitle")
COMMENTS = attributes.find("PatientComments")
ACCESSION = attributes.find("AccessionNumber")
DATE = attributes.find(_STEP, "ScheduledProcedureStepStartDate")
TIME = attributes.find(_STEP, "ScheduledProcedureStepStartTime")


def matches(attribute: Attribute, stored: Any, key: str) -> bool:
    held = () if stored is None else stored if isinstance(stored, tuple) else (stored,)
    condition = matching.condition(attribute, key)
    return condition is None or condition.matches(Item({attribute: held}, {}))


@pytest.mark.parametrize(
    ("attribute", "stored", "key", "expected"),
    [
        # universal, and the empty stored value (B.2, B.3)
        (PATIENT_ID, None, "", True),
        (PATIENT_ID, None, "  ", True),
        (PATIENT_ID, None, "*", True),
        (PATIENT_ID, None, "A*", False),
        (PATIENT_ID, None, "**", False),
        (WEIGHT, None, "*", True),
        (BIRTH_DATE, None, "*", True),
        # single value: exact, case counts (B.5), spaces around do not (B.21)
        (PATIENT_ID, "P1", "P1", True),
        (PATIENT_ID, "P1", " P1 ", True),
        (PATIENT_ID, "P1", "p1", False),
        (PATIENT_ID, "0012", "12", False),
        (PATIENT_ID, "P1", "P1\0", True),
        (PATIENT_ID, "P1", "P1 \0\0", True),
        (MODALITY, "MR", "CT\0\\MR\0", True),
        (ACCESSION, "x" * 16, "*" + "x" * 16 + "*", True),
        (NAME, "x" * 64 + "=" + "y" * 64, "*" + "x" * 64 + "*=*" + "y" * 64, True),
        # spaces at the start of a long text are part of it
        (COMMENTS, "  deaf", "  deaf  ", True),
        (COMMENTS, "  deaf", "deaf", False),
        (COMMENTS, "deaf", " deaf", False),
        (COMMENTS, "deaf", " *", False),
        (COMMENTS, "a\tb\r\nc\fd", "a\tb\r\n*", True),
        (COMMENTS, None, "   ", True),
        # wildcards (B.7)
        (PATIENT_ID, "P123", "P*", True),
        (PATIENT_ID, "P123", "P?23", True),
        (PATIENT_ID, "P123", "P?3", False),
        (PATIENT_ID, "50%_A", "50%_*", True),
        (PATIENT_ID, "50xyA", "50%_*", False),
        (PATIENT_ID, "a.c", "a.?", True),
        (PATIENT_ID, "abc", "a.?", False),
        # names (B2)
        (NAME, "Doe^Jane", "DOE*", True),
        (NAME, "Doe^Jane", "do?^jane", True),
        (NAME, "Doe^Jane", "Doe^Jane^^^", True),
        (NAME, "Doe^Jane", "DOE", False),
        (NAME, "Doe^^^", "DOE", True),
        (NAME, "Doe ^ Jane", "doe^jane", True),
        (NAME, "Müller^Anna", "MÜLLER^ANNA", True),
        (NAME, "Müller^Anna", "mu\u0308ller^anna", True),
        (NAME, "Müller^Anna", "Muller^Anna", False),
        (NAME, "Weiß^Anna", "Wei?^A*", True),
        (NAME, "Weiß^Anna", "Wei??^A*", False),
        (NAME, "Weiß^Anna", "WEIẞ^ANNA", True),
        (NAME, "Weiß^Anna", "WEISS^A*", True),
        (NAME, "Weiss^Anna", "Weiß^Anna", True),
        (NAME, "Weiss-Großmann^Anna", "WEISS-GROSSMANN*", True),
        (NAME, "Weiß^Anna", "WEIS*", False),
        (NAME, "Weiß=弗", "weiss=弗", True),
        (NAME, "İpek^Ayşe", "?pek^A*", True),
        (NAME, "Mu\u0308ller^Anna", "M?ller^*", True),
        (NAME, "Wang^XiaoDong=王^小東", "王*", True),
        (NAME, "Wang^XiaoDong=王^小東", "=王*", True),
        (NAME, "Wang^XiaoDong=王^小東", "王*=", True),
        (NAME, "Wang^XiaoDong=王^小東", "wang*=王*", True),
        (NAME, "Wang^XiaoDong", "wang*=王*", False),
        (NAME, "Solo^Han", "solo*=*", True),
        (NAME, "Solo^Han", "solo*=**=*", True),
        (NAME, "Solo^Han", "solo*=?*", False),
        (NAME, "=山田^花子", "*=山田*", True),
        (NAME, None, "*=*", True),
        (NAME, None, "*^", True),
        (NAME, None, "**", False),
        (NAME, "Ab^C=D^E", "A*E", False),
        (NAME, "Doe", "*^*", False),
        (NAME, "Doe^Jane", "^^", True),
        # several values (B.19), lists of UID (B.10)
        (MODALITY, "CT", "CT\\PT", True),
        (MODALITY, "MR", "CT\\PT", False),
        (MODALITY, "MR", "CT\\*", True),
        (MODALITY, "MR", "CT\\M?", True),
        (MODALITY, "CT", "CT\\", True),
        (MODALITY, "MR", "CT\\", False),
        (UID, "1.2.3", "1.2.4\\1.2.3", True),
        (UID, "1.2.3", "1.2.4", False),
        # numbers (CP-2305)
        (WEIGHT, "70", "70.0", True),
        (WEIGHT, "70.50", "7.05e1", True),
        (WEIGHT, "70", "71", False),
        (WEIGHT, "1.7e2", "170", True),
        (WEIGHT, "1e400", "70", False),
        # dates and times by meaning (B.6), ranges (B.11, B.14)
        (DATE, dt.date(2026, 7, 5), "20260705", True),
        (DATE, dt.date(2026, 7, 5), "2026.07.05", True),
        (DATE, dt.date(2026, 7, 5), "20260705-", True),
        (DATE, dt.date(2026, 7, 5), " 20260701 - 20260705 ", True),
        (DATE, dt.date(2026, 7, 5), "-20260704", False),
        (TIME, dt.time(22, 30), "2230", True),
        (TIME, dt.time(22, 30), "223000.000", True),
        (TIME, dt.time(22, 30), "22", False),
        (TIME, dt.time(10, 0, 59), "-1000", True),
        (TIME, dt.time(10, 1), "-1000", False),
        (TIME, dt.time(10, 59, 59, 999999), "-10", True),
    ],
)
def test_matching(attribute: Attribute, stored: object, key: str, expected: bool) -> None:
    assert matches(attribute, stored, key) is expected


@pytest.mark.timeout(5)
@pytest.mark.parametrize("attribute", [NAME, PATIENT_ID])
@pytest.mark.parametrize("stored", ["x" * 64, "mx" * 32])
def test_a_key_of_many_wildcards_is_decided_at_once(attribute: Attribute, stored: str) -> None:
    # With a regular expression it takes longer than the server will live.
    assert not matches(attribute, stored, "*?" * 30 + "m")
    assert matches(attribute, stored, "*?" * 30 + "x")


def fits(text: str, pattern: str) -> bool:
    """Every way to share out the text, one after the other."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(fits(text[n:], pattern[1:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and fits(text[1:], pattern[1:])


@given(st.text("ab*?", max_size=7), st.text("ab*?", max_size=7))
def test_wildcards_are_decided_as_by_trying_all(text: str, pattern: str) -> None:
    assert matching.is_like(text, pattern) is fits(text, pattern)


@pytest.mark.parametrize(
    ("attribute", "key"),
    [
        (DATE, "20241301"),
        (DATE, "today"),
        (DATE, "20260705-20260701"),
        (DATE, "-"),
        (DATE, "20260701-20260702-20260703"),
        (DATE, "2026*"),
        (DATE, "20260701\\20260702"),
        (TIME, "2400"),
        (TIME, "2200-0600"),
        (UID, "1.2.*"),
        (UID, "1.02"),
        (WEIGHT, "heavy"),
        (WEIGHT, "nan"),
        (WEIGHT, "1e400"),
        (PATIENT_ID, "A\\B"),
        (MODALITY, "\\"),
        (MODALITY, " \\ \\ "),
        (UID, "\\"),
        # control characters that the VR does not allow
        (PATIENT_ID, "A\0B"),
        (PATIENT_ID, "\0A"),
        (PATIENT_ID, "A\nB"),
        (NAME, "Doe\t^Jane"),
        (MODALITY, "CT\\M\x1bR"),
        (COMMENTS, "a\x07b"),
        (COMMENTS, "a\x85b"),
        # more than a value can hold
        (PATIENT_ID, "x" * 65),
        (PATIENT_ID, "*" * 67),
        (ACCESSION, "x" * 17),
        (ACCESSION, "?" * 17),
        (NAME, "a=" + "x" * 65),
        (NAME, "a=b=c=d"),
        (COMMENTS, "x" * 10241),
        (WEIGHT, "0" * 16 + "1"),
        (AE_TITLE, "CT1\\" + "x" * 17),
        (MODALITY, "\\".join(["CT"] * 257)),
        (UID, "\\".join(["1.2.3"] * 257)),
    ],
)
def test_a_malformed_key_is_refused_and_names_its_attribute(attribute: Attribute, key: str) -> None:
    with pytest.raises(Refusal) as caught:
        matching.condition(attribute, key)
    assert caught.value.status == IDENTIFIER_DOES_NOT_MATCH
    assert caught.value.offending == (attribute.tag,)
    assert key not in caught.value.comment or key == "-"


@pytest.mark.parametrize(
    ("dates", "times", "date", "time", "expected"),
    [
        ("20260705-20260707", "1000-1800", 5, "09:59", False),
        ("20260705-20260707", "1000-1800", 5, "10:00", True),
        ("20260705-20260707", "1000-1800", 6, "03:00", True),
        ("20260705-20260707", "1000-1800", 7, "18:00", True),
        ("20260705-20260707", "1000-1800", 7, "18:01", False),
        ("20260705-20260706", "2200-0600", 6, "05:00", True),
        ("20260705-20260706", "2200-0600", 5, "21:00", False),
        ("20260705-", "1000-1800", 5, "09:00", False),
        ("20260705-", "1000-1800", 9, "23:00", True),
        ("-20260705", "1000-1800", 1, "03:00", True),
        ("-20260705", "1000-1800", 5, "19:00", False),
        ("20260705-20260706", "1000-", 6, "23:59", True),
        ("20260705-20260706", "-1000", 5, "00:00", True),
        ("20260705-20260706", "-1000", 6, "10:01", False),
    ],
)
def test_two_ranges_are_one_interval(
    dates: str, times: str, date: int, time: str, expected: bool
) -> None:
    interval = matching.combined(DATE, TIME, dates=dates, times=times)
    assert interval is not None
    held: dict[Attribute, Any] = {
        DATE: (dt.date(2026, 7, date),),
        TIME: (dt.time.fromisoformat(time),),
    }
    assert interval.matches(Item(held, {})) is expected


def test_an_interval_that_runs_backwards_is_refused() -> None:
    with pytest.raises(Refusal):
        matching.combined(DATE, TIME, dates="20260705-20260705", times="1800-1000")


@pytest.mark.parametrize(
    ("dates", "times"), [("20260705", "1000-1800"), ("20260705-", "1000"), ("", "10-")]
)
def test_only_two_ranges_combine(dates: str, times: str) -> None:
    assert matching.combined(DATE, TIME, dates=dates, times=times) is None


def test_conditions_speak() -> None:
    condition = matching.condition(MODALITY, "CT\\PT")
    assert condition is not None and condition.words == "Modality is CT or PT"
