"""A request, key by key, beside what one step holds: what each asks for, and whether it is met.

The conditions are those of the plan that the SCP makes, each asked by itself.
Pure: no database, no network.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicomscp import identifier, plan
from dicomscp.explain import nearness
from dicomscp.explain.nearness import FAR, Nearness
from dicomscp.identifier import SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET_FROM_UTC, Element
from dicomscp.matching import AnyItem, Condition, Either, Item
from dicomscp.plan import QueryPlan
from dicomscp.status import Refusal
from worklist import attributes, character_set, values
from worklist.attributes import Attribute
from worklist.character_set import CharacterSet

STEP = attributes.find("ScheduledProcedureStepSequence")
TITLE = attributes.find(STEP.keyword, "ScheduledStationAETitle")
MODALITY = attributes.find(STEP.keyword, "Modality")
STATUS = attributes.find(STEP.keyword, "ScheduledProcedureStepStatus")
DATE = attributes.find(STEP.keyword, "ScheduledProcedureStepStartDate")
TIME = attributes.find(STEP.keyword, "ScheduledProcedureStepStartTime")


class Kind(enum.StrEnum):
    """What a key is to the answer."""

    # It asks for a value.
    CONDITION = "condition"
    # It is empty: any value will do, and is returned.
    UNIVERSAL = "universal"
    # It belongs elsewhere in the Identifier: it asks for nothing where it stands.
    MISPLACED = "misplaced"
    # It asks for a value, and the station's rules say not to mind it.
    IGNORED = "ignored"
    # Nothing is known of it: it is left out of the answer.
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class KeyVerdict:
    """One key, or two that make one interval: what is asked, what is held, whether it is met.

    `tags` is the place in the request, outermost first; `attributes` are () when unknown.
    `because` says why something else than what was asked for counts, too.
    """

    kind: Kind
    tags: tuple[int, ...]
    attributes: tuple[Attribute, ...]
    asked: str
    held: tuple[str, ...] = ()
    matches: bool = True
    near: Nearness = FAR
    condition: Condition | None = None

    @property
    def name(self) -> str:
        if not self.attributes:
            return " > ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in self.tags)
        return " + ".join(attribute.name for attribute in self.attributes)

    @property
    def short_name(self) -> str:
        """The name without what stands in most of them."""
        return self.name.replace("Scheduled Procedure Step ", "SPS ")

    @property
    def because(self) -> str:
        return self.condition.because if isinstance(self.condition, Either) else ""


def of(
    elements: Sequence[Element], asked: QueryPlan, widened: QueryPlan, item: Item
) -> tuple[KeyVerdict, ...]:
    """Each key of a request with its verdict on this step.

    `asked` is the plan of the elements, `widened` the same as it counts for the station.
    """
    texts = texts_of(elements)
    found = list(_conditions(widened.conditions, item, texts))
    told = {attribute for verdict in found for attribute in verdict.attributes}
    without = set(_attributes(asked.conditions)) - told
    found += _empty(texts, told, without)
    found += _unsupported(elements, asked, told)
    order = {tags: number for number, tags in enumerate(_places(elements, ()))}
    return tuple(sorted(found, key=lambda verdict: order.get(verdict.tags, len(order))))


def failing(widened: QueryPlan, item: Item, texts: Texts) -> Iterator[KeyVerdict]:
    """The keys that this step does not meet, in the plan's order."""
    verdicts = _conditions(widened.conditions, item, texts)
    return (verdict for verdict in verdicts if not verdict.matches)


def misplaced(verdicts: Sequence[KeyVerdict]) -> tuple[KeyVerdict, ...]:
    """The keys that ask for a value where they ask for nothing, and stand nowhere else."""
    there = {one for each in verdicts if each.kind is Kind.UNIVERSAL for one in each.attributes}
    return tuple(
        each
        for each in verdicts
        if each.kind is Kind.MISPLACED and each.asked and not there & set(each.attributes)
    )


# --- what is asked --------------------------------------------------------------------------------

Texts = dict[Attribute, tuple[tuple[int, ...], str]]
"""The place and the text of each key that the table knows; of a whole sequence the text is ""."""


def texts_of(elements: Sequence[Element]) -> Texts:
    """The keys of a request as they were sent."""
    return dict(_texts(elements, (), character_set.DEFAULT))


def _texts(
    elements: Sequence[Element], path: tuple[int, ...], inherited: CharacterSet
) -> Iterator[tuple[Attribute, tuple[tuple[int, ...], str]]]:
    """The keys of the table: place and text of each; of a sequence without keys, "" as its text."""
    elements = tuple(elements)
    terms = plan.terms_of(elements, inherited)
    known = _known(path)
    for element in elements:
        attribute = known.get(element.tag)
        here = (*path, element.tag)
        if attribute is None:
            continue
        if not attribute.is_sequence:
            yield attribute, (here, values.strip(_text(attribute, element, terms), attribute.vr))
            continue
        inner = identifier.items(element)
        if inner and inner[0]:
            yield from _texts(inner[0], here, terms)
        else:
            yield attribute, (here, "")


