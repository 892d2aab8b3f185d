"""The only ORM of C-FIND: from a plan to rows.

SQL narrows what is read, the conditions decide. The number of statements does not depend on the
number of matches. No pynetdicom, no Identifier.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery

from dicomscp import matching
from dicomscp import scope as scopes
from dicomscp.matching import (
    AnyItem,
    Condition,
    Either,
    Interval,
    Item,
    Like,
    NameLike,
    NumberIs,
    OneOf,
    Unknown,
)
from dicomscp.plan import QueryPlan, Return
from dicomscp.scope import Rules
from worklist import attributes, values
from worklist.attributes import Attribute
from worklist.models import ScheduledProcedureStep

_CHUNK = 2000
_STEP = attributes.find("ScheduledProcedureStepSequence")


class TooManyMatches(Exception):
    """More steps match than may be answered; `count` is None when it is only known to be more."""

    def __init__(self, limit: int, count: int | None) -> None:
        super().__init__(limit, count)
        self.limit = limit
        self.count = count


class _Like(models.Lookup):
    """LIKE with a pattern that is ready made; never a regular expression made from a key."""

    lookup_name = "dicom_like"
    prepare_rhs = True

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} LIKE {right} ESCAPE '\\'", [*left_params, *right_params]


models.CharField.register_lookup(_Like)


def answer(plan: QueryPlan, rules: Rules, *, now: dt.datetime) -> tuple[Item, ...]:
    """The steps that answer the plan of a station with these rules, as `rows` does.

    This is what a C-FIND is answered with, and what every page shows of it.
    """
    scoped = scopes.under(plan, rules, now=now)
    limit = rules.match_limit or settings.DICOM_MATCH_LIMIT
    return rows(scoped.plan, scope=scoped.conditions, limit=limit)


def rows(
    plan: QueryPlan, *, scope: Sequence[Condition] = (), limit: int | None = None
) -> tuple[Item, ...]:
    """The steps that meet the plan and the scope, ordered by start date, start time and id.

    Raises TooManyMatches past the limit, and Django's database errors.
    """
    conditions = (*plan.conditions, *scope)
    reading = _Reading(conditions, plan.returns)
    where = Q()
    for condition in conditions:
        where &= _narrow(condition)
    queryset = ScheduledProcedureStep.objects.filter(where).order_by(
        "start_date", "start_time", "id"
    )
    undecided = _undecided_of(conditions)
    enough = None if undecided or limit is None else limit + 1
    with closing(reading.steps(queryset, enough=enough)) as candidates:
        matches = (
            (pk, item)
            for pk, item in candidates
            if all(condition.matches(item) for condition in undecided)
        )
        found = list(matches if limit is None else islice(matches, limit + 1))
    if limit is not None and len(found) > limit:
        raise TooManyMatches(limit, None if undecided else queryset.count())
    return reading.with_relations(found)


def items(
    steps: Collection[int], *, conditions: Sequence[Condition] = (), returns: Sequence[Return] = ()
) -> tuple[Item, ...]:
    """These steps, with what the conditions look at and what is returned, in the answers' order.

    Whether they meet the conditions is for the caller to ask.
    """
    queryset = ScheduledProcedureStep.objects.filter(pk__in=steps).order_by(
        "start_date", "start_time", "id"
    )
    reading = _Reading(conditions, returns)
    return reading.with_relations(list(reading.steps(queryset, enough=max(1, len(steps)))))


def past_limits(questions: Sequence[tuple[Sequence[Condition], int]]) -> tuple[bool, ...]:
    """Of each question, conditions and a limit, whether more steps meet them; one statement.

    Only where SQL alone does not decide, and there may be too many, a question costs one more.
    """
    if not questions:
        return ()
    steps = ScheduledProcedureStep.objects.order_by()
    found: dict[str, Subquery] = {}
    for number, (conditions, limit) in enumerate(questions):
        where = Q()
        for condition in conditions:
            where &= _narrow(condition)
        found[f"past_{number}"] = Subquery(steps.filter(where).values("pk")[limit : limit + 1])
    # One row to hang them on; without any step there is none, and nothing is past a limit.
    row: dict[str, Any] = steps.annotate(**found).values(*found).first() or {}
    return tuple(
        row.get(f"past_{number}") is not None and _is_past(conditions, limit)
        for number, (conditions, limit) in enumerate(questions)
    )


def _is_past(conditions: Sequence[Condition], limit: int) -> bool:
    """Whether more than so many steps meet the conditions, of which SQL has found too many."""
    if not _undecided_of(conditions):
        return True
    try:
        rows(QueryPlan(tuple(conditions), ()), limit=limit)
    except TooManyMatches:
        return True
    return False


# --- SQL ------------------------------------------------------------------------------------------


def _column(attribute: Attribute) -> str:
    """The ORM path of an attribute; in a sequence with a relation, from the step all the same."""
    parent = attribute.parent
    if parent is not None and parent.column:
        return f"{parent.column}__{attribute.column}"
    return attribute.column


def _is_related_list(path: str) -> bool:
    """Whether the path leads through rows of their own: a step has several."""
    first = ScheduledProcedureStep._meta.get_field(path.split("__")[0])
    return isinstance(first, models.ManyToManyField)


def _is_list(sequence: Attribute) -> bool:
    """Whether the items of a sequence are rows of their own."""
    return bool(sequence.column) and _is_related_list(sequence.column)


def _narrow(condition: Condition) -> Q:
    """A Q that every match meets; for most conditions nothing else meets it."""
    if isinstance(condition, AnyItem):
        if _is_list(condition.attribute):
            return _narrow_list(condition.attribute.column, condition.conditions)
        where = Q()
        for inner in condition.conditions:
            where &= _narrow(inner)
        return where
    if isinstance(condition, Interval):
        return _narrow_interval(condition)
    if isinstance(condition, Either):
        return _any(_narrow(each) for each in condition.conditions)
    path = _column(condition.attribute)
    if isinstance(condition, Unknown):
        return _narrow_unknown(path)
    if condition.attribute.parent is not None and _is_related_list(path):
        return _narrow_list(path.split("__")[0], (condition,))
    return _narrow_column(condition, path)


def _narrow_list(relation: str, conditions: Sequence[Condition]) -> Q:
    """One related row meets all the conditions together (C.2.2.2.6)."""
    through, step, target = _through(relation)
    where = Q()
    for condition in conditions:
        assert not isinstance(condition, AnyItem | Interval | Either | Unknown)
        leaf = condition.attribute.column.split("__")[-1]
        where &= _narrow_column(condition, f"{target}__{leaf}")
    return Q(Exists(through._default_manager.filter(where, **{step: OuterRef("pk")})))


def _narrow_unknown(path: str) -> Q:
    assert _is_related_list(path)
    through, step, _ = _through(path.split("__")[0])
    return ~Q(Exists(through._default_manager.filter(**{step: OuterRef("pk")})))


def _through(relation: str) -> tuple[type[models.Model], str, str]:
    """The model between the step and its related rows, and its fields for step and row."""
    field = ScheduledProcedureStep._meta.get_field(relation)
    assert isinstance(field, models.ManyToManyField)
    through = field.remote_field.through
    assert through is not None
    return through, field.m2m_field_name(), field.m2m_reverse_field_name()


def _narrow_column(condition: Condition, path: str) -> Q:
    assert not isinstance(condition, AnyItem | Interval | Either | Unknown)
    multi_valued = _holds_several(condition.attribute)
    if isinstance(condition, OneOf):
        if multi_valued:
            return _any(
                Q(**{f"{path}__contains": values.spell(value)}) for value in condition.wanted
            )
        return Q(**{f"{path}__in": condition.wanted})
    if isinstance(condition, Like):
        edge = "%" if multi_valued else ""
        # An unknown value meets no key (K.2.2.1.1.1), not even a pattern that needs no character.
        return ~Q(**{path: ""}) & _any(
            Q(**{f"{path}__dicom_like": f"{edge}{_like(pattern)}{edge}"})
            for pattern in condition.patterns
        )
    if isinstance(condition, NameLike):
        where = ~Q(**{f"{path}_folded": ""})
        for group in filter(None, condition.groups):
            where &= _any(
                _name_like(f"{path}_folded", _like(spelling))
                for spelling in matching.spellings(group)
            )
        return where
    if isinstance(condition, NumberIs):
        # No cast: databases refuse some numbers and round others.
        return ~Q(**{path: ""})
    bounds = {}
    if condition.low is not None:
        bounds[f"{path}__gte"] = condition.low
    if condition.high is not None:
        bounds[f"{path}__lte"] = condition.high
    return Q(**bounds)


def _name_like(path: str, pattern: str) -> Q:
    """A group at the folded name's start, behind another group, or in another of its values."""
    return (
        Q(**{f"{path}__dicom_like": f"{pattern}%"})
        | Q(**{f"{path}__dicom_like": f"%={pattern}%"})
        | Q(**{f"{path}__dicom_like": f"%\\\\{pattern}%"})
    )


