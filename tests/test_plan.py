"""From a request's elements to the plan: what its bytes mean, by the VR in which they came."""

from __future__ import annotations

import struct

import pytest

from dicomscp import identifier, plan
from dicomscp.identifier import Element
from dicomscp.matching import AnyItem, OneOf
from dicomscp.status import IDENTIFIER_DOES_NOT_MATCH, Refusal
from worklist import attributes

PREGNANCY = attributes.find("PregnancyStatus")
PATIENT_ID = attributes.find("PatientID")


def refused(*elements: Element) -> tuple[int, ...]:
    """The offending elements of the refusal that is due."""
    with pytest.raises(Refusal) as caught:
        plan.make(elements)
    assert caught.value.status == IDENTIFIER_DOES_NOT_MATCH
    return caught.value.offending


@pytest.mark.parametrize(
    ("vr", "value", "wanted"),
    [
        ("US", b"\x04\x00", 4),
        ("UN", b"\x04\x00", 4),
        # 42 and 8234 are "*" with its padding to one who reads them as text.
        ("US", b"*\x00", 42),
        ("US", b"* ", 8234),
        ("IS", b"4 ", 4),
        ("CS", b"04", 4),
        ("US", b"", None),
        ("IS", b"* ", None),
        ("LO", b"  ", None),
    ],
)
def test_a_number_is_read_by_the_vr_in_which_it_came(
    vr: str, value: bytes, wanted: int | None
) -> None:
    expected = () if wanted is None else (OneOf(PREGNANCY, (wanted,)),)
    assert plan.make((Element(PREGNANCY.tag, vr, value),)).conditions == expected


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("US", b"\x01\x00\x02\x00"),
        ("UL", b"\x04\x00\x00\x00"),
        ("OB", b"\x04\x00"),
        ("IS", b"\x04\x00"),
        ("IS", b"4*"),
        ("DS", b"4.5 "),
        ("IS", b"70000 "),
        ("IS", b"1\\2 "),
    ],
)
def test_what_is_no_number_is_refused(vr: str, value: bytes) -> None:
    assert refused(Element(PREGNANCY.tag, vr, value)) == (PREGNANCY.tag,)


def test_a_sequence_of_vr_un_is_read_in_implicit_vr() -> None:
    step = attributes.find("ScheduledProcedureStepSequence")
    key = struct.pack("<HHI", 0x0008, 0x0060, 2) + b"CT"
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(key)) + key
    header = struct.pack("<HH2sHI", step.tag >> 16, step.tag & 0xFFFF, b"UN", 0, len(item))
    made = plan.make(identifier.read(header + item, implicit_vr=False))
    modality = attributes.find(step.keyword, "Modality")
    assert made.conditions == (AnyItem(step, (OneOf(modality, ("CT",)),)),)
    assert not made.unsupported
    with pytest.raises(Refusal):
        plan.make(identifier.read(header + b"no item at all" + item[14:], implicit_vr=False))


def test_a_text_in_a_vr_of_numbers_is_refused() -> None:
    assert refused(Element(PATIENT_ID.tag, "US", b"P1")) == (PATIENT_ID.tag,)
    assert plan.make((Element(PATIENT_ID.tag, "US", b""),)).conditions == ()
