"""What a request asks and how it is answered, remembered: scanners ask the same again and again.

Everything here follows from the request's bytes and from the station's rules; neither rows nor
rules are kept.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property, lru_cache

from django.conf import settings

from dicomscp import find, identifier, plan, scope
from dicomscp.encoding import Writer
from dicomscp.find import Reading
from dicomscp.identifier import Element
from dicomscp.plan import QueryPlan
from dicomscp.scope import Rules

# Of so many bytes at most, and so many requests; a console's Identifier has some hundred bytes.
_LONGEST = 8192
_MOST = 512


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
class Answering:
    """How a question is answered to a station: the rows to read, and what is written of one."""

    reading: Reading
    write: Writer


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
    reading = find.reading(question.plan, rules, now=moment, limit=limit)
    write = Writer(
        question.plan,
        reading.layout,
        implicit_vr=question.implicit_vr,
        character_set=rules.character_set,
        alphabetic_only=rules.alphabetic_only,
    )
    return Answering(reading, write)
