"""What explain tells, as values: the eight steps between an exam and a scanner's list.

A verdict each, no words: those are in words.py.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from functools import cached_property

from dicomscp.access import Reason
from dicomscp.explain import keys
from dicomscp.explain.keys import KeyVerdict
from dicomscp.explain.suspects import Sendable, Suspect
from dicomscp.matching import Condition, Item
from dicomscp.models import Association, Query
from dicomscp.plan import QueryPlan
from dicomscp.scope import NO_RULES, Rules
from dicomscp.status import CANCEL, NOT_AUTHORISED, SUCCESS, Refusal
from worklist.models import ScheduledProcedureStep, Station


class Mark(enum.StrEnum):
    """How a step of the way stands; NONE: it was not come to."""

    YES = "yes"
    NO = "no"
    WARN = "warn"
    NONE = "none"


@dataclass(frozen=True)
class Caller:
    """Who asks: a station that is set up, or an AE title that is none's."""

    titles: tuple[str, ...]
    station: Station | None = None
    rules: Rules = NO_RULES

    @property
    def name(self) -> str:
        return self.station.friendly_name if self.station else self.titles[0]


@dataclass(frozen=True)
class Reached:
    """1: the last association that came from it, and one that may be its, under another title."""

    last: Association | None
    impostor: Association | None = None
    # None: not known.
    is_running: bool | None = None

    @property
    def mark(self) -> Mark:
        return Mark.YES if self.last and self.is_running is not False else Mark.NO


class Refused(enum.StrEnum):
    """Why an association brought no query."""

    REJECTED = "rejected"
    # The service was asked for, and not in a transfer syntax that we speak; or not asked for.
    CONTEXT_REFUSED = "context-refused"
    NO_CONTEXT = "no-context"
    # It could have asked.
    SILENT = "silent"


@dataclass(frozen=True)
class Accepted:
    """2: whether it may ask; `refused` when its last call was no use, or the next would be none.

    `now` is why it would be turned away if it called again.
    """

    association: Association | None
    refused: Refused | None = None
    now: Reason | None = None

    @property
    def reason(self) -> Reason | None:
        if self.now is not None:
            return self.now
        try:
            return Reason(self.association.reason) if self.association else None
        except ValueError:  # of another version
            return None

    @property
    def mark(self) -> Mark:
        if self.refused:
            return Mark.NO
        return Mark.YES if self.association else Mark.NONE


@dataclass(frozen=True)
class Asked:
    """3: the query that is explained, and the others that could be."""

    query: Query | None
    is_chosen: bool = False
    others: tuple[Query, ...] = ()
    # How it was refused by us, when its keys could not be read.
    refusal: Refusal | None = None

    @property
    def failed(self) -> bool:
        """Whether it was our failure that it has no answer."""
        return self.query is not None and self.query.status not in (
            *(SUCCESS, CANCEL, NOT_AUTHORISED, None),
        )

    @property
    def mark(self) -> Mark:
        if self.query is None:
            return Mark.NONE
        return Mark.NO if self.refusal else Mark.YES


@dataclass(frozen=True)
class Keys:
    """4: each key of that query."""

    verdicts: tuple[KeyVerdict, ...] = ()
    is_read: bool = False

    @property
    def failing(self) -> tuple[KeyVerdict, ...]:
        return tuple(each for each in self.verdicts if not each.matches)

    @property
    def misplaced(self) -> tuple[KeyVerdict, ...]:
        return keys.misplaced(self.verdicts)

    @property
    def match(self) -> bool:
        return self.is_read and not self.failing

    @property
    def mark(self) -> Mark:
        if not self.is_read:
            return Mark.NONE
        if self.failing:
            return Mark.NO
        return Mark.WARN if self.misplaced else Mark.YES


class RuleKind(enum.StrEnum):
    STATUS = "status"
    TITLE = "title"
    MODALITY = "modality"
    WINDOW = "window"


