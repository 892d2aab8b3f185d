"""What a request asks and how it is answered, remembered: scanners ask the same again and again.

Everything here follows from the request's bytes and from the station's rules; neither rows nor
rules are kept, but for the bytes of Identifiers (answers).
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import count

from django.conf import settings
from pydicom.dataset import Dataset

from dicomscp import find, identifier, plan, response, scope, stamp
from dicomscp.answers import ANSWERS, Key
from dicomscp.encoding import Writer
from dicomscp.find import Returning
from dicomscp.identifier import Element
from dicomscp.layout import Row
from dicomscp.matching import AnyItem, Condition, Item, OneOf
from dicomscp.plan import QueryPlan, Return
from dicomscp.scope import Rules
from worklist import attributes
from worklist.character_set import CharacterSet

# Of so many bytes at most, and so many requests; a console's Identifier has some hundred bytes.
_LONGEST = 8192
_MOST = 512
_MOST_SHAPES = 128

# What a bar code holds: texts that are compared as they stand, and that no rule looks at.
_STEP = attributes.find("ScheduledProcedureStepSequence")
_NUMBERS = frozenset(
    {
        attributes.find("AccessionNumber"),
        attributes.find("PatientID"),
        attributes.find("RequestedProcedureID"),
        attributes.find("StudyInstanceUID"),
        attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepID"),
    }
)
# Nobody can ask for a text that is taken for a mark.
_MARK = secrets.token_hex(16)


@dataclass(frozen=True, eq=False)
class Question:
    """A request's Identifier, understood."""

    elements: tuple[Element, ...]
    implicit_vr: bool

    @cached_property
    def plan(self) -> QueryPlan:
        """What it means. Raises Refusal for a malformed key."""
        return plan.make(self.elements)


@dataclass(frozen=True, eq=False)
class Found:
    """The matching steps, and the response Identifier of each, which is written when it is due.

    Encoded, or a data set. `count` is that of the shared rows when they were read (stamp), None
    where nothing tells.
    """

    steps: Sequence[int]
    identifiers: Iterator[bytes | Dataset]
    count: str | None


@dataclass(frozen=True, eq=False)
class Answering:
    """How a question is answered to a station: the rows to read, and what is written of one."""

    plan: QueryPlan
    rules: Rules
    moment: dt.datetime
    limit: int
    shared: _Shared
    # What stands in the shared statement for the texts that were asked for.
    marks: Mapping[str, str]
    # How often it was answered.
    times: Iterator[int] = field(default_factory=count)

    def rows(self) -> list[Row]:
        """The matching rows. Raises TooManyMatches past the limit."""
        found = self.shared.reading.few(self.marks)
        return self._many() if found is None else found

    def _many(self) -> list[Row]:
        # To look at them all, or to count them, is another statement, and rare.
        alone = find.reading(self.plan, self.rules, now=self.moment, limit=self.limit)
        return alone.many()

    def found(self) -> Found:
        """The matching steps with their Identifiers. Raises TooManyMatches past the limit."""
        # Who asks by a number asks for few, and mostly the next time for others.
        if not self.marks or next(self.times):
            age = ANSWERS.age
            keys = self.shared.reading.keys(self.marks)
            if keys is None:
                return self._written(self._many())
            if found := self.shared.sheet.found(keys, age=age):
                return found
        return self._written(self.rows())

    def _written(self, rows: Sequence[Row]) -> Found:
        return _found(rows, lambda row: self.shared.write(row[:-1]))

    def plainly(self) -> Found:
        """The same, written by pydicom."""
        return _found(self.rows(), self._plain)

    def _plain(self, row: Row) -> Dataset:
        return response.identifier(
            self.plan,
            self.item(row),
            implicit_vr=self.shared.implicit_vr,
            character_set=self.rules.character_set,
            alphabetic_only=self.rules.alphabetic_only,
        )

    def item(self, row: Row) -> Item:
        """The step of a row."""
        return self.shared.reading.layout.item(row)


class _Shared:
    """What the answers to all questions of one shape have in common.

    SQL and writers are made when they are needed first: who reads keys needs no rows of all steps.
    """

    def __init__(
        self, shape: QueryPlan, rules: Rules, moment: dt.datetime, limit: int, implicit_vr: bool
    ) -> None:
        self._shape, self._rules, self.implicit_vr = shape, rules, implicit_vr
        self.reading = find.reading(shape, rules, now=moment, limit=limit)

    @cached_property
    def write(self) -> Writer:
        return Writer(
            self._shape,
            self.reading.layout,
            implicit_vr=self.implicit_vr,
            character_set=self._rules.character_set,
            alphabetic_only=self._rules.alphabetic_only,
        )

    @cached_property
    def sheet(self) -> _Sheet:
        shape, rules = self._shape, self._rules
        wanted = shape.character_set if rules.character_set is None else rules.character_set
        return _sheet(shape.returns, wanted, self.implicit_vr, rules.alphabetic_only)


