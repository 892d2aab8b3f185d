"""Queries of the journal, understood again: their plans and keys, what a station asked last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from pydicom.datadict import dictionary_description, keyword_for_tag
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import identifier, plan
from dicomscp.identifier import SPECIFIC_CHARACTER_SET, Element
from dicomscp.matching import AnyItem, Condition, Interval
from dicomscp.models import Query
from dicomscp.plan import QueryPlan
from dicomscp.status import Refusal
from worklist import attributes, character_set
from worklist.attributes import Attribute
from worklist.character_set import CharacterSet
from worklist.models import Station


def elements(query: Query) -> tuple[Element, ...]:
    """What was asked, element by element. Raises Refusal as the SCP did."""
    is_implicit = query.transfer_syntax == ImplicitVRLittleEndian
    return identifier.read(bytes(query.identifier), implicit_vr=is_implicit)


def plan_of(query: Query) -> QueryPlan:
    """The plan that the SCP made of it. Raises Refusal as the SCP did."""
    return plan.make(elements(query))


def titles_of(station: Station) -> Sequence[str]:
    """Every AE title under which the station may call."""
    return [station.ae_title, *(title.ae_title for title in station.titles.all())]


def queries_of(station: Station) -> QuerySet[Query]:
    """What a station asked, the last query first."""
    return Query.objects.filter(calling__in=titles_of(station)).order_by("-at", "-pk")


def last_of(station: Station) -> Query | None:
    """The station's last query that was understood."""
    return queries_of(station).filter(status=0).first()


# --- key by key -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """One element of a request: where it stands, what it says, and what it was taken for.

    `text` is None of a sequence. `words` are those of its condition, "" when it only asks for the
    attribute. `attribute` is None when the table does not have it.
    """

    depth: int
    tag: int
    vr: str
    text: str | None
    words: str
    attribute: Attribute | None

    @property
    def name(self) -> str:
        """What the standard calls it; "" of a private or unknown element."""
        try:
            return dictionary_description(self.tag)
        except KeyError:
            return ""

    @property
    def keyword(self) -> str:
        return keyword_for_tag(self.tag)

    @property
    def tag_text(self) -> str:
        return f"({self.tag >> 16:04X},{self.tag & 0xFFFF:04X})"

    @property
    def is_character_set(self) -> bool:
        """Whether it tells how to read the others: it is no key."""
        return self.tag == SPECIFIC_CHARACTER_SET


def keys_of(query: Query) -> tuple[Key, ...]:
    """The elements of a request, in their order; () when its bytes cannot be read."""
    try:
        asked = elements(query)
    except Refusal:
        return ()
    try:
        told = dict(_told(plan.make(asked).conditions))
    except Refusal:
        # A key is malformed: the others are shown all the same.
        told = {}
    return tuple(_keys(asked, attributes.BY_TAG, character_set.DEFAULT, told, depth=0))


def _told(conditions: Sequence[Condition]) -> Iterator[tuple[Attribute, str]]:
    for condition in conditions:
        if isinstance(condition, AnyItem):
            yield from _told(condition.conditions)
        elif isinstance(condition, Interval):
            yield condition.date, condition.words
            yield condition.time, condition.words
        else:
            yield condition.attribute, condition.words


def _keys(
    asked: Sequence[Element],
    known: Mapping[int, Attribute],
    terms: CharacterSet,
    told: Mapping[Attribute, str],
    *,
    depth: int,
) -> Iterator[Key]:
    for element in asked:
        if element.tag == SPECIFIC_CHARACTER_SET:
            terms = character_set.read(element.value)
    for element in asked:
        attribute = known.get(element.tag)
        words = told.get(attribute, "") if attribute else ""
        text = None if element.is_sequence else _text(element, attribute, terms)
        yield Key(depth, element.tag, element.vr, text, words, attribute)
        for item in element.items:
            inner = attribute.item_by_tag if attribute else {}
            yield from _keys(item, inner, terms, told, depth=depth + 1)


def _text(element: Element, attribute: Attribute | None, terms: CharacterSet) -> str:
    """The value as text; bytes that are none as numbers."""
    vr = attribute.vr if attribute else element.vr
    if vr == "US" and len(element.value) == 2:
        return str(int.from_bytes(element.value, "little"))
    governed = vr in character_set.GOVERNED_VRS
    try:
        text = character_set.decode(element.value, terms if governed else (), vr)
    except ValueError:
        return element.value.hex(" ")
    return text.rstrip(" \0")
