"""One query and all steps of its days: how many each condition leaves, and which leaves out which.

The same plan and rules as the SCP's, asked in their order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.utils import timezone

from dicomscp import asked, find, plan, scope
from dicomscp.explain import heard, keys
from dicomscp.explain.keys import DATE, MODALITY, STEP, TIME, Texts
from dicomscp.explain.story import Caller
from dicomscp.find import TooManyMatches
from dicomscp.matching import AnyItem, Between, Condition, Interval, Item, OneOf
from dicomscp.models import Query
from dicomscp.plan import QueryPlan
from dicomscp.scope import Rules
from worklist import clock
from worklist.attributes import Attribute

# Further than that, a query's days are not gone through.
_MOST_DAYS = 31


@dataclass(frozen=True)
class Stage:
    """One condition and how many of the steps that came to it are left. `asked` is None of a rule.

    `steps` are those that it left out.
    """

    attributes: tuple[Attribute, ...]
    asked: str | None
    left: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Funnel:
    """What becomes of the steps of a query's days."""

    caller: Caller
    first: dt.date
    last: dt.date
    total: int
    stages: tuple[Stage, ...]
    # Those that are left, in the order of the answer.
    steps: tuple[int, ...]
    limit: int

    @property
    def left_out(self) -> dict[int, Stage]:
        """Of each step that is left out, the first condition that did it."""
        return {step: stage for stage in self.stages for step in stage.steps}


def of(query: Query) -> Funnel:
    """The way of all steps of the query's days. Raises Refusal when the query cannot be read."""
    elements = asked.elements(query)
    wanted = plan.make(elements)
    caller = heard.of_query(query)
    scoped = scope.under(wanted, caller.rules, now=clock.now())
    keyed = tuple(_leaves(scoped.plan.conditions))
    ruled = tuple(_leaves(scoped.conditions))
    first, last = _days(wanted, query)
    in_days = AnyItem(STEP, (Between(DATE, first, last),))
    # What the conditions look at is read, without their being asked.
    found = find.rows(plan.everything(), scope=(in_days,))
    left = list(found)
    texts = keys.texts_of(elements)
    stages = []
    for condition in (*keyed, *ruled):
        passed: list[Item] = []
        gone: list[Item] = []
        for item in left:
            (passed if condition.matches(item) else gone).append(item)
        about = _about(condition)
        said = _text(about, texts) if condition in keyed else None
        stages.append(Stage(about, said, len(passed), _steps(gone)))
        left = passed
    limit = caller.rules.match_limit or settings.DICOM_MATCH_LIMIT
    return Funnel(caller, first, last, len(found), tuple(stages), _steps(left), limit)


def _steps(items: Sequence[Item]) -> tuple[int, ...]:
    return tuple(item.step for item in items if item.step is not None)


def _leaves(conditions: Sequence[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, AnyItem) and condition.attribute is STEP:
            for inner in condition.conditions:
                yield AnyItem(STEP, (inner,))
        else:
            yield condition


def _about(condition: Condition) -> tuple[Attribute, ...]:
    if isinstance(condition, AnyItem):
        return tuple(each for inner in condition.conditions for each in _about(inner))
    return condition.attributes


def _text(about: Sequence[Attribute], texts: Texts) -> str:
    return " + ".join(texts[attribute][1] for attribute in about)


def _days(wanted: QueryPlan, query: Query) -> tuple[dt.date, dt.date]:
    """The days that are asked for, if they are few; else the day on which it was asked."""
    own = timezone.localtime(query.at).date()
    for condition in _leaves(wanted.conditions):
        inner = condition.conditions[0] if isinstance(condition, AnyItem) else condition
        if DATE not in inner.attributes:
            continue
        low: object = None
        high: object = None
        if isinstance(inner, OneOf):
            low = high = inner.wanted[0]
        elif isinstance(inner, Between | Interval):
            low, high = inner.low, inner.high
        first, last = (
            each.date() if isinstance(each, dt.datetime) else each for each in (low, high)
        )
        if first is None and isinstance(last, dt.date):
            first = last
        if last is None and isinstance(first, dt.date):
            last = max(first, own)
        if isinstance(first, dt.date) and isinstance(last, dt.date):
            return first, min(last, first + dt.timedelta(days=_MOST_DAYS))
    return own, own


def _day(value: object) -> object:
    return value.date() if isinstance(value, dt.datetime) else value


# --- once more ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """A query run again now, beside its first answer. `count` is None past the limit.

    Of a first answer that was longer than is recorded, `is_whole` is False.
    """

    count: int | None
    limit: int
    steps: tuple[int, ...]
    came: tuple[int, ...]
    went: tuple[int, ...]
    is_whole: bool
    too_many: TooManyMatches | None = None


def again(query: Query, rules: Rules, *, only: Sequence[Attribute] = ()) -> Again:
    """What the query is answered with now; with `only`, by its keys on these attributes alone.

    Raises Refusal when it cannot be read.
    """
    wanted = replace(asked.plan_of(query), returns=())
    if only:
        kept = (each for each in _leaves(wanted.conditions) if set(_about(each)) & set(only))
        wanted = replace(wanted, conditions=tuple(kept))
    limit = rules.match_limit or settings.DICOM_MATCH_LIMIT
    is_whole = query.sent <= len(query.steps)
    try:
        items = find.answer(wanted, rules, now=clock.now())
    except TooManyMatches as error:
        return Again(error.count, limit, (), (), tuple(query.steps), is_whole, error)
    now = _steps(items)
    then = set(query.steps)
    return Again(
        len(now),
        limit,
        now,
        tuple(step for step in now if step not in then) if is_whole else (),
        tuple(step for step in query.steps if step not in set(now)),
        is_whole,
    )


# The keys without which a list makes no sense.
MODALITY_AND_DATE = (MODALITY, DATE, TIME)
