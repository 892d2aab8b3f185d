"""What a scanner may stumble over in an answer that it is sent: told before it does.

Pure: no database, no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dicomscp.matching import Item
from dicomscp.plan import QueryPlan, Return
from worklist import values
from worklist.attributes import Attribute
from worklist.character_set import GOVERNED_VRS, CharacterSet, fits


class Kind(StrEnum):
    """What is the matter with a value."""

    # The scanner's character set lacks a letter of it: the whole answer is sent in Unicode.
    LETTER = "letter"
    # It is longer than its VR allows.
    LONG = "long"
    # It is of type 1, and there is none.
    EMPTY = "empty"


@dataclass(frozen=True)
class Doubt:
    """An attribute of an answer, and what is the matter with it."""

    attribute: Attribute
    kind: Kind


def of(plan: QueryPlan, item: Item, *, wanted: CharacterSet) -> tuple[Doubt, ...]:
    """The doubts about the answer to a plan for one row, where this character set is wanted."""
    return tuple(dict.fromkeys(_doubts(plan.returns, item, wanted)))


def _doubts(returns: Sequence[Return], item: Item, wanted: CharacterSet) -> Iterator[Doubt]:
    for returned in returns:
        attribute = returned.attribute
        if attribute.is_sequence:
            for inner in item.items[attribute]:
                yield from _doubts(returned.items, inner, wanted)
            continue
        held = item.values[attribute]
        if not held and attribute.returned == "1":
            yield Doubt(attribute, Kind.EMPTY)
        for text in map(str, held):
            if attribute.vr in GOVERNED_VRS and not fits(text, wanted, attribute.vr):
                yield Doubt(attribute, Kind.LETTER)
            if _is_long(attribute, text):
                yield Doubt(attribute, Kind.LONG)


def _is_long(attribute: Attribute, text: str) -> bool:
    limit = values.MAX_LENGTH.get(attribute.vr)
    if limit is None:
        return False
    groups = text.split("=") if attribute.vr == "PN" else [text]
    return any(len(group) > limit for group in groups)