def _known(path: tuple[int, ...]) -> dict[int, Attribute]:
    known = attributes.BY_TAG
    for tag in path:
        known = known[tag].item_by_tag
    return known


def _text(attribute: Attribute, element: Element, terms: CharacterSet) -> str:
    try:
        return plan.text_of(attribute, element, terms)
    except Refusal:
        return element.value.decode("ascii", "backslashreplace")


def _places(elements: Sequence[Element], path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for element in sorted(elements, key=lambda each: each.tag):
        here = (*path, element.tag)
        yield here
        for item in element.items:
            yield from _places(item, here)


# --- verdicts -------------------------------------------------------------------------------------


def _conditions(conditions: Sequence[Condition], item: Item, texts: Texts) -> Iterator[KeyVerdict]:
    for condition in conditions:
        if isinstance(condition, AnyItem) and condition.attribute is STEP:
            # There is exactly one item of it: its conditions can be asked one by one.
            yield from _conditions(condition.conditions, item.items[STEP][0], texts)
        elif isinstance(condition, AnyItem):
            yield _of_sequence(condition, item, texts)
        else:
            yield _of_leaf(condition, item, texts)


def _of_leaf(condition: Condition, item: Item, texts: Texts) -> KeyVerdict:
    about = condition.attributes
    held = tuple(item.values[attribute] for attribute in about)
    matches = condition.matches(item)
    return KeyVerdict(
        Kind.CONDITION,
        texts[about[0]][0],
        about,
        " + ".join(texts[attribute][1] for attribute in about),
        tuple(" + ".join(map(values.spell, each)) for each in zip(*held, strict=False)),
        matches,
        FAR if matches else nearness.of(condition, held[0]),
        condition,
    )


def _of_sequence(condition: AnyItem, item: Item, texts: Texts) -> KeyVerdict:
    """One verdict for all keys in a sequence of codes: one item has to meet them together."""
    about = tuple(inner for each in condition.conditions for inner in each.attributes)
    matches = condition.matches(item)
    items = item.items[condition.attribute]
    held = tuple(
        " + ".join(values.spell(value) for each in about for value in inner.values[each])
        for inner in items
    )
    return KeyVerdict(
        Kind.CONDITION,
        texts[about[0]][0],
        (condition.attribute, *about),
        " + ".join(texts[attribute][1] for attribute in about),
        held,
        matches,
        FAR if matches or items else Nearness((nearness.Near.EMPTY,)),
        condition,
    )


def _attributes(conditions: Sequence[Condition]) -> Iterator[Attribute]:
    """What conditions are on, in sequences, too."""
    for condition in conditions:
        yield from condition.attributes
        if isinstance(condition, AnyItem):
            yield from _attributes(condition.conditions)


def _empty(texts: Texts, told: set[Attribute], without: set[Attribute]) -> Iterator[KeyVerdict]:
    """The keys that set no condition: those that are empty, and those that are ignored."""
    for attribute, (place, text) in texts.items():
        if attribute not in told:
            kind = Kind.IGNORED if attribute in without else Kind.UNIVERSAL
            yield KeyVerdict(kind, place, (attribute,), text)


def _unsupported(
    elements: Sequence[Element], asked: QueryPlan, told: set[Attribute]
) -> Iterator[KeyVerdict]:
    for path in asked.unsupported:
        element = _element(elements, path)
        belongs = _elsewhere(path)
        text = element.value.decode("utf-8", "backslashreplace").strip(" \0")
        # One that stands at its right place as well does no harm.
        is_lost = belongs is not None and belongs not in told
        kind = Kind.MISPLACED if is_lost else Kind.UNSUPPORTED
        yield KeyVerdict(kind, path, (belongs,) if belongs else (), text)


def _element(elements: Sequence[Element], path: tuple[int, ...]) -> Element:
    found = next(element for element in elements if element.tag == path[0])
    return _element(identifier.items(found)[0], path[1:]) if path[1:] else found


def _elsewhere(path: tuple[int, ...]) -> Attribute | None:
    """The attribute that this tag is at another place of the Identifier."""
    tag = path[-1]
    if tag in (SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET_FROM_UTC):
        return None
    if path[:-1] == ():
        return STEP.item_by_tag.get(tag)
    return attributes.BY_TAG.get(tag) if path[:-1] == (STEP.tag,) else None
