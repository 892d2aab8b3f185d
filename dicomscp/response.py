"""A response Identifier: the keys that were asked for, with the stored values (K.4.1.1.3.2).

Pure: no database, no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from dicomscp.matching import Item
from dicomscp.plan import QueryPlan, Return
from worklist import attributes, values
from worklist.attributes import Attribute
from worklist.character_set import (
    DEFAULT,
    GOVERNED_VRS,
    UNICODE,
    CharacterSet,
    encode,
    fits,
    is_supported,
)
from worklist.values import Value

_STEP = attributes.find("ScheduledProcedureStepSequence")


def identifier(
    plan: QueryPlan,
    item: Item,
    *,
    implicit_vr: bool = False,
    character_set: CharacterSet | None = None,
    alphabetic_only: bool = False,
) -> Dataset:
    """The Identifier that answers the plan for one row, to be written in little endian.

    Text stands as bytes of the answer's set: the given one, else the request's, wherever every
    character fits; else Unicode. Never a "?" for a character (B3.8).
    """
    if alphabetic_only:
        item = alphabetic(item)
    wanted = plan.character_set if character_set is None else character_set
    terms = fitting(plan.returns, item, wanted)
    dataset = _dataset(plan.returns, item, terms, implicit_vr)
    # An Identifier is never empty: one that holds nothing that was asked for says its set.
    said = terms or (() if len(dataset) else ("ISO_IR 6",))
    if said:
        dataset.SpecificCharacterSet = list(said) if len(said) > 1 else said[0]
    return dataset


def alphabetic(item: Item) -> Item:
    """The row for a console that knows no other component group of a name than the first (H27).

    A name that has no alphabetic group stays as it is: without a name, nobody is recognised.
    """
    held = {
        attribute: tuple(first_group(str(name)) for name in several)
        if attribute.vr == "PN"
        else several
        for attribute, several in item.values.items()
    }
    items = {
        attribute: tuple(map(alphabetic, several)) for attribute, several in item.items.items()
    }
    return Item(held, items, item.step)


def first_group(name: str) -> str:
    """The alphabetic group of a name, or all of one that has none."""
    return name.partition("=")[0] or name


def fitting(returns: Sequence[Return], item: Item, wanted: CharacterSet) -> CharacterSet:
    """The set of the answer: the wanted one when every text fits, else Unicode."""
    if wanted and not is_supported(wanted):
        wanted = DEFAULT
    for attribute, text in _texts(returns, item):
        if not fits(text, wanted, attribute.vr):
            return UNICODE
    return wanted


def _texts(returns: Sequence[Return], item: Item) -> Iterator[tuple[Attribute, str]]:
    for returned in returns:
        attribute = returned.attribute
        if attribute.is_sequence:
            for inner in item.items[attribute]:
                yield from _texts(returned.items, inner)
        elif attribute.vr in GOVERNED_VRS:
            for value in item.values[attribute]:
                yield attribute, str(value)


def _dataset(
    returns: Sequence[Return], item: Item, terms: CharacterSet, implicit_vr: bool
) -> Dataset:
    codecs = convert_encodings(list(terms)) if terms else "iso8859"
    dataset = Dataset(parent_encoding=codecs)
    # pydicom's writer takes the elements' bytes as they stand when the data set claims to have been
    # read in what it is written in; else it would decode the texts and encode them by its rules.
    dataset.set_original_encoding(implicit_vr, True, codecs)
    for returned in returns:
        attribute = returned.attribute
        if attribute.is_sequence:
            inner = [
                _dataset(returned.items, one, terms, implicit_vr) for one in item.items[attribute]
            ]
            if attribute is not _STEP:
                # Of an item that holds nothing of what was asked for there is none (C.5).
                inner = [one for one in inner if len(one)]
            if inner or is_due(returned):
                dataset.add(DataElement(attribute.tag, "SQ", DicomSequence(inner)))
            continue
        held = item.values[attribute]
        if held or is_due(returned):
            dataset[attribute.tag] = _element(attribute, held, terms, implicit_vr)
    return dataset


def is_due(returned: Return) -> bool:
    """Whether the attribute stands in the answer even when its value is unknown."""
    return returned.asked or returned.attribute.returned in ("1", "2")


def _element(
    attribute: Attribute, held: tuple[Value, ...], terms: CharacterSet, implicit_vr: bool
) -> RawDataElement:
    """The element in its bytes: text is encoded by our rules, not by pydicom's."""
    encoded = written(attribute, held, terms)
    return RawDataElement(
        Tag(attribute.tag), attribute.vr, len(encoded), encoded, 0, implicit_vr, True
    )


def written(attribute: Attribute, held: Sequence[Value], terms: CharacterSet) -> bytes:
    """The bytes of an attribute's values, padded to an even length."""
    vr = attribute.vr
    if vr == "US":
        encoded = b"".join(int(str(value)).to_bytes(2, "little") for value in held)
    elif vr in GOVERNED_VRS:
        encoded = b"\\".join(encode(str(value), terms, vr) for value in held)
    else:
        encoded = b"\\".join(values.spell(value).encode("ascii") for value in held)
    if len(encoded) % 2:
        encoded += b"\0" if vr == "UI" else b" "
    return encoded
