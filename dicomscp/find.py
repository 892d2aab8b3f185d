"""The only ORM of C-FIND: from a plan to rows.

SQL narrows what is read, the conditions decide. One statement answers a plan, however many steps
match. No pynetdicom, no Identifier.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import Any, cast

from django.conf import settings
from django.db import connection, models
from django.db.models import OuterRef, Subquery

from dicomscp import narrowing
from dicomscp import scope as scopes
from dicomscp.answers import Key
from dicomscp.layout import Layout, Row
from dicomscp.matching import AnyItem, Condition, Item
from dicomscp.plan import QueryPlan, Return
from dicomscp.scope import Rules
from dicomscp.stamp import Stamp, listed
from dicomscp.statement import AsJson, Statement
from worklist.attributes import Attribute
from worklist.models import ScheduledProcedureStep

_CHUNK = 2000
# Stands in a statement where the keys of this time come.
_KEYS = "the keys of steps"


class TooManyMatches(Exception):
    """More steps match than may be answered; `count` is None when it is only known to be more."""

    def __init__(self, limit: int, count: int | None) -> None:
        super().__init__(limit, count)
        self.limit = limit
        self.count = count


def answer(plan: QueryPlan, rules: Rules, *, now: dt.datetime) -> tuple[Item, ...]:
    """The steps that answer the plan of a station with these rules, as `rows` does.

    This is what a C-FIND is answered with, and what every page shows of it.
    """
    return reading(plan, rules, now=now, limit=settings.DICOM_MATCH_LIMIT).items()


def reading(plan: QueryPlan, rules: Rules, *, now: dt.datetime, limit: int) -> Reading:
    """How the plan of a station with these rules is answered; `limit` is that of all stations."""
    scoped = scopes.under(plan, rules, now=now)
    conditions = (*scoped.plan.conditions, *scoped.conditions)
    return Reading(conditions, plan.returns, limit=rules.match_limit or limit)


def rows(
    plan: QueryPlan, *, scope: Sequence[Condition] = (), limit: int | None = None
) -> tuple[Item, ...]:
    """The steps that meet the plan and the scope, ordered by start date, start time and id.

    Raises TooManyMatches past the limit, and Django's database errors.
    """
    return Reading((*plan.conditions, *scope), plan.returns, limit=limit).items()


def items(
    steps: Collection[int], *, conditions: Sequence[Condition] = (), returns: Sequence[Return] = ()
) -> tuple[Item, ...]:
    """These steps, with what the conditions look at and what is returned, in the answers' order.

    Whether they meet the conditions is for the caller to ask.
    """
    layout = layout_of(conditions, returns)
    queryset = _columns(ScheduledProcedureStep.objects.filter(pk__in=steps), layout)
    return tuple(map(layout.item, Statement(queryset).rows()))


class Reading:
    """How a plan is answered, made once: its SQL, what SQL leaves undecided, what a row holds."""

    def __init__(
        self, conditions: Sequence[Condition], returns: Sequence[Return], *, limit: int | None
    ) -> None:
        self.layout = layout_of(conditions, returns)
        self._limit = limit
        self._undecided = narrowing.undecided_of(conditions)
        # Of a candidate no more is looked at than they need.
        self._looked_at = self.layout.only(_named(self._undecided))
        self._conditions = conditions

    # Made when they are needed first: who reads keys needs neither.

    @cached_property
    def _steps(self) -> Any:
        return _columns(_meeting(self._conditions), self.layout, is_stamped=True)

    @cached_property
    def _statement(self) -> Statement:
        return self._enough(self._steps)

    def _enough(self, steps: Any) -> Statement:
        """What reads these up to the limit, and one more, which tells that there are too many."""
        enough = steps if self._limit is None else steps[: self._limit + 1]
        return Statement(enough, is_steady=narrowing.is_steady(self._conditions))

    def items(self) -> tuple[Item, ...]:
        """The matching steps."""
        return tuple(map(self.layout.item, self.rows()))

    def rows(self) -> list[Row]:
        """The rows of the matching steps, each with its stamp behind it.

        Raises TooManyMatches past the limit.
        """
        if self._limit is None:
            return list(self._matching(self._every(), self._looked_at))
        found = self.few()
        return self.many() if found is None else found

    def few(self, marks: Mapping[str, str] | None = None) -> list[Row] | None:
        """The rows of the matching steps, None when the candidates that are read do not tell.

        `marks` are the texts that stand this time for some that were asked for. Raises
        TooManyMatches when it is known already.
        """
        return self._few(self._statement.rows(marks), self._looked_at)

    def keys(self, marks: Mapping[str, str] | None = None) -> list[Key] | None:
        """Of each matching step key and stamp, and nothing else is read; the rest as in `few`."""
        statement, layout = self._keys
        found = self._few(statement.rows(marks), layout)
        if found is None or not self._undecided:
            return cast("list[Key] | None", found)
        return [(row[0], row[-1]) for row in found]

    @cached_property
    def _keys(self) -> tuple[Statement, Layout]:
        """What reads them, with what it takes to decide about a candidate."""
        layout = layout_of(self._undecided, ())
        steps = _columns(_meeting(self._conditions), layout, is_stamped=True)
        return self._enough(steps), layout

    def _few(self, candidates: list[Row], layout: Layout) -> list[Row] | None:
        found = list(self._matching(candidates, layout))
        if self._limit is None or len(candidates) <= self._limit:
            return found
        if self._undecided and len(found) > self._limit:
            raise TooManyMatches(self._limit, None)
        return None

    def many(self) -> list[Row]:
        """The rows of the matching steps among however many candidates; as `rows` does."""
        assert self._limit is not None
        if not self._undecided:
            raise TooManyMatches(self._limit, self._steps.count())
        # Those behind the last candidate may match, too.
        with closing(self._every()) as every:
            found = list(islice(self._matching(every, self._looked_at), self._limit + 1))
        if len(found) > self._limit:
            raise TooManyMatches(self._limit, None)
        return found

    def _matching(self, candidates: Iterable[Row], layout: Layout) -> Iterator[Row]:
        if not self._undecided:
            return iter(candidates)
        return (row for row in candidates if self._meets(layout.item(row)))

    def _meets(self, item: Item) -> bool:
        return all(condition.matches(item) for condition in self._undecided)

    def _every(self) -> Generator[Row, None, None]:
        # A cursor of the server's costs statements of its own: only where the end is not known.
        yield from self._steps.all().iterator(chunk_size=_CHUNK)


class Returning:
    """What is returned of steps, read by their keys; made once."""

    def __init__(self, returns: Sequence[Return]) -> None:
        self.layout = layout_of((), returns)
        steps = ScheduledProcedureStep.objects.filter(pk__dicom_any_of=_KEYS)
        self._statement = Statement(_columns(steps, self.layout, is_stamped=True), is_steady=True)

    def rows(self, keys: Sequence[Key]) -> dict[Key, Row] | None:
        """The rows of these steps; None when one has another stamp by now, or is gone."""
        if not keys:
            return {}
        steps = listed([step for step, _ in keys], vendor=connection.vendor)
        rows = self._statement.rows({_KEYS: steps})
        found = {(row[0], row[-1]): row for row in rows}
        return found if all(key in found for key in keys) else None


def past_limits(questions: Sequence[tuple[Sequence[Condition], int]]) -> tuple[bool, ...]:
    """Of each question, conditions and a limit, whether more steps meet them; one statement.

    Only where SQL alone does not decide, and there may be too many, a question costs one more.
    """
    if not questions:
        return ()
    found = {
        f"past_{number}": Subquery(_meeting(conditions).values("pk")[limit : limit + 1])
        for number, (conditions, limit) in enumerate(questions)
    }
    # One row to hang them on; without any step there is none, and nothing is past a limit.
    steps = ScheduledProcedureStep.objects.order_by()
    row: dict[str, Any] = steps.annotate(**found).values(*found).first() or {}
    return tuple(
        row.get(f"past_{number}") is not None and _is_past(conditions, limit)
        for number, (conditions, limit) in enumerate(questions)
    )


def _is_past(conditions: Sequence[Condition], limit: int) -> bool:
    """Whether more than so many steps meet the conditions, of which SQL has found too many."""
    if not narrowing.undecided_of(conditions):
        return True
    try:
        rows(QueryPlan(tuple(conditions), ()), limit=limit)
    except TooManyMatches:
        return True
    return False


# --- what is read ---------------------------------------------------------------------------------


def _meeting(conditions: Sequence[Condition]) -> models.QuerySet[ScheduledProcedureStep]:
    """The steps that meet the conditions, as far as SQL decides it; in no order."""
    return ScheduledProcedureStep.objects.filter(narrowing.narrow_all(conditions)).order_by()


def layout_of(conditions: Sequence[Condition], returns: Sequence[Return]) -> Layout:
    """Which columns are needed to look at the conditions and to return what is to be returned."""
    return Layout({*_named(conditions), *_returned(returns)}, narrowing.relation)


def _columns(
    steps: models.QuerySet[ScheduledProcedureStep], layout: Layout, *, is_stamped: bool = False
) -> Any:
    """These steps in the answers' order, each a row of this layout; behind it the stamp."""
    lists = {
        f"listed_{relation}": AsJson(*_related(relation, leaves))
        for relation, leaves in layout.lists.items()
    }
    own = map(narrowing.column, layout.columns)
    ordered = steps.order_by("start_date", "start_time", "id")
    last = {"stamp": Stamp()} if is_stamped else {}
    return ordered.annotate(**lists, **last).values_list("pk", *own, *lists, *last)


def _related(relation: str, leaves: Sequence[Attribute]) -> tuple[Any, list[str]]:
    """The rows of their own that belong to a step, and of each the paths to these attributes."""
    model, step, target = narrowing.linked(relation)
    mine = model._default_manager.filter(**{step: OuterRef("pk")}).order_by("position", "pk")
    return mine, [f"{target}__{leaf.column.split('__')[-1]}" for leaf in leaves]


def _returned(returns: Sequence[Return]) -> Iterator[Attribute]:
    for returned in returns:
        yield returned.attribute
        yield from _returned(returned.items)


def _named(conditions: Sequence[Condition]) -> Iterator[Attribute]:
    for condition in conditions:
        yield from condition.attributes
        if isinstance(condition, AnyItem):
            yield from _named(condition.conditions)
