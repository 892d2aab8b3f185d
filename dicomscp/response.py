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

from dicomscp.character_set import (
    DEFAULT,
    GOVERNED_VRS,
    UNICODE,
    CharacterSet,
    encode,
    fits,
    is_supported,
)
from dicomscp.matching import Item
from dicomscp.plan import QueryPlan, Return
from worklist import values
from worklist.attributes import Attribute
from worklist.values import Value


def identifier(
    plan: QueryPlan, item: Item, *, character_set: CharacterSet | None = None
) -> Dataset:
    """The Identifier that answers the plan for one row.

    Text stands as bytes of the answer's set: the given one, else the request's, wherever every
    character fits; else Unicode. Never a "?" for a character (B3.8).
    """
    wanted = plan.character_set if character_set is None else character_set
    terms = fitting(plan.returns, item, wanted)
    dataset = _dataset(plan.returns, item, terms)
    if terms:
        dataset.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]
    elif not len(dataset):
        # C.7: an Identifier is never empty.
        dataset.SpecificCharacterSet = "ISO_IR 6"
    return dataset


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


def _dataset(returns: Sequence[Return], item: Item, terms: CharacterSet) -> Dataset:
    dataset = Dataset()
    for returned in returns:
        attribute = returned.attribute
        if attribute.is_sequence:
            inner = [_dataset(returned.items, one, terms) for one in item.items[attribute]]
            if inner or _is_due(returned):
                dataset.add(DataElement(attribute.tag, "SQ", DicomSequence(inner)))
            continue
        held = item.values[attribute]
        if held or _is_due(returned):
            dataset[attribute.tag] = _element(attribute, held, terms)
    codecs = convert_encodings(list(terms)) if terms else "iso8859"
    dataset.set_original_encoding(False, True, codecs)
    return dataset


def _is_due(returned: Return) -> bool:
    """Whether the attribute stands in the answer even when its value is unknown."""
    return returned.asked or returned.attribute.returned in ("1", "2")


def _element(attribute: Attribute, held: tuple[Value, ...], terms: CharacterSet) -> RawDataElement:
    """The element in its bytes: text is encoded by our rules, not by pydicom's."""
    vr = attribute.vr
    if vr == "US":
        encoded = b"".join(int(str(value)).to_bytes(2, "little") for value in held)
    elif vr in GOVERNED_VRS:
        encoded = b"\\".join(encode(str(value), terms, vr) for value in held)
    else:
        encoded = b"\\".join(values.spell(value).encode("ascii") for value in held)
    if len(encoded) % 2:
        encoded += b"\0" if vr == "UI" else b" "
    return RawDataElement(Tag(attribute.tag), vr, len(encoded), encoded, 0, False, True)
