"""What of a step that was sent makes consoles drop it without a word, and what cannot be sent well.

Pure: no database, no network.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicomscp import doubts, response
from dicomscp.explain.keys import DATE, MODALITY, STEP, TITLE
from dicomscp.matching import Item
from dicomscp.plan import QueryPlan, Return
from dicomscp.scope import Rules
from worklist import attributes, character_set, values
from worklist.attributes import Attribute
from worklist.character_set import CharacterSet

_NAME = attributes.find("PatientName")
_ID = attributes.find("PatientID")
_ACCESSION = attributes.find("AccessionNumber")
_BIRTH_DATE = attributes.find("PatientBirthDate")


@dataclass(frozen=True)
class Sendable:
    """How a step goes out under a station's rules.

    `wanted` is the set that was asked for or is set, `sent_in` the one that every text fits;
    `unfit` has letters that the wanted one lacks; `missing` is of type 1 and empty; `too_long`
    longer than its VR allows.
    """

    wanted: CharacterSet
    is_declared: bool
    sent_in: CharacterSet
    unfit: tuple[Attribute, ...]
    missing: tuple[Attribute, ...]
    too_long: tuple[Attribute, ...]

    @property
    def fits(self) -> bool:
        """Whether it goes out in the set that the scanner is known to read."""
        return not self.is_declared or not self.unfit


def sendable(query: QueryPlan, item: Item, rules: Rules) -> Sendable:
    """How this step goes out as an answer to this query."""
    if rules.alphabetic_only:
        item = response.alphabetic(item)
    wanted = query.character_set if rules.character_set is None else rules.character_set
    found = doubts.of(query, item, wanted=wanted)

    def of(kind: doubts.Kind) -> tuple[Attribute, ...]:
        return tuple(each.attribute for each in found if each.kind is kind)

    return Sendable(
        wanted,
        is_declared=rules.character_set is not None or bool(query.character_set),
        sent_in=response.fitting(query.returns, item, wanted),
        unfit=of(doubts.Kind.LETTER),
        missing=of(doubts.Kind.EMPTY),
        too_long=of(doubts.Kind.LONG),
    )


# --- what consoles drop ---------------------------------------------------------------------------


class Suspect(enum.StrEnum):
    """Something for which consoles are known to leave an entry out of their list."""

    # The request has no item of the step: the answer says neither when nor what.
    NO_STEP_ASKED = "no-step-asked"
    NOT_ITS_TITLE = "not-its-title"
    NO_TITLE = "no-title"
    LONG_TITLE = "long-title"
    NO_NAME = "no-name"
    NO_CARETS = "no-carets"
    SEVERAL_GROUPS = "several-groups"
    UNICODE = "unicode"
    NO_ID = "no-id"
    ODD_ID = "odd-id"
    NO_ACCESSION = "no-accession"
    LONG_TEXT = "long-text"
    OTHER_MODALITY = "other-modality"
    NO_BIRTH_DATE = "no-birth-date"
    ODD_DATE = "odd-date"


# What is a year that a console's date field takes.
_YEARS = range(1850, 2200)


def suspects(
    query: QueryPlan, item: Item, rules: Rules, *, titles: Sequence[str] = ()
) -> tuple[Suspect, ...]:
    """What of this answer the scanner may have stumbled over, the likeliest first.

    `titles` are those under which the scanner calls.
    """
    sent = sendable(query, item, rules)
    returned = dict(_held(query.returns, item))
    step = item.items[STEP][0].values
    return tuple(_suspects(sent, returned, step.get(MODALITY, ()), rules, titles))


def _suspects(
    sent: Sendable,
    returned: dict[Attribute, tuple[str, ...]],
    modality: Sequence[object],
    rules: Rules,
    titles: Sequence[str],
) -> Iterator[Suspect]:
    if not any(attribute.parent is STEP for attribute in returned):
        yield Suspect.NO_STEP_ASKED
    named = returned.get(TITLE)
    if named is not None:
        if not named:
            yield Suspect.NO_TITLE
        elif titles and not set(titles) & set(named):
            yield Suspect.NOT_ITS_TITLE
        if any(len(title) > values.MAX_LENGTH["AE"] for title in named):
            yield Suspect.LONG_TITLE
    if rules.modality and modality and rules.modality not in modality:
        yield Suspect.OTHER_MODALITY
    name = "".join(returned.get(_NAME, ()))
    if _NAME in returned:
        first = name.split("=")[0]
        if not first.strip("^ "):
            yield Suspect.NO_NAME
        elif "^" not in first:
            yield Suspect.NO_CARETS
        if "=" in name.rstrip("="):
            yield Suspect.SEVERAL_GROUPS
    if not sent.fits or (sent.sent_in == character_set.UNICODE and sent.wanted == ()):
        yield Suspect.UNICODE
    patient_id = "".join(returned.get(_ID, ()))
    if _ID in returned and not patient_id.strip():
        yield Suspect.NO_ID
    elif any(one in patient_id for one in "\\*? "):
        yield Suspect.ODD_ID
    if _ACCESSION in returned and not returned[_ACCESSION]:
        yield Suspect.NO_ACCESSION
    if sent.too_long:
        yield Suspect.LONG_TEXT
    if _BIRTH_DATE in returned and not returned[_BIRTH_DATE]:
        yield Suspect.NO_BIRTH_DATE
    if any(_is_odd(date) for each in (DATE, _BIRTH_DATE) for date in returned.get(each, ())):
        yield Suspect.ODD_DATE


def _held(returns: Sequence[Return], item: Item) -> Iterator[tuple[Attribute, tuple[str, ...]]]:
    """Each attribute that was sent outside of codes, and its values as they stand on the wire."""
    for returned in returns:
        attribute = returned.attribute
        if not attribute.is_sequence:
            yield attribute, tuple(map(values.spell, item.values[attribute]))
        elif attribute is STEP:
            yield from _held(returned.items, item.items[STEP][0])


def _is_odd(date: str) -> bool:
    return int(date[:4]) not in _YEARS
