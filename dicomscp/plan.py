"""The plan of a query: what rows must meet, what is returned of them, what was not understood.

It is made once, before the first row is read, and says which Pending status every answer carries.
Pure: no database, no network.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicomscp import damage, identifier, matching
from dicomscp.identifier import SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET_FROM_UTC, Element
from dicomscp.matching import AnyItem, Condition
from dicomscp.status import IDENTIFIER_DOES_NOT_MATCH, PENDING, PENDING_WARNING, Refusal
from worklist import attributes, character_set
from worklist.attributes import Attribute
from worklist.character_set import CharacterSet

_STEP = attributes.find("ScheduledProcedureStepSequence")
_START_DATE = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStartDate")
_START_TIME = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStartTime")
# What a key's bytes are in these is no text, and of the table's VRs US alone is one of them.
_BINARY_VRS = frozenset(
    {"AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"}
)


@dataclass(frozen=True)
class Return:
    """An attribute to return; of a sequence, also what to return of its items.

    `asked` is False for what comes along with a sequence that was asked for as a whole: then an
    attribute of type 1C, 2C or 3 without a value is left out.
    """

    attribute: Attribute
    asked: bool = True
    items: tuple[Return, ...] = ()


@dataclass(frozen=True)
class QueryPlan:
    """What a request means. `unsupported` are paths of tags that the table does not have."""

    conditions: tuple[Condition, ...]
    returns: tuple[Return, ...]
    unsupported: tuple[tuple[int, ...], ...] = ()
    character_set: CharacterSet = character_set.DEFAULT

    @property
    def pending(self) -> int:
        """0xFF01 when an optional key is not supported for existence, else 0xFF00 (Table K.4-1)."""
        return PENDING_WARNING if self.unsupported else PENDING


def make(elements: tuple[Element, ...]) -> QueryPlan:
    """The plan of a request's elements. Raises Refusal for a malformed key."""
    terms = terms_of(elements, character_set.DEFAULT)
    planner = _Planner()
    conditions, returns = planner.level(elements, attributes.BY_TAG, terms, path=())
    return QueryPlan(conditions, returns, tuple(planner.unsupported), terms)


def everything() -> QueryPlan:
    """The plan that sets no condition and returns every attribute of the table."""
    return QueryPlan((), _whole(attributes.TABLE, asked=True))


def everything_known() -> QueryPlan:
    """Every attribute; without a value those of type 1 and 2 alone."""
    return QueryPlan((), _whole(attributes.TABLE, asked=False))


def _whole(table: tuple[Attribute, ...] | list[Attribute], *, asked: bool) -> tuple[Return, ...]:
    return tuple(
        Return(attribute, asked, _whole(attribute.items, asked=False)) for attribute in table
    )


def terms_of(elements: tuple[Element, ...], inherited: CharacterSet) -> CharacterSet:
    """The Specific Character Set of these elements, which an item has of its own or inherits."""
    for element in elements:
        if element.tag == SPECIFIC_CHARACTER_SET:
            terms = character_set.read(element.value)
            # A length that was damaged makes the keys behind it a part of the value.
            if any(len(term) > 16 or not term.isprintable() for term in terms):
                rule = "Specific Character Set: no code strings"
                raise Refusal(IDENTIFIER_DOES_NOT_MATCH, rule, (element.tag,))
            return terms
    return inherited


class _Planner:
    """Walks a request beside the table."""

    def __init__(self) -> None:
        self.unsupported: list[tuple[int, ...]] = []

    def level(
        self,
        elements: tuple[Element, ...],
        known: dict[int, Attribute],
        terms: CharacterSet,
        *,
        path: tuple[int, ...],
    ) -> tuple[tuple[Condition, ...], tuple[Return, ...]]:
        conditions: list[Condition] = []
        returns: list[Return] = []
        texts: dict[Attribute, str] = {}
        for element in sorted(elements, key=lambda element: element.tag):
            if element.tag == SPECIFIC_CHARACTER_SET or (
                element.tag == TIMEZONE_OFFSET_FROM_UTC and not path
            ):
                # Table K.6-1a: part of the Identifier, never matched, no key of the model.
                continue
            attribute = known.get(element.tag)
            if attribute is None:
                damage.refuse_what_is_none(elements, elements.index(element))
                self.unsupported.append((*path, element.tag))
            elif attribute.is_sequence:
                inner, returned = self._sequence(attribute, element, terms, path)
                conditions.extend(inner)
                returns.append(returned)
            else:
                texts[attribute] = text_of(attribute, element, terms)
                returns.append(Return(attribute))
        conditions.extend(_leaf_conditions(texts))
        return tuple(conditions), tuple(returns)

    def _sequence(
        self,
        attribute: Attribute,
        element: Element,
        terms: CharacterSet,
        path: tuple[int, ...],
    ) -> tuple[tuple[Condition, ...], Return]:
        if element.vr not in ("SQ", "UN") and element.value.strip(b" \0"):
            raise matching.malformed(attribute, "not a sequence")
        items = identifier.items(element)
        if len(items) > 1:
            raise matching.malformed(attribute, "more than one item")
        if not items or not items[0]:
            # C.2.2.2.6: a zero-length sequence or item asks for the whole of it.
            return (), Return(attribute, items=_whole(attribute.items, asked=False))
        item = items[0]
        conditions, returns = self.level(
            item, attribute.item_by_tag, terms_of(item, terms), path=(*path, element.tag)
        )
        condition = (AnyItem(attribute, conditions),) if conditions else ()
        return condition, Return(attribute, items=returns)


def _leaf_conditions(texts: dict[Attribute, str]) -> list[Condition]:
    texts = dict(texts)
    conditions: list[Condition] = []
    if _START_DATE in texts and _START_TIME in texts:
        interval = matching.combined(
            _START_DATE, _START_TIME, dates=texts[_START_DATE], times=texts[_START_TIME]
        )
        if interval:
            conditions.append(interval)
            del texts[_START_DATE], texts[_START_TIME]
    for attribute, text in texts.items():
        condition = matching.condition(attribute, text)
        if condition:
            conditions.append(condition)
    return conditions


def text_of(attribute: Attribute, element: Element, terms: CharacterSet) -> str:
    """The key's text. Raises Refusal when its bytes cannot be read."""
    if element.is_sequence:
        raise matching.malformed(attribute, "a sequence where a value belongs")
    if element.vr in _BINARY_VRS or (attribute.vr == "US" and element.vr == "UN"):
        return _number_text(attribute, element)
    governed = attribute.vr in character_set.GOVERNED_VRS
    try:
        return character_set.decode(
            element.value, terms if governed else character_set.DEFAULT, attribute.vr
        )
    except ValueError:
        raise Refusal(
            IDENTIFIER_DOES_NOT_MATCH,
            f"{attribute.name}: not readable in its character set",
            (attribute.tag,),
        ) from None


def _number_text(attribute: Attribute, element: Element) -> str:
    """The number that stands in a US's bytes, which are never those of a text, such as of "*"."""
    value = element.value
    if not value:
        return ""
    if attribute.vr != "US" or element.vr not in ("US", "UN"):
        raise matching.malformed(attribute, f"its VR in the request is {element.vr}")
    if len(value) != 2:
        raise matching.malformed(attribute, "more than one value")
    return str(int.from_bytes(value, "little"))
