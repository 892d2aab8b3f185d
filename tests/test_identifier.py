"""The walk over a request's bytes: all of them, or a refusal."""

from __future__ import annotations

import random
import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom.dsutils import encode

from dicomscp import identifier
from dicomscp.identifier import Element
from dicomscp.status import CANNOT_DECODE, IDENTIFIER_DOES_NOT_MATCH, Refusal


def request() -> Dataset:
    step = Dataset()
    step.Modality = "CT"
    step.ScheduledProcedureStepStartDate = "20260101-20260131"
    code = Dataset()
    code.CodeValue = ""
    step.ScheduledProtocolCodeSequence = Sequence([code])
    ds = Dataset()
    ds.PatientName = "Müller*"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ScheduledProcedureStepSequence = Sequence([step])
    return ds


def encoded(ds: Dataset, *, implicit_vr: bool) -> bytes:
    data = encode(ds, implicit_vr, True)
    assert data is not None
    return data


def tags(elements: tuple[Element, ...]) -> list[int]:
    return [element.tag for element in elements]


@pytest.mark.parametrize("implicit_vr", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_every_element_is_read_with_its_items(implicit_vr: bool, undefined: bool) -> None:
    ds = request()
    ds["ScheduledProcedureStepSequence"].is_undefined_length = undefined
    ds.ScheduledProcedureStepSequence[0].is_undefined_length_sequence_item = undefined
    elements = identifier.read(encoded(ds, implicit_vr=implicit_vr), implicit_vr=implicit_vr)
    assert tags(elements) == [0x00080005, 0x00100010, 0x00400100]
    (step,) = elements[2].items
    assert tags(step) == [0x00080060, 0x00400002, 0x00400008]
    assert step[1].value == b"20260101-20260131 "
    assert tags(step[2].items[0]) == [0x00080100]


@pytest.mark.parametrize("implicit_vr", [True, False])
def test_a_cut_identifier_is_refused_unless_it_ends_between_elements(implicit_vr: bool) -> None:
    whole = encoded(request(), implicit_vr=implicit_vr)
    survivors = []
    for end in range(len(whole)):
        try:
            survivors.append(len(identifier.read(whole[:end], implicit_vr=implicit_vr)))
        except Refusal as refusal:
            assert refusal.status == CANNOT_DECODE
            assert len(refusal.error_comment) <= 64
    assert survivors == [0, 1, 2]


def test_random_bytes_bring_nothing_but_a_refusal() -> None:
    draw = random.Random(7)
    whole = encoded(request(), implicit_vr=False)
    for _ in range(5000):
        mutated = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            mutated[draw.randrange(len(mutated))] = draw.randrange(256)
        try:
            identifier.read(bytes(mutated), implicit_vr=draw.random() < 0.5)
        except Refusal as refusal:
            assert refusal.status in (CANNOT_DECODE, IDENTIFIER_DOES_NOT_MATCH)


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        item = struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data
        data = struct.pack("<HHL", 0x0040, 0x0100, len(item)) + item
    return data


def test_bounds_are_refused_as_not_matching() -> None:
    assert identifier.read(nested(5), implicit_vr=True)
    too_many = b"".join(
        struct.pack("<HHL", 0x0011 + index // 0x8000, 0x1000 + index, 0) for index in range(2001)
    )
    for data in (nested(6), nested(5000), too_many, bytes(256 * 1024 + 2)):
        with pytest.raises(Refusal) as caught:
            identifier.read(data, implicit_vr=True)
        assert caught.value.status == IDENTIFIER_DOES_NOT_MATCH


def test_an_element_that_stands_twice_is_refused() -> None:
    element = struct.pack("<HHL", 0x0010, 0x0020, 2) + b"A "
    with pytest.raises(Refusal) as caught:
        identifier.read(element * 2, implicit_vr=True)
    assert caught.value.offending == (0x00100020,)


def test_group_lengths_and_padding_are_left_out() -> None:
    data = (
        struct.pack("<HHLL", 0x0010, 0x0000, 4, 10)
        + struct.pack("<HHL", 0x0010, 0x0020, 2)
        + b"A "
        + struct.pack("<HHL", 0xFFFC, 0xFFFC, 4)
        + bytes(4)
    )
    assert tags(identifier.read(data, implicit_vr=True)) == [0x00100020]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<HHL", 0x0010, 0x0020, 3) + b"ABC",
        struct.pack("<HHL", 0x0010, 0x0020, 0x7FFFFFFE) + b"A ",
        struct.pack("<HHL", 0x0010, 0x0020, 0xFFFFFFFF),
        struct.pack("<HHL", 0x0040, 0x0100, 8) + struct.pack("<HHL", 0x0010, 0x0020, 0),
        struct.pack("<HHL", 0x0040, 0x0100, 0xFFFFFFFF),
        struct.pack("<HHL", 0xFFFE, 0xE000, 0),
    ],
    ids=["odd", "too long", "undefined text", "no item", "no end", "stray item"],
)
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        identifier.read(data, implicit_vr=True)
    assert caught.value.status == CANNOT_DECODE
