"""A response Identifier: the keys that were asked for, in the character set that holds them."""

from __future__ import annotations

import datetime as dt
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from dicomscp import identifier, plan, response
from dicomscp.identifier import Element
from dicomscp.matching import Item
from worklist import attributes, character_set
from worklist.attributes import Attribute
from worklist.values import Value

NAME = attributes.find("PatientName")
STEP = attributes.find("ScheduledProcedureStepSequence")


def walked(dataset: Dataset, *, implicit_vr: bool) -> dict[int, Element]:
    encoded = encode(dataset, implicit_vr, True)
    assert encoded is not None
    elements = identifier.read(BytesIO(encoded).getvalue(), implicit_vr=implicit_vr)
    return {element.tag: element for element in elements}


def asking(*keywords: str) -> plan.QueryPlan:
    elements = tuple(
        Element(attribute.tag, attribute.vr, b"")
        for attribute in (attributes.find(keyword) for keyword in keywords)
    )
    return plan.make(elements)


def row(held: dict[Attribute, tuple[Value, ...]] | None = None) -> Item:
    def item(table: tuple[Attribute, ...] | list[Attribute]) -> Item:
        leaves = {a: (held or {}).get(a, ()) for a in table if not a.is_sequence}
        sequences = {a: (item(a.items),) if a is STEP else () for a in table if a.is_sequence}
        return Item(leaves, sequences)

    return item(attributes.TABLE)


@pytest.mark.parametrize("implicit_vr", [True, False])
@pytest.mark.parametrize(
    ("wanted", "name", "said"),
    [
        ((), "Doe^Jane", None),
        ((), "Müller^Anna", b"ISO_IR 192"),
        (("ISO_IR 100",), "Müller^Anna", b"ISO_IR 100"),
        (("ISO_IR 100",), "Doe^Jane", b"ISO_IR 100"),
        (("ISO_IR 100",), "Łukasz", b"ISO_IR 192"),
        (("", "ISO 2022 IR 58"), "Wang^XiaoDong=王^小东", b"\\ISO 2022 IR 58 "),
        (("", "ISO 2022 IR 58"), "Müller^Anna", b"\\ISO 2022 IR 58 "),
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎", b"\\ISO 2022 IR 87 "),
        (("", "ISO 2022 IR 149"), "Hong^Gildong=洪^吉洞", b"\\ISO 2022 IR 149"),
        (("GB18030",), "乗^俓", b"GB18030 "),
        (("NO SUCH SET",), "Müller", b"ISO_IR 192"),
    ],
)
def test_every_character_arrives(
    implicit_vr: bool, wanted: tuple[str, ...], name: str, said: bytes | None
) -> None:
    dataset = response.identifier(
        asking("PatientName"),
        row({NAME: (name,)}),
        implicit_vr=implicit_vr,
        character_set=wanted,
    )
    elements = walked(dataset, implicit_vr=implicit_vr)
    told = elements.get(identifier.SPECIFIC_CHARACTER_SET)
    assert (told.value if told else None) == said
    terms = character_set.read(told.value) if told else ()
    assert character_set.decode(elements[NAME.tag].value, terms, "PN").rstrip(" ") == name


def test_what_was_asked_for_is_there_even_when_unknown() -> None:
    dataset = response.identifier(
        asking("PatientID", "PatientComments", "PregnancyStatus", "RequestedProcedureCodeSequence"),
        row(),
    )
    assert [int(tag) for tag in dataset.keys()] == [  # noqa: SIM118  a data set, not a dict
        0x00100020,
        0x001021C0,
        0x00104000,
        0x00321064,
    ]
    assert all(element.is_empty for element in dataset)


def test_a_whole_sequence_has_its_type_1_and_2_and_what_has_a_value() -> None:
    comments = attributes.find(STEP.keyword, "CommentsOnTheScheduledProcedureStep")
    start = attributes.find(STEP.keyword, "ScheduledProcedureStepStartTime")
    held: dict[Attribute, tuple[Value, ...]] = {
        comments: ("fasting",),
        start: (dt.time(8, 30),),
    }
    dataset = response.identifier(asking(STEP.keyword), row(held))
    (item,) = dataset.ScheduledProcedureStepSequence
    assert item.CommentsOnTheScheduledProcedureStep == "fasting"
    assert item.ScheduledProcedureStepStartTime == "083000"
    assert "ScheduledStationName" in item
    assert "ScheduledProcedureStepEndDate" not in item


def test_an_answer_is_never_empty() -> None:
    dataset = response.identifier(plan.make((Element(0x00091001, "UN", b""),)), row())
    assert dataset.SpecificCharacterSet == "ISO_IR 6"


def test_of_a_name_an_old_console_gets_the_alphabetic_group_alone() -> None:
    held = row({NAME: ("Yamada^Tarou=山田^太郎=やまだ^たろう",)})
    query = asking("PatientName")
    sent = walked(response.identifier(query, held, alphabetic_only=True), implicit_vr=True)
    assert sent[NAME.tag].value == b"Yamada^Tarou"
    assert 0x00080005 not in sent
    # A name that has no such group is sent as it is: nobody is without a name.
    alone = row({NAME: ("=山田^太郎",)})
    sent = walked(response.identifier(query, alone, alphabetic_only=True), implicit_vr=True)
    assert sent[NAME.tag].value.decode().rstrip() == "=山田^太郎"