@dataclass(frozen=True)
class RuleVerdict:
    """One of our own rules, what the step holds of it, whether it lets the step through."""

    kind: RuleKind
    condition: Condition
    held: tuple[str, ...]
    matches: bool


@dataclass(frozen=True)
class Place:
    """Where in the answer the step stands: `position` of `count`, both None past the limit."""

    limit: int
    position: int | None = None
    count: int | None = None
    is_over: bool = False


@dataclass(frozen=True)
class OwnRules:
    """5: what we let this station see, and how much of it."""

    verdicts: tuple[RuleVerdict, ...] = ()
    place: Place | None = None

    @property
    def failing(self) -> tuple[RuleVerdict, ...]:
        return tuple(each for each in self.verdicts if not each.matches)

    @property
    def match(self) -> bool:
        return not self.failing

    @property
    def mark(self) -> Mark:
        is_over = self.place is not None and self.place.is_over
        return Mark.NO if self.failing or is_over else Mark.YES


@dataclass(frozen=True)
class Sent:
    """6: whether it can be sent as it is."""

    sendable: Sendable | None = None

    @property
    def mark(self) -> Mark:
        if self.sendable is None:
            return Mark.NONE
        if not self.sendable.fits or self.sendable.too_long:
            return Mark.NO
        return Mark.WARN if self.sendable.missing else Mark.YES


@dataclass(frozen=True)
class Delivered:
    """7: whether it was in that query's answer, and when it was sent last.

    `is_sent` None: the journal does not tell, of so many steps.
    """

    is_sent: bool | None = False
    at: dt.datetime | None = None
    last: Query | None = None

    @property
    def mark(self) -> Mark:
        if self.is_sent is None:
            return Mark.WARN
        return Mark.YES if self.is_sent else Mark.NO


@dataclass(frozen=True)
class Dropped:
    """8: what the scanner may have stumbled over, when it was sent."""

    suspects: tuple[Suspect, ...] = ()
    is_asked: bool = False

    @property
    def mark(self) -> Mark:
        if not self.is_asked:
            return Mark.NONE
        return Mark.WARN if self.suspects else Mark.YES


class Cause(enum.StrEnum):
    """Why a scanner does not show a step, in the order in which they are looked for."""

    NOT_RUNNING = "not-running"
    NEVER_HEARD = "never-heard"
    OTHER_TITLE = "other-title"
    REJECTED = "rejected"
    NO_CONTEXT = "no-context"
    NEVER_ASKED = "never-asked"
    NOT_SINCE = "not-since"
    MALFORMED = "malformed"
    FAILED = "failed"
    BROKEN_OFF = "broken-off"
    KEY = "key"
    MISPLACED = "misplaced"
    RULE = "rule"
    LIMIT = "limit"
    NOT_ENCODABLE = "not-encodable"
    DELIVERED = "delivered"


@dataclass(frozen=True)
class Explanation:
    """One step and one station, or one step and one query: the whole way, and the short answer.

    `causes` has the short answer first; the others would be in the way after it.
    """

    step: ScheduledProcedureStep
    caller: Caller
    changed: dt.datetime
    is_new: bool
    reached: Reached
    accepted: Accepted
    asked: Asked
    keys: Keys
    rules: OwnRules
    sent: Sent
    delivered: Delivered
    dropped: Dropped
    # What the verdicts are on: the step's values, and what the query means; None: no query.
    item: Item
    plan: QueryPlan | None
    causes: tuple[Cause, ...] = ()

    @cached_property
    def would_match(self) -> bool:
        """Whether the SCP sends the step if that query came again now."""
        place = self.rules.place
        return place is not None and place.position is not None

    @property
    def cause(self) -> Cause:
        return self.causes[0]

    @property
    def is_well(self) -> bool:
        """Whether the scanner was sent it, or is as soon as it asks again."""
        if self.cause is Cause.NOT_SINCE:
            return self.would_match
        sent = (Cause.DELIVERED, Cause.MISPLACED, Cause.NOT_ENCODABLE)
        return self.cause in sent and (self.would_match or self.delivered.is_sent is True)
