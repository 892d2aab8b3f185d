"""Damage never widens: a damaged Identifier is refused, or is answered with no more than it was.

What is left: damage that makes another question of it, whole in itself, that a scanner might ask.
Of a cut that is one between two elements; of a changed byte, another value of a key, or the tag of
another attribute of DICOM, with a value of its VR and in its place. The tests say how much that is.

WORKLIST_MUTATIONS says how many are tried.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicomscp import find, identifier, plan
from dicomscp.find import TooManyMatches
from dicomscp.identifier import Element
from dicomscp.plan import QueryPlan
from dicomscp.scope import NO_RULES
from dicomscp.server import WorklistScp
from dicomscp.status import Refusal
from tests import network
from tests.asking import ask_bytes, query
from tests.cast import YAMADA, step
from tests.strategies import Query

pytestmark = pytest.mark.django_db

MUTATIONS = int(os.environ.get("WORKLIST_MUTATIONS", "2000"))
NOW = dt.datetime(2024, 7, 5, 10)
DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
STATION = "ScheduledStationAETitle"
# What scanners ask, and what is rare: in several character sets, ranges, lists, items of items.
QUERIES = (
    query({STATION: "CT1", "Modality": "CT", DATE: "20240705"}, PatientName="", PatientID="P1"),
    query({STATION: "CT1", DATE: "20240701-20240704", TIME: ""}, PatientName="Mü*"),
    query({"Modality": ["CT", "MR"], DATE: "20240703-"}, PatientID="P?", PatientName=""),
    query({STATION: "MR1"}, PatientName="Müller^Anna", SpecificCharacterSet="ISO_IR 100"),
    query({"Modality": "MR"}, PatientName="Иванов*", SpecificCharacterSet="ISO_IR 144"),
    query(
        {"Modality": "CT", DATE: ""},
        PatientName="Yamada^Tarou=山田^太郎",
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
    ),
    query({STATION: "CT2"}, PatientName="山田*", SpecificCharacterSet="GB18030"),
    query({"ScheduledProcedureStepStatus": "SCHEDULED"}, AccessionNumber="A-7", PatientName=""),
    query({}, StudyInstanceUID=["1.2.3.4", "1.2.3.5"], PatientName=""),
    query({DATE: "20240702", TIME: "0800-0930", "Modality": "CT"}, PatientBirthDate=""),
    query(
        {
            "ScheduledProtocolCodeSequence": {"CodeValue": "CTTH", "CodeMeaning": ""},
            STATION: "CT1",
        },
        PatientID="P3",
    ),
    query({STATION: "CT?"}, PatientID="P2", PatientSex="F", RequestedProcedureID="R-2"),
)
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


@pytest.fixture
def worklist() -> None:
    names = ("Müller^Anna", YAMADA, "Smith^John", "Иванов^Иван")
    for number in range(40):
        step(
            PatientID=f"P{number % 7}",
            PatientName=names[number % 4],
            PatientSex="MF"[number % 2],
            AccessionNumber=f"A-{number}",
            RequestedProcedureID=f"R-{number}",
            StudyInstanceUID=f"1.2.3.{number}",
            Modality=("CT", "MR")[number % 2],
            stations=[("CT1", "MR1", "CT2")[number % 3]],
            ScheduledProcedureStepStartDate=dt.date(2024, 7, 1 + number % 9),
            ScheduledProcedureStepStartTime=dt.time(8 + number % 9),
        )


Steps = frozenset[int | None]


def elements(encoded: bytes, syntax: UID) -> tuple[Element, ...]:
    return identifier.read(encoded, implicit_vr=syntax == ImplicitVRLittleEndian)


def answered(encoded: bytes, syntax: UID) -> tuple[Steps, QueryPlan]:
    """The steps of the answer. Raises Refusal."""
    made = plan.make(elements(encoded, syntax))
    try:
        found = find.answer(made, NO_RULES, now=NOW)
    except TooManyMatches as error:
        raise Refusal(0xA700, "") from error
    return frozenset(item.step for item in found), made


def encoded_ones() -> Iterator[tuple[Query, UID, bytes]]:
    for each in QUERIES:
        for syntax in SYNTAXES:
            encoded = network.encode(each, is_explicit=syntax == ExplicitVRLittleEndian)
            yield each, syntax, encoded


def test_a_cut_is_refused_unless_it_leaves_whole_elements(worklist: None) -> None:
    for _, syntax, encoded in encoded_ones():
        intact, _ = answered(encoded, syntax)
        whole = elements(encoded, syntax)
        left = []
        for end in range(len(encoded)):
            try:
                answered(encoded[:end], syntax)
            except Refusal:
                continue
            read = elements(encoded[:end], syntax)
            assert read == whole[: len(read)]
            left.append(len(read))
        assert left == list(range(len(whole))), "one between each two elements, and no other"
        assert answered(encoded, syntax)[0] == intact


def mutated(encoded: bytes, chance: random.Random) -> bytes:
    """One thing wrong, as memory, lines and programs do it."""
    made = bytearray(encoded)
    at = chance.randrange(len(made))
    kind = chance.choice(("bit", "byte", "lost", "put in", "swapped", "twice", "zero"))
    if kind == "bit":
        made[at] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        made[at] = chance.randrange(256)
    elif kind == "lost":
        del made[at : at + chance.randint(1, 8)]
    elif kind == "put in":
        made[at:at] = chance.randbytes(chance.randint(1, 8))
    elif kind == "twice":
        made[at:at] = made[at : at + chance.randint(1, 40)]
    elif kind == "zero":
        made[at : at + 4] = bytes(len(made[at : at + 4]))
    else:
        other = chance.randrange(len(made))
        made[at], made[other] = made[other], made[at]
    return bytes(made)


def valued(level: tuple[Element, ...], path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The paths of keys that have a value: only those narrow an answer."""
    for element in level:
        if element.value:
            yield (*path, element.tag)
        for item in element.items:
            yield from valued(item, (*path, element.tag))


