"""A condition as SQL: a Q that every match meets, and what of the condition it leaves undecided.

No pynetdicom, no Identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, models
from django.db.models import Exists, F, Func, OuterRef, Q, Subquery

from dicomscp import lookups, matching
from dicomscp.matching import (
    AnyItem,
    Between,
    Condition,
    Either,
    Interval,
    Like,
    NameLike,
    NumberIs,
    OneOf,
    Unknown,
)
from worklist import attributes, values
from worklist.attributes import Attribute
from worklist.models import ScheduledProcedureStep

_STEP = attributes.find("ScheduledProcedureStepSequence")
_STATUS = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStatus")
_DATE = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStartDate")
_TITLE = attributes.find("ScheduledProcedureStepSequence", "ScheduledStationAETitle")
_NOTHING = Q()


def column(attribute: Attribute) -> str:
    """The ORM path of an attribute; in a sequence with a relation, from the step all the same."""
    parent = attribute.parent
    if parent is not None and parent.column:
        return f"{parent.column}__{attribute.column}"
    return attribute.column


def _is_related_list(path: str) -> bool:
    """Whether the path leads through rows of their own: a step has several."""
    first = ScheduledProcedureStep._meta.get_field(path.split("__")[0])
    return isinstance(first, models.ManyToManyField)


def relation(attribute: Attribute) -> str:
    """The relation to the rows of their own that hold the attribute, "" when the step's do."""
    path = column(attribute)
    return path.split("__")[0] if path and _is_related_list(path) else ""


def _is_list(sequence: Attribute) -> bool:
    """Whether the items of a sequence are rows of their own."""
    return bool(sequence.column) and _is_related_list(sequence.column)


# By these few steps are found, whatever is asked for.
_ANCHORS = frozenset(
    {
        "AccessionNumber",
        "PatientID",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "ScheduledProcedureStepStartDate",
        "StudyInstanceUID",
    }
)


def narrow_all(conditions: Sequence[Condition]) -> Q:
    """A Q that every step meets that meets them all; for most conditions nothing else meets it."""
    are_few = any(map(_leaves_few, _leaves(conditions)))
    copied = _copied(conditions)
    where = Q()
    for condition in conditions:
        if isinstance(condition, NameLike):
            where &= _narrow_name(condition, column(condition.attribute), is_of_few=are_few)
        else:
            where &= narrow(condition, copied)
    return where


def _copied(conditions: Sequence[Condition]) -> Q:
    """What holds of the step's day and status, of their copies with each of its stations."""
    where = Q()
    if connection.vendor != "postgresql":
        return where
    for condition in conditions:
        if isinstance(condition, AnyItem) and condition.attribute is _STEP:
            where &= _copied(condition.conditions)
        elif isinstance(condition, OneOf | Between):
            if condition.attribute in (_DATE, _STATUS):
                where &= _narrow_column(condition, condition.attribute.column)
        elif isinstance(condition, Interval) and condition.date is _DATE:
            low, high = condition.low, condition.high
            where &= _narrow_column(
                Between(_DATE, low.date() if low else None, high.date() if high else None),
                _DATE.column,
            )
    return where


# So many days of a worklist are fewer than what holds three letters somewhere in a name.
_A_FEW_DAYS = timedelta(days=14)


def _leaves_few(condition: Condition) -> bool:
    """Whether it is met by few steps, whatever values are asked for."""
    if not any(one.keyword in _ANCHORS for one in condition.attributes):
        return False
    if isinstance(condition, Between | Interval):
        low, high = condition.low, condition.high
        return low is not None and high is not None and high - low < _A_FEW_DAYS  # type: ignore[operator]  # of days
    return isinstance(condition, OneOf)


def narrow(condition: Condition, copied: Q) -> Q:
    """The same of one of them; `copied` holds of each of the step's stations as well."""
    if isinstance(condition, AnyItem):
        if _is_list(condition.attribute):
            return _narrow_list(condition.attribute.column, condition.conditions)
        where = Q()
        for inner in condition.conditions:
            where &= narrow(inner, copied)
        return where
    if isinstance(condition, Interval):
        return _narrow_interval(condition)
    if isinstance(condition, Either):
        return _any(narrow(each, copied) for each in condition.conditions)
    path = column(condition.attribute)
    if isinstance(condition, Unknown):
        return _narrow_unknown(path)
    if condition.attribute.parent is not None and _is_related_list(path):
        is_station = condition.attribute is _TITLE
        return _narrow_list(path.split("__")[0], (condition,), copied if is_station else Q())
    return _narrow_column(condition, path)


class _Among(Func):
    """Whether a key is one of those that a sub-select answers, which is read once and first.

    As a join PostgreSQL would look at the related row of every candidate.
    """

    output_field = models.BooleanField()
    template = "%(expressions)s"
    arg_joiner = " IN "

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(
            compiler,
            connection,
            template="%(expressions)s)",
            arg_joiner=" = ANY(ARRAY",
            **context,
        )


def _narrow_list(relation: str, conditions: Sequence[Condition], copied: Q = _NOTHING) -> Q:
    """One related row meets all the conditions together (C.2.2.2.6)."""
    through, step, target = linked(relation)
    where = Q()
    for condition in conditions:
        assert not isinstance(condition, AnyItem | Interval | Either | Unknown)
        where &= _narrow_column(condition, condition.attribute.column.split("__")[-1])
    model: Any = through._meta.get_field(target).related_model
    meeting = model._default_manager.filter(where)
    keys = Subquery(meeting.order_by().values("pk"))
    # Of one AE title there is one station: said so, PostgreSQL expects its steps, not all.
    is_one = Q(**{target: keys}) if _names_one_station(conditions) else _Among(F(target), keys)
    rows = through._default_manager.filter(is_one, **{step: OuterRef("pk")})
    return Q(Exists(rows.filter(copied)))


