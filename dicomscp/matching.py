"""What a matching key means (PS3.4 C.2.2.2): from its text to a condition on a row, in words too.

A condition decides by itself, in Python, whether a row matches; find.py only narrows with SQL what
is read. Pure: no database, no network.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import product

from dicomscp.status import IDENTIFIER_DOES_NOT_MATCH, Refusal
from worklist import values
from worklist.attributes import Attribute
from worklist.values import Value


@dataclass(frozen=True)
class Item:
    """A row, or an item of one of its sequences: what each attribute holds; () is unknown."""

    values: Mapping[Attribute, tuple[Value, ...]]
    items: Mapping[Attribute, tuple[Item, ...]]
    # The id of the step whose row this is; None of an item within.
    step: int | None = None


class _OfOne:
    """A condition on one attribute."""

    attribute: Attribute

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What of a row, or of its item, the condition looks at."""
        return (self.attribute,)


@dataclass(frozen=True)
class OneOf(_OfOne):
    """Single value matching (C.2.2.2.1), a list of UID (C.2.2.2.2), or several values as OR."""

    attribute: Attribute
    wanted: tuple[Value, ...]

    def matches(self, item: Item) -> bool:
        return any(value in self.wanted for value in item.values[self.attribute])

    @property
    def words(self) -> str:
        return f"{self.attribute.name} is {' or '.join(map(values.spell, self.wanted))}"


@dataclass(frozen=True)
class Like(_OfOne):
    """Wildcard matching (C.2.2.2.4): one of these patterns, in which "*" and "?" are wildcards."""

    attribute: Attribute
    patterns: tuple[str, ...]

    def matches(self, item: Item) -> bool:
        return any(
            is_like(str(value), pattern)
            for value in item.values[self.attribute]
            for pattern in self.patterns
        )

    @property
    def words(self) -> str:
        return f"{self.attribute.name} is like {' or '.join(self.patterns)}"


@dataclass(frozen=True)
class NameLike(_OfOne):
    """A person name, compared in its folded form (C.2.2.2.1.1), with or without wildcards.

    `groups` has one pattern that any component group may match, or one a group, "" for any.
    """

    attribute: Attribute
    groups: tuple[str, ...]

    def matches(self, item: Item) -> bool:
        return any(self._matches(str(name)) for name in item.values[self.attribute])

    def _matches(self, name: str) -> bool:
        stored = values.fold_name(name).split("=")
        if len(self.groups) == 1:
            return any(group != "" and _is_name_like(group, self.groups[0]) for group in stored)
        stored += [""] * (len(self.groups) - len(stored))
        return all(
            pattern == "" or (group != "" and _is_name_like(group, pattern))
            for pattern, group in zip(self.groups, stored, strict=False)
        )

    @property
    def words(self) -> str:
        return f"{self.attribute.name} is like {'='.join(self.groups)}"


@dataclass(frozen=True)
class NumberIs(_OfOne):
    """A DS, compared as a number (CP-2305)."""

    attribute: Attribute
    number: Decimal

    def matches(self, item: Item) -> bool:
        return any(_is_number(str(value), self.number) for value in item.values[self.attribute])

    @property
    def words(self) -> str:
        return f"{self.attribute.name} is {self.number:f}"


def _is_number(text: str, number: Decimal) -> bool:
    try:
        return values.parse_decimal(text) == number
    except ValueError:
        # What another program wrote into the column is no reason to fail a query.
        return False


@dataclass(frozen=True)
class Between(_OfOne):
    """Range matching (C.2.2.2.5) of a date or a time, ends included; None is open."""

    attribute: Attribute
    low: dt.date | dt.time | None
    high: dt.date | dt.time | None

    def matches(self, item: Item) -> bool:
        return any(
            (self.low is None or self.low <= value)  # type: ignore[operator]  # of one VR
            and (self.high is None or value <= self.high)  # type: ignore[operator]
            for value in item.values[self.attribute]
        )

    @property
    def words(self) -> str:
        return f"{self.attribute.name} is {_range_in_words(self.low, self.high)}"