@pytest.mark.timeout(120 + MUTATIONS // 50)
def test_a_mutation_is_refused_or_asks_for_no_more(worklist: None) -> None:
    chance = random.Random(20261123)
    ones = [(*each, answered(each[2], each[1])[0]) for each in encoded_ones()]
    counted: Counter[str] = Counter()
    for _ in range(MUTATIONS):
        _, syntax, encoded, intact = chance.choice(ones)
        damaged = mutated(encoded, chance)
        try:
            found, made = answered(damaged, syntax)
        except Refusal:
            counted["refused"] += 1
            continue
        if not found > intact:
            counted["no more"] += 1
            continue
        before = set(valued(elements(encoded, syntax)))
        after = set(valued(elements(damaged, syntax)))
        if before <= after:
            # All are there: one of them has another value, as whole as the first.
            counted["another value"] += 1
        else:
            # A key is another attribute's now, and the answer says that it was not understood.
            assert made.unsupported, f"{encoded!r}\n{damaged!r}\n{before - after} {after - before}"
            counted["another attribute"] += 1
    print(dict(counted))
    assert counted["refused"] > MUTATIONS / 2
    assert counted["another value"] < MUTATIONS / 50
    assert counted["another attribute"] < MUTATIONS / 100


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_wire_answers_damage_as_the_rooms_do(worklist: None, syntax: UID) -> None:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    chance = random.Random(7)
    encoded = network.encode(QUERIES[0], is_explicit=syntax == ExplicitVRLittleEndian)
    sample = [encoded[:end] for end in range(1, len(encoded), 7)]
    sample += [mutated(encoded, chance) for _ in range(60)]
    try:
        with network.association(scp.port, syntax) as assoc:
            for damaged in sample:
                reply = ask_bytes(assoc, damaged)
                try:
                    found, _ = answered(damaged, syntax)
                except Refusal as refusal:
                    assert (reply.final.Status, reply.pendings) == (refusal.status, ())
                else:
                    assert (reply.final.Status, len(reply.pendings)) == (0, len(found))
    finally:
        scp.stop()


# --- what is left of keys whose tag was damaged ---------------------------------------------------


def read(*elements: Element) -> QueryPlan:
    return plan.make(elements)


@pytest.mark.parametrize(
    "element",
    [
        pytest.param(Element(0x00110020, "LO", b"P1"), id="private and nobody's"),
        pytest.param(Element(0x00410100, "UN", b"CT1 "), id="private without a block"),
        pytest.param(Element(0x00100021 + 0x8000, "LO", b"P1"), id="no attribute of DICOM"),
        pytest.param(Element(0x00081030, "DS", b"P1"), id="another VR"),
        pytest.param(Element(0x001021F0, "LO", b"\x10\0\x10\0"), id="no text"),
        pytest.param(Element(0x00080008, "UN", b"P1"), id="out of order"),
        pytest.param(Element(0x00101000, "LO", b"x" * 65 + b"\x01"), id="no text of one supported"),
    ],
)
def test_a_key_that_nobody_asks_with_is_refused(element: Element) -> None:
    first = Element(0x00080050, "SH", b"A-1 ")
    with pytest.raises(Refusal) as refused:
        read(first, element)
    assert refused.value.offending == (element.tag,)


@pytest.mark.parametrize("tag", [0x00110020, 0x00410100, 0x00108021, 0x00081030])
def test_an_empty_one_does_no_harm(tag: int) -> None:
    assert read(Element(tag, "LO", b"")).unsupported == ((tag,),)


def test_a_character_set_that_swallows_the_keys_behind_it_is_refused() -> None:
    """Its length was damaged: read so, its query would ask for everything."""
    with pytest.raises(Refusal) as refused:
        read(Element(0x00080005, "CS", b"ISO_IR 192\x10\0\x20\0LO\x02\0P1"))
    assert refused.value.offending == (0x00080005,)


def test_a_group_length_that_is_none_is_a_key_whose_tag_was_damaged() -> None:
    assert identifier.read(b"\x08\0\0\0\x04\0\0\0\x02\0\0\0", implicit_vr=True) == ()
    with pytest.raises(Refusal):
        identifier.read(b"\x40\0\0\0\x04\0\0\0CT1 ", implicit_vr=True)