def _names_one_station(conditions: Sequence[Condition]) -> bool:
    (first, *others) = conditions
    return (
        not others
        and isinstance(first, OneOf)
        and first.attribute is _TITLE
        and len(first.wanted) == 1
    )


def _narrow_unknown(path: str) -> Q:
    assert _is_related_list(path)
    through, step, _ = linked(path.split("__")[0])
    return ~Q(Exists(through._default_manager.filter(**{step: OuterRef("pk")})))


def linked(relation: str) -> tuple[type[models.Model], str, str]:
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
        if condition.attribute is _STATUS and lookups.KNOWN_STATUSES.issuperset(condition.wanted):
            return Q(**{f"{path}__dicom_status": condition.wanted})
        return Q(**{f"{path}__in": condition.wanted})
    if isinstance(condition, Like):
        edge = "%" if multi_valued else ""
        # An unknown value meets no key (K.2.2.1.1.1), not even a pattern that needs no character.
        return ~Q(**{path: ""}) & _any(
            Q(**{f"{path}__dicom_like": f"{edge}{_like(pattern)}{edge}"})
            for pattern in condition.patterns
        )
    if isinstance(condition, NameLike):
        return _narrow_name(condition, path)
    if isinstance(condition, NumberIs):
        # No cast: databases refuse some numbers and round others.
        return ~Q(**{path: ""})
    bounds = {}
    if condition.low is not None:
        bounds[f"{path}__gte"] = condition.low
    if condition.high is not None:
        bounds[f"{path}__lte"] = condition.high
    return Q(**bounds)


def is_steady(conditions: Sequence[Condition]) -> bool:
    """Whether a database reads the matches alike, whichever values are asked for.

    By themselves a pattern is read by an index or not, depending on its first characters, and a
    status may be that of a few steps or of most.
    """
    leaves = list(_leaves(conditions))
    anchors = [each for each in leaves if any(one.keyword in _ANCHORS for one in each.attributes)]
    if any(isinstance(each, OneOf) for each in anchors):
        return True
    patterns = [each for each in leaves if isinstance(each, Like | NameLike)]
    if patterns:
        return all(map(_is_by_patient_name, patterns))
    return any(isinstance(each, Between | Interval) for each in anchors)


def _is_by_patient_name(condition: Condition) -> bool:
    """Whether it asks for a patient's name by its beginning, or by a part, long enough for the
    index of trigrams.
    """
    return (
        isinstance(condition, NameLike)
        and condition.attribute.keyword == "PatientName"
        and all(
            _literal(group) or re.match(r"\*.*[^*?^= ]{3}", group)
            for group in condition.groups
            if group
        )
    )


def _leaves(conditions: Sequence[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, AnyItem | Either):
            yield from _leaves(condition.conditions)
        else:
            yield condition


# What stands beside the step as well, kept there by the database.
_BESIDE = {"requested_procedure__request__patient__name_folded": "patient_name_folded"}


def _narrow_name(condition: NameLike, path: str, *, is_of_few: bool = False) -> Q:
    """`is_of_few`: other conditions leave few steps, which are looked at one by one."""
    column = _BESIDE.get(f"{path}_folded", f"{path}_folded")
    like = "dicom_like_of_few" if is_of_few else "dicom_like"
    is_multi_valued = _holds_several(condition.attribute)
    where = ~Q(**{column: ""})
    for group in filter(None, condition.groups):
        where &= _any(
            _name_like(column, spelling, like, is_multi_valued=is_multi_valued)
            for spelling in matching.spellings(group)
        )
    return where


def _name_like(path: str, spelling: str, like: str, *, is_multi_valued: bool) -> Q:
    """A group at the folded name's start, behind another group, or in another of its values."""
    pattern = _like(spelling) + "%"
    if pattern.startswith("%"):
        # It is found wherever it stands.
        return Q(**{f"{path}__{like}": pattern})
    literal = _literal(spelling)
    where = Q(**{f"{path}__dicom_begins": literal}) if literal else Q()
    if literal != spelling.rstrip("*"):
        where &= Q(**{f"{path}__dicom_like_of_few" if literal else f"{path}__{like}": pattern})
    where |= Q(**{f"{path}__dicom_like_in_group": f"%={pattern}"})
    if is_multi_valued:
        where |= Q(**{f"{path}__{like}": f"%\\\\{pattern}"})
    return where


def _literal(spelling: str) -> str:
    """What a pattern begins with, up to what stands for other characters."""
    return re.split("[*?]", spelling, maxsplit=1)[0]


def _narrow_interval(condition: Interval) -> Q:
    date, time = column(condition.date), column(condition.time)
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
    return attribute.is_multi_valued and not _is_related_list(column(attribute))


def undecided_of(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    left = (_undecided(condition) for condition in conditions)
    return tuple(condition for condition in left if condition is not None)


def _undecided(condition: Condition) -> Condition | None:
    """What of a condition SQL has not decided: names, numbers, several values in one column."""
    if isinstance(condition, AnyItem):
        if _is_list(condition.attribute):
            return None
        inner = undecided_of(condition.conditions)
        return AnyItem(condition.attribute, inner) if inner else None
    if isinstance(condition, NameLike | NumberIs):
        return condition
    if isinstance(condition, OneOf | Like) and _holds_several(condition.attribute):
        return condition
    return None