@dataclass(frozen=True)
class Interval:
    """Start date and time as one moment, when both keys are ranges (K.6.1.2.2, C.2.2.2.5.1)."""

    date: Attribute
    time: Attribute
    low: dt.datetime | None
    high: dt.datetime | None

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What of a row, or of its item, the condition looks at."""
        return (self.date, self.time)

    def matches(self, item: Item) -> bool:
        return any(
            (self.low is None or self.low <= moment) and (self.high is None or moment <= self.high)
            for day in item.values[self.date]
            for time in item.values[self.time]
            for moment in (dt.datetime.combine(day, time),)  # type: ignore[arg-type]
        )

    @property
    def words(self) -> str:
        return f"{self.date.name} and Time are {_range_in_words(self.low, self.high)}"


@dataclass(frozen=True)
class AnyItem(_OfOne):
    """Sequence matching (C.2.2.2.6): one item of the sequence meets all the conditions together."""

    attribute: Attribute
    conditions: tuple[Condition, ...]

    def matches(self, item: Item) -> bool:
        return any(
            all(condition.matches(inner) for condition in self.conditions)
            for inner in item.items[self.attribute]
        )

    @property
    def words(self) -> str:
        inner = " and ".join(condition.words for condition in self.conditions)
        return f"{self.attribute.name} has an item where {inner}"


@dataclass(frozen=True)
class Unknown(_OfOne):
    """No value is held, of what stands in rows of its own. No key asks for that: a rule does."""

    attribute: Attribute

    def matches(self, item: Item) -> bool:
        return not item.values[self.attribute]

    @property
    def words(self) -> str:
        return f"{self.attribute.name} is unknown"


@dataclass(frozen=True)
class Either:
    """One of several conditions on one attribute, because a station's rules say so.

    SQL decides each of them: none may be on a name, or on several values in one column.
    """

    conditions: tuple[OneOf | Like | Unknown, ...]
    because: str = ""

    @property
    def attribute(self) -> Attribute:
        return self.conditions[0].attribute

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What of a row, or of its item, the condition looks at."""
        return (self.attribute,)

    def matches(self, item: Item) -> bool:
        return any(condition.matches(item) for condition in self.conditions)

    @property
    def words(self) -> str:
        either = " or ".join(condition.words for condition in self.conditions)
        return f"{either} ({self.because})" if self.because else either


Condition = OneOf | Like | NameLike | NumberIs | Between | Interval | AnyItem | Unknown | Either


def _range_in_words(low: object, high: object) -> str:
    if low is None:
        return f"up to {high}"
    return f"from {low}" if high is None else f"from {low} to {high}"


def is_like(text: str, pattern: str) -> bool:
    """Whether the whole text fits: "*" is any run of characters, "?" is one (C.2.2.2.4).

    No expression is made of a key: what one of "*?*?*?" costs a regular expression stops a server.
    """
    at = wanted = 0
    # Where the last "*" stands, and where the text goes on behind its run.
    star, behind = -1, 0
    while at < len(text):
        # "*" first: in a text it is a character like any other.
        if wanted < len(pattern) and pattern[wanted] == "*":
            star, behind = wanted, at
            wanted += 1
        elif wanted < len(pattern) and pattern[wanted] in ("?", text[at]):
            at += 1
            wanted += 1
        elif star >= 0:
            # Only the last "*" needs to take more: what stands before it has found its place.
            behind += 1
            at, wanted = behind, star + 1
        else:
            return False
    return pattern[wanted:].strip("*") == ""


@lru_cache(maxsize=1024)
def spellings(pattern: str) -> tuple[str, ...]:
    """A folded name pattern as it stands and with each of its first three "ss" and "ß" as either.

    A console in capitals, or without the letter, has no other way to ask for Weiß than WEISS.
    """
    texts = re.split("(ss|ß)", pattern, maxsplit=3)
    between, sharp = texts[::2], ("ss", "ß")
    if len(between) == 1:
        return (pattern,)
    made = (
        "".join(text + s for text, s in zip(between, (*choice, ""), strict=True))
        for choice in product(sharp, repeat=len(between) - 1)
    )
    return tuple(made)


def _is_name_like(group: str, pattern: str) -> bool:
    return any(is_like(group, spelling) for spelling in spellings(pattern))


# --- from a key's text to its condition -----------------------------------------------------------

# Several values mean OR in these two: a modality that sends CT\PT means both (B.19).
_OR_KEYWORDS = ("Modality", "ScheduledStationAETitle")
_WILDCARDS = frozenset("*?")
# A console asks for a handful; so many a database takes in one statement.
MAX_VALUES = 256
# PS3.5 Table 6.2-1: a backslash is a character of these like any other.
_SINGLE_VALUE_VRS = ("LT", "ST", "UR", "UT")


def condition(attribute: Attribute, text: str) -> Condition | None:
    """The condition that a key's text sets, None when it is universal (C.2.2.2.3).

    Raises Refusal (0xA900, Offending Element) for a key that is malformed: it never widens.
    """
    vr = attribute.vr
    text = values.strip(text, vr)
    if text in ("", "*"):
        return None
    if "\\" in text and vr not in _SINGLE_VALUE_VRS:
        return _several(attribute, text)
    if vr in ("DA", "TM"):
        return _moment(attribute, text)
    _check(attribute, text)
    if vr == "US":
        return OneOf(attribute, (_whole_number(attribute, text),))
    if vr == "DS":
        return NumberIs(attribute, _number(attribute, text))
    if vr == "UI":
        return OneOf(attribute, (_uid(attribute, text),))
    if vr == "PN":
        groups = _groups(text)
        return NameLike(attribute, groups) if any(groups) else None
    if _WILDCARDS & set(text):
        return Like(attribute, (text,))
    return OneOf(attribute, (text,))


def _groups(name: str) -> tuple[str, ...]:
    """The patterns of a name's component groups, "" for one that is universal."""
    groups = values.fold_name(name).split("=")
    if len(groups) == 1:
        return ("",) if groups == ["*"] else tuple(groups)
    return tuple(group if group.strip("*") else "" for group in groups)


