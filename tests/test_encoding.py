"""The bytes of a response: written from the row, they are those that pydicom writes."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.charset import python_encoding
from pynetdicom.dsutils import encode

from dicomscp import encoding, find, identifier, plan, response
from dicomscp.encoding import Writer
from dicomscp.identifier import Element
from dicomscp.layout import Layout, Row
from dicomscp.plan import QueryPlan
from tests import strategies
from worklist import attributes
from worklist.attributes import Attribute
from worklist.character_set import GOVERNED_VRS, CharacterSet, is_supported

STEP = attributes.find("ScheduledProcedureStepSequence")
CHARACTER_SETS: tuple[CharacterSet | None, ...] = (
    None,
    (),
    ("ISO_IR 100",),
    ("ISO_IR 101",),
    ("ISO_IR 109",),
    ("ISO_IR 110",),
    ("ISO_IR 144",),
    ("ISO_IR 127",),
    ("ISO_IR 126",),
    ("ISO_IR 138",),
    ("ISO_IR 148",),
    ("ISO_IR 166",),
    ("ISO_IR 13",),
    ("ISO_IR 192",),
    ("GB18030",),
    ("GBK",),
    ("ISO_IR 6",),
    *(("", term) for term in sorted(python_encoding) if term.startswith("ISO 2022")),
    ("ISO 2022 IR 13", "ISO 2022 IR 87"),
    ("ISO 2022 IR 100", "ISO 2022 IR 144"),
    ("NO SUCH SET",),
)


def pydicoms(
    query: QueryPlan,
    layout: Layout,
    row: Row,
    *,
    implicit_vr: bool,
    character_set: CharacterSet | None,
    alphabetic_only: bool,
) -> bytes:
    """What the plain path sends."""
    dataset = response.identifier(
        query,
        layout.item(row),
        implicit_vr=implicit_vr,
        character_set=character_set,
        alphabetic_only=alphabetic_only,
    )
    encoded = encode(dataset, implicit_vr, True)
    assert encoded is not None
    return encoded


# --- what is asked for, and what is stored --------------------------------------------------------


@st.composite
def elements(draw: st.DrawFn, table: tuple[Attribute, ...] | list[Attribute]) -> Any:
    """Some of a table's attributes, asked for without a condition; sequences whole or in part."""
    asked = draw(st.lists(st.sampled_from(list(table)), unique=True, max_size=len(table)))
    found = []
    for attribute in asked:
        items: tuple[tuple[Element, ...], ...] = ()
        if attribute.is_sequence and draw(st.booleans()):
            items = (draw(elements(attribute.items)),)
        found.append(Element(attribute.tag, attribute.vr, b"", items))
    if draw(st.integers(0, 9)) == 0:
        found.append(Element(0x00091001, "UN", b""))
    return tuple(found)


TEXTS = st.one_of(
    st.sampled_from(strategies.TEXTS),
    st.sampled_from(strategies.NAMES),
    st.text("ab Äłяあ亜한ก\\^=-", max_size=9),
)


def stored(attribute: Attribute) -> st.SearchStrategy[Any]:
    """What the column of an attribute may hold."""
    if attribute.vr == "DA":
        return st.one_of(st.none(), st.dates(dt.date(1, 1, 1)))
    if attribute.vr == "TM":
        return st.one_of(st.none(), st.sampled_from(strategies.TIMES))
    if attribute.vr == "US":
        return st.one_of(st.none(), st.integers(0, 65535))
    if attribute.vr in ("AE", "CS", "DS", "UI", "UR"):
        return st.one_of(st.just(""), st.sampled_from(["1", "12", "123", "1\\22"]))
    return st.one_of(st.just(""), TEXTS)


@st.composite
def rows(draw: st.DrawFn, layout: Layout) -> Row:
    own = [draw(stored(attribute)) for attribute in layout.columns]
    lists = []
    for leaves in layout.lists.values():
        of_one = st.tuples(*(stored(leaf) for leaf in leaves))
        entries = draw(st.lists(of_one, max_size=3))
        lists.append(json.dumps(entries) if entries else draw(st.sampled_from([None, "[]"])))
    return (draw(st.integers(1, 9)), *own, *lists)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_the_bytes_are_those_that_pydicom_writes(data: st.DataObject) -> None:
    query = plan.make(data.draw(elements(attributes.TABLE)))
    layout = find.layout_of((), query.returns)
    how: dict[str, Any] = {
        "implicit_vr": data.draw(st.booleans()),
        "character_set": data.draw(st.sampled_from(CHARACTER_SETS)),
        "alphabetic_only": data.draw(st.booleans()),
    }
    write = Writer(query, layout, **how)
    for row in data.draw(st.lists(rows(layout), min_size=1, max_size=3)):
        expected = pydicoms(query, layout, row, **how)
        assert write(row) == expected
        # From what was kept, too.
        assert write(row) == expected


@pytest.mark.parametrize("implicit_vr", [True, False])
@pytest.mark.parametrize("query", [plan.everything(), plan.everything_known()])
@pytest.mark.parametrize("character_set", CHARACTER_SETS)
def test_every_attribute_is_written_as_pydicom_does(
    implicit_vr: bool, query: QueryPlan, character_set: CharacterSet | None
) -> None:
    layout = find.layout_of((), query.returns)
    write = Writer(query, layout, implicit_vr=implicit_vr, character_set=character_set)
    how: dict[str, Any] = {"character_set": character_set, "alphabetic_only": False}
    kinds = {"DA": dt.date(2024, 7, 5), "TM": dt.time(9, 30), "US": 3}
    for text in ("", "A", "Ab", "Müller", "Я", "山田^太郎", "a\\b"):
        plain = text if text.isascii() else "1"
        held = [
            kinds.get(leaf.vr, text if leaf.vr in GOVERNED_VRS else plain)
            for leaf in layout.columns
        ]
        lists = [
            json.dumps([[text if leaf.vr in GOVERNED_VRS else plain for leaf in leaves]] * 2)
            for leaves in layout.lists.values()
        ]
        row = (1, *held, *lists)
        assert write(row) == pydicoms(query, layout, row, implicit_vr=implicit_vr, **how)


def test_every_character_set_that_is_accepted_is_among_those_tried() -> None:
    tried = {term for terms in CHARACTER_SETS for term in terms or ()}
    assert {term for term in python_encoding if is_supported((term,))} <= tried


def test_a_text_too_long_for_its_vr_is_unknown_in_its_vr() -> None:
    comments = attributes.find("PatientComments")
    query = plan.make((Element(comments.tag, "LT", b""),))
    layout = find.layout_of((), query.returns)
    write = Writer(query, layout, implicit_vr=False, character_set=("ISO_IR 192",))
    # pydicom cannot write it. PS3.5 6.2.2: as UN, which has a longer length.
    written = identifier.read(write((1, "山あ" * 12_000)), implicit_vr=False)
    assert [(one.vr, len(one.value)) for one in written] == [("CS", 10), ("UN", 72_000)]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_MOST_KEPT", 100)
    patient_id = attributes.find("PatientID")
    query = plan.make((Element(patient_id.tag, "LO", b""),))
    write = Writer(query, find.layout_of((), query.returns), implicit_vr=True)
    for number in range(1000):
        assert write((1, f"P{number:05}")).endswith(f"P{number:05}".encode())
    assert sum(map(len, encoding._Kept._every)) <= 101
    # A long text is not kept at all.
    before = sum(map(len, encoding._Kept._every))
    write((1, "x" * 5000))
    assert sum(map(len, encoding._Kept._every)) == before