def _narrow_interval(condition: Interval) -> Q:
    date, time = _column(condition.date), _column(condition.time)
    where = Q()
    if condition.low is not None:
        where &= Q(**{f"{date}__gte": condition.low.date()}) & (
            Q(**{f"{date}__gt": condition.low.date()}) | Q(**{f"{time}__gte": condition.low.time()})
        )
    if condition.high is not None:
        where &= Q(**{f"{date}__lte": condition.high.date()}) & (
            Q(**{f"{date}__lt": condition.high.date()})
            | Q(**{f"{time}__lte": condition.high.time()})
        )
    return where


def _any(alternatives: Iterator[Q]) -> Q:
    where = Q()
    for alternative in alternatives:
        where |= alternative
    return where


def _like(pattern: str) -> str:
    """A DICOM pattern as one of LIKE: its own special characters stand for themselves."""
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%").replace("?", "_")


def _holds_several(attribute: Attribute) -> bool:
    """Whether one column holds several values of the attribute."""
    return attribute.is_multi_valued and not _is_related_list(_column(attribute))


def _undecided_of(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    left = (_undecided(condition) for condition in conditions)
    return tuple(condition for condition in left if condition is not None)


def _undecided(condition: Condition) -> Condition | None:
    """What of a condition SQL has not decided: names, numbers, several values in one column."""
    if isinstance(condition, AnyItem):
        if _is_list(condition.attribute):
            return None
        inner = _undecided_of(condition.conditions)
        return AnyItem(condition.attribute, inner) if inner else None
    if isinstance(condition, NameLike | NumberIs):
        return condition
    if isinstance(condition, OneOf | Like) and _holds_several(condition.attribute):
        return condition
    return None


# --- from columns to items ------------------------------------------------------------------------


class _Reading:
    """Which columns a plan needs, and how their values become items."""

    def __init__(self, conditions: Sequence[Condition], returns: Sequence[Return]) -> None:
        needed = set(_returned(returns))
        for condition in conditions:
            needed |= set(_named(condition))
        for sequence in [attribute for attribute in needed if attribute.is_sequence]:
            if sequence is not _STEP and not _is_list(sequence):
                # Whether there is an item is seen by all of its columns.
                needed |= set(sequence.items)
        leaves = [attribute for attribute in needed if not attribute.is_sequence]
        self._needed = needed
        self._columns = [leaf for leaf in leaves if not _is_related_list(_column(leaf))]
        self._paths = [_column(leaf) for leaf in self._columns]
        self._lists: dict[str, list[Attribute]] = {}
        for leaf in leaves:
            path = _column(leaf)
            if _is_related_list(path):
                self._lists.setdefault(path.split("__")[0], []).append(leaf)

    def steps(
        self, queryset: models.QuerySet[ScheduledProcedureStep], *, enough: int | None
    ) -> Generator[tuple[int, Item], None, None]:
        """Each candidate step's id and item, without what other rows hold of it."""
        read: Any = queryset.values_list("pk", *self._paths)
        # A cursor of the server's costs statements of its own: only where the end is not known.
        if enough is not None:
            yield from map(self._step, read[:enough])
            return
        with closing(read.iterator(chunk_size=_CHUNK)) as candidates:
            yield from map(self._step, candidates)

    def _step(self, row: Sequence[Any]) -> tuple[int, Item]:
        pk, *columns = row
        held = {
            attribute: _values(attribute, stored)
            for attribute, stored in zip(self._columns, columns, strict=True)
        }
        return pk, self._item(attributes.TABLE, held, step=pk)

    def _item(
        self,
        table: Sequence[Attribute],
        held: dict[Attribute, tuple[values.Value, ...]],
        *,
        step: int | None = None,
    ) -> Item:
        leaves = {attribute: held[attribute] for attribute in table if attribute in held}
        items: dict[Attribute, tuple[Item, ...]] = {}
        for attribute in table:
            if not attribute.is_sequence or attribute not in self._needed:
                continue
            inner = self._item(attribute.items, held)
            # K.6-1: exactly one item for the step; elsewhere an item without a value is none.
            is_there = attribute is _STEP or any(inner.values.values())
            items[attribute] = (inner,) if is_there else ()
        return Item(leaves, items, step)

    def with_relations(self, found: Sequence[tuple[int, Item]]) -> tuple[Item, ...]:
        """The items with the values that stand in rows of their own, one statement a relation."""
        if not found or not self._lists:
            return tuple(item for _, item in found)
        related = {
            relation: self._related([pk for pk, _ in found], relation, leaves)
            for relation, leaves in self._lists.items()
        }
        return tuple(self._completed(pk, item, related) for pk, item in found)

    def _related(
        self, keys: Sequence[int], relation: str, leaves: list[Attribute]
    ) -> dict[int, list[dict[Attribute, tuple[values.Value, ...]]]]:
        through, step, target = _through(relation)
        paths = [f"{target}__{leaf.column.split('__')[-1]}" for leaf in leaves]
        read = (
            through._default_manager.filter(**{f"{step}__in": keys})
            .order_by("position")
            .values_list(f"{step}_id", *paths)
        )
        held: dict[int, list[dict[Attribute, tuple[values.Value, ...]]]] = {}
        for pk, *columns in read:
            held.setdefault(pk, []).append(
                {
                    leaf: (stored,) if stored else ()
                    for leaf, stored in zip(leaves, columns, strict=True)
                }
            )
        return held

    def _completed(
        self,
        pk: int,
        item: Item,
        related: dict[str, dict[int, list[dict[Attribute, tuple[values.Value, ...]]]]],
    ) -> Item:
        (inner,) = item.items[_STEP]
        leaves, items = dict(inner.values), dict(inner.items)
        for relation, by_step in related.items():
            entries = by_step.get(pk, [])
            for leaf in self._lists[relation]:
                if leaf.parent is _STEP:
                    leaves[leaf] = tuple(value for entry in entries for value in entry[leaf])
                elif leaf.parent is not None:
                    items[leaf.parent] = tuple(Item(entry, {}) for entry in entries)
        return Item(item.values, {**item.items, _STEP: (Item(leaves, items),)}, step=pk)


def _returned(returns: Sequence[Return]) -> Iterator[Attribute]:
    for returned in returns:
        yield returned.attribute
        yield from _returned(returned.items)


def _named(condition: Condition) -> Iterator[Attribute]:
    yield from condition.attributes
    if isinstance(condition, AnyItem):
        for inner in condition.conditions:
            yield from _named(inner)


def _values(attribute: Attribute, stored: Any) -> tuple[values.Value, ...]:
    if stored is None or stored == "":
        return ()
    return values.split(stored) if attribute.is_multi_valued else (stored,)