def _several(attribute: Attribute, text: str) -> Condition | None:
    parts = (values.strip(one, attribute.vr) for one in text.split("\\"))
    wanted = tuple(part for part in parts if part)
    if len(wanted) > MAX_VALUES:
        raise malformed(attribute, f"more than {MAX_VALUES} values")
    for one in wanted:
        _check(attribute, one)
    if not wanted:
        raise malformed(attribute, "not a value")
    if attribute.vr == "UI":
        return OneOf(attribute, tuple(_uid(attribute, one) for one in wanted))
    if attribute.keyword not in _OR_KEYWORDS:
        raise malformed(attribute, "more than one value")
    if "*" in wanted:
        return None
    if any(_WILDCARDS & set(one) for one in wanted):
        return Like(attribute, wanted)
    return OneOf(attribute, wanted)


def _check(attribute: Attribute, text: str) -> None:
    """Refuse a text that no value of this attribute can be like: it is damaged or a mistake."""
    vr = attribute.vr
    if values.has_control(text, vr):
        raise malformed(attribute, "a control character")
    limit = values.MAX_LENGTH.get(vr)
    if limit is None:
        return
    parts = values.fold_name(text).split("=") if vr == "PN" else [text]
    if len(parts) > 3:
        raise malformed(attribute, "more than 3 component groups")
    # A value of full length may have a "*" before and behind it.
    if any(len(one) - one.startswith("*") - one.endswith("*") > limit for one in parts):
        raise malformed(attribute, f"more than {limit} characters")


def malformed(attribute: Attribute, rule: str) -> Refusal:
    """The refusal of a key: attribute and rule in Error Comment, the tags in Offending Element.

    The offending value stays out of the comment: it may be of a patient, and consoles log it.
    """
    tag = attribute.tag
    return Refusal(IDENTIFIER_DOES_NOT_MATCH, f"{_short(attribute.name)}: {rule}", (tag,))


def _short(name: str) -> str:
    return name.replace("Scheduled Procedure Step", "SPS").replace("Sequence", "Seq.")


def _number(attribute: Attribute, text: str) -> Decimal:
    try:
        return values.parse_decimal(text)
    except ValueError:
        raise malformed(attribute, "not a number") from None


def _whole_number(attribute: Attribute, text: str) -> Value:
    try:
        return values.parse(text, "US")
    except ValueError:
        raise malformed(attribute, "not a whole number from 0 to 65535") from None


def _uid(attribute: Attribute, text: str) -> str:
    try:
        values.check_text(text, "UI")
    except ValueError:
        raise malformed(attribute, "not a UID or list of UIDs") from None
    return text


def _moment(attribute: Attribute, text: str) -> Condition:
    if "-" not in text:
        return OneOf(attribute, (_bound(attribute, text),))
    between = _between(attribute, text)
    if between.low is not None and between.high is not None and between.low > between.high:  # type: ignore[operator]
        raise malformed(attribute, "a range that runs backwards")
    return between


def _between(attribute: Attribute, text: str) -> Between:
    """The range of this text, which may yet run backwards."""
    parts = [values.strip(part, attribute.vr) for part in text.split("-")]
    if len(parts) != 2 or not any(parts):
        raise malformed(attribute, f"not a {_kind(attribute)} or {_kind(attribute)} range")
    low, high = parts
    return Between(
        attribute,
        _bound(attribute, low) if low else None,
        _bound(attribute, high, latest=True) if high else None,
    )


def _bound(attribute: Attribute, text: str, *, latest: bool = False) -> dt.date | dt.time:
    try:
        if attribute.vr == "DA":
            return values.parse_date(text)
        return values.parse_time(text, latest=latest)
    except ValueError:
        rule = f"not a {_kind(attribute)} or {_kind(attribute)} range"
        raise malformed(attribute, rule) from None


def _kind(attribute: Attribute) -> str:
    return "date" if attribute.vr == "DA" else "time"


def combined(date: Attribute, time: Attribute, *, dates: str, times: str) -> Interval | None:
    """Start date and time as one interval, when both texts are ranges; None when they are not.

    5 to 7 July, 1000 to 1800, is from 5 July 10:00 to 7 July 18:00. An open end of the dates is
    open; a missing end of the times is the start or the end of the day. Raises Refusal as
    condition does.
    """
    dates, times = values.strip(dates, date.vr), values.strip(times, time.vr)
    if not all("-" in text and "\\" not in text for text in (dates, times)):
        return None
    days, hours = _between(date, dates), _between(time, times)
    low = high = None
    if isinstance(days.low, dt.date):
        start = hours.low if isinstance(hours.low, dt.time) else dt.time.min
        low = dt.datetime.combine(days.low, start)
    if isinstance(days.high, dt.date):
        end = hours.high if isinstance(hours.high, dt.time) else dt.time.max
        high = dt.datetime.combine(days.high, end)
    if low is not None and high is not None and low > high:
        raise malformed(date, "date and time range runs backwards")
    return Interval(date, time, low, high)