class _Sheet:
    """How a step is returned, whatever it was found by: what was written of it is kept."""

    def __init__(
        self,
        returns: tuple[Return, ...],
        character_set: CharacterSet,
        implicit_vr: bool,
        alphabetic_only: bool,
    ) -> None:
        # Not the sheet itself: what peers ask for would stay, SQL and all, as long as its answers.
        self._how = object()
        self._returning = Returning(returns)
        self._write = Writer(
            QueryPlan((), returns),
            self._returning.layout,
            implicit_vr=implicit_vr,
            character_set=character_set,
            alphabetic_only=alphabetic_only,
        )

    def found(self, keys: Sequence[Key], *, age: int) -> Found | None:
        """These steps, read since it was `age`; None when that cannot be told of them together."""
        if keys and keys[0][1] is None:
            # It was not migrated to where stamps can be trusted.
            return None
        held = ANSWERS.get(self._how, keys, age=age)
        missing = [key for key, encoded in zip(keys, held, strict=True) if encoded is None]
        # One that has changed since may not match any more, and another one instead.
        rows = self._returning.rows(missing)
        if rows is None:
            return None
        identifiers = self._identifiers(keys, held, rows, age) if rows else iter(held)
        counted = stamp.counted(keys[0][1]) if keys else None
        return Found([step for step, _ in keys], identifiers, counted)  # type: ignore[arg-type]

    def _identifiers(
        self,
        keys: Sequence[Key],
        held: Sequence[bytes | None],
        rows: Mapping[Key, Row],
        age: int,
    ) -> Iterator[bytes]:
        written = []
        try:
            for key, encoded in zip(keys, held, strict=True):
                if encoded is None:
                    encoded = self._write(rows[key][:-1])
                    written.append((key, encoded))
                yield encoded
        finally:
            ANSWERS.put(self._how, written, age=age)


def _found(rows: Sequence[Row], write: Callable[[Row], bytes | Dataset]) -> Found:
    counted = stamp.counted(rows[0][-1]) if rows else None
    return Found([row[0] for row in rows], map(write, rows), counted)


def understand(encoded: bytes, *, implicit_vr: bool) -> Question:
    """The question that a request asks. Raises Refusal for bytes that are no Identifier."""
    if len(encoded) > _LONGEST:
        return _understood(encoded, implicit_vr)
    return _remembered(encoded, implicit_vr)


def answering(question: Question, rules: Rules, *, now: dt.datetime) -> Answering:
    """How it is answered under these rules. Raises Refusal for a malformed key."""
    moment = scope.moment(rules, now) or dt.datetime.min
    return _answering(question, rules, moment, int(settings.DICOM_MATCH_LIMIT))


def _understood(encoded: bytes, implicit_vr: bool) -> Question:
    return Question(identifier.read(encoded, implicit_vr=implicit_vr), implicit_vr)


_remembered = lru_cache(maxsize=_MOST)(_understood)


@lru_cache(maxsize=_MOST)
def _answering(question: Question, rules: Rules, moment: dt.datetime, limit: int) -> Answering:
    shape, marks = _marked(question.plan)
    shared = _shared(shape, rules, moment, limit, question.implicit_vr)
    return Answering(question.plan, rules, moment, limit, shared, marks)


_shared = lru_cache(maxsize=_MOST_SHAPES)(_Shared)
_sheet = lru_cache(maxsize=_MOST_SHAPES)(_Sheet)


def _marked(query: QueryPlan) -> tuple[QueryPlan, dict[str, str]]:
    """The plan with marks in place of numbers that are other ones each time, and what they are."""
    marks: dict[str, str] = {}

    def mark(condition: Condition) -> Condition:
        if isinstance(condition, AnyItem) and condition.attribute is _STEP:
            return replace(condition, conditions=tuple(map(mark, condition.conditions)))
        if not isinstance(condition, OneOf) or condition.attribute not in _NUMBERS:
            return condition
        mine = {
            f"{_MARK}{condition.attribute.keyword}{position}": str(wanted)
            for position, wanted in enumerate(condition.wanted)
        }
        marks.update(mine)
        return replace(condition, wanted=tuple(mine))

    return replace(query, conditions=tuple(map(mark, query.conditions))), marks
