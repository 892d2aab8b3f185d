"""What the asking AE may see: a station's rules as conditions of the same kind as its keys' are.

Pure: no database, no network.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dicomscp.matching import AnyItem, Condition, Either, Interval, Like, OneOf, Unknown, is_like
from dicomscp.plan import QueryPlan
from worklist import attributes
from worklist.attributes import Attribute
from worklist.character_set import CharacterSet
from worklist.values import Value

_STEP = attributes.find("ScheduledProcedureStepSequence")
_TITLE = attributes.find("ScheduledProcedureStepSequence", "ScheduledStationAETitle")
_MODALITY = attributes.find("ScheduledProcedureStepSequence", "Modality")
_STATUS = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStatus")
_DATE = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStartDate")
_TIME = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStartTime")
# Who asks by one of these means one patient or order, on whatever day: a bar code is read (H36).
# They are the keys of IHE's patient-based queries.
OF_A_PATIENT = tuple(
    attributes.find(keyword)
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "RequestedProcedureID")
)

# Keys that a console may send wrongly without end, and that can be ignored for it. Never those that
# mean one patient, order or study: who asks for one is not answered with others. Without the day a
# time says nothing: it goes with it.
IGNORABLE = {
    each.keyword: each
    for each in (*attributes.TABLE, *_STEP.items)
    if each not in (*OF_A_PATIENT, _STEP, _TIME) and each.keyword != "StudyInstanceUID"
}

# PS3.3 C.4.10. STARTED stays in sight: a console that crashed needs the entry again.
OPEN_STATUSES = ("SCHEDULED", "ARRIVED", "READY", "STARTED")

Sees = Literal["ALL", "MODALITY", "OWN_AND_UNASSIGNED", "OWN"]


@dataclass(frozen=True)
class Rules:
    """What is set of a station; as it is by default, of a caller that is none.

    `titles` are its further AE titles; `aliases` pairs of a modality that is asked for and one that
    counts as it. Hours are counted from the minute that it is; None is no bound on
    that side.
    """

    ae_title: str = ""
    titles: tuple[str, ...] = ()
    modality: str = ""
    sees: Sees = "ALL"
    calling_title_counts: bool = False
    aliases: tuple[tuple[str, str], ...] = ()
    statuses: tuple[str, ...] = OPEN_STATUSES
    hours_before: int | None = None
    hours_after: int | None = None
    keys_override_window: bool = True
    match_limit: int | None = None
    character_set: CharacterSet | None = None
    alphabetic_only: bool = False
    # Keywords of IGNORABLE: what is asked for there is no condition.
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scoped:
    """A plan as it counts for one station, and what holds beside its keys."""

    plan: QueryPlan
    conditions: tuple[Condition, ...]


NO_RULES = Rules()


def under(plan: QueryPlan, rules: Rules, *, now: dt.datetime) -> Scoped:
    """The plan under a station's rules; `now` is the site's wall clock."""
    plan = _without_ignored(plan, rules)
    widened = _widened(plan, rules)
    inner = tuple(_conditions(plan, rules, now))
    return Scoped(widened, tuple(AnyItem(_STEP, (condition,)) for condition in inner))


def _conditions(plan: QueryPlan, rules: Rules, now: dt.datetime) -> Iterator[Condition]:
    """What the step must be, beside what the keys ask for."""
    asked = set(_of_step(plan))
    if _STATUS not in asked:
        yield OneOf(_STATUS, rules.statuses)
    own = OneOf(_TITLE, (rules.ae_title,))
    if rules.sees == "OWN" or (rules.calling_title_counts and _TITLE not in asked):
        yield own
    elif rules.sees == "OWN_AND_UNASSIGNED":
        yield Either((own, Unknown(_TITLE)))
    if rules.sees == "MODALITY":
        yield OneOf(_MODALITY, (rules.modality, *_held(rules, [rules.modality])))
    window = _window(rules, now)
    if window and not (rules.keys_override_window and _asks_for_a_patient(plan)):
        yield window


def moment(rules: Rules, now: dt.datetime) -> dt.datetime | None:
    """What of the time the rules depend on: the minute, where they have hours, else nothing."""
    if rules.hours_before is None and rules.hours_after is None:
        return None
    return now.replace(second=0, microsecond=0)


def _window(rules: Rules, now: dt.datetime) -> Interval | None:
    minute = moment(rules, now)
    if minute is None:
        return None
    low = high = None
    if rules.hours_before is not None:
        low = minute - dt.timedelta(hours=rules.hours_before)
    if rules.hours_after is not None:
        high = minute + dt.timedelta(hours=rules.hours_after)
    return Interval(_DATE, _TIME, low, high)


def _asks_for_a_patient(plan: QueryPlan) -> bool:
    return any(getattr(each, "attribute", None) in OF_A_PATIENT for each in plan.conditions)


def _of_step(plan: QueryPlan) -> Iterator[Attribute | None]:
    """The attributes of the step's item that a key sets a condition on."""
    for condition in plan.conditions:
        if isinstance(condition, AnyItem) and condition.attribute is _STEP:
            for inner in condition.conditions:
                yield getattr(inner, "attribute", None)


def ignored(rules: Rules) -> frozenset[Attribute]:
    """The attributes on which a station's keys set no condition."""
    found = {IGNORABLE[keyword] for keyword in rules.ignored if keyword in IGNORABLE}
    return frozenset(found | {_TIME} if _DATE in found else found)


def _without_ignored(plan: QueryPlan, rules: Rules) -> QueryPlan:
    """The plan without the conditions of keys that are ignored: what they return stays."""
    without = ignored(rules)
    if not without:
        return plan
    return replace(plan, conditions=tuple(_kept(plan.conditions, without)))


def _kept(conditions: Sequence[Condition], without: frozenset[Attribute]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, AnyItem) and condition.attribute is _STEP:
            if inner := tuple(_kept(condition.conditions, without)):
                yield AnyItem(_STEP, inner)
        elif not without & set(condition.attributes):
            yield condition


# --- what counts as another -----------------------------------------------------------------------


def _widened(plan: QueryPlan, rules: Rules) -> QueryPlan:
    """The plan in which other modalities and further AE titles count as the station says."""
    if not rules.aliases and not rules.titles:
        return plan
    return replace(plan, conditions=tuple(_wide(each, rules) for each in plan.conditions))


def _wide(condition: Condition, rules: Rules) -> Condition:
    if isinstance(condition, AnyItem) and condition.attribute is _STEP:
        return AnyItem(_STEP, tuple(_wide_leaf(inner, rules) for inner in condition.conditions))
    return condition


def _wide_leaf(condition: Condition, rules: Rules) -> Condition:
    if not isinstance(condition, OneOf | Like):
        return condition
    asked: Sequence[Value] = (
        condition.wanted if isinstance(condition, OneOf) else condition.patterns
    )
    if condition.attribute is _MODALITY:
        held = _held(rules, asked)
        if held:
            because = f"{' or '.join(held)} counts as {' or '.join(map(str, asked))} here"
            return Either((condition, OneOf(_MODALITY, held)), because)
    if condition.attribute is _TITLE and not _is_named(rules.ae_title, condition):
        named = [title for title in rules.titles if _is_named(title, condition)]
        if named:
            because = f"{' or '.join(named)} is another AE title of {rules.ae_title}"
            return Either((condition, OneOf(_TITLE, (rules.ae_title,))), because)
    return condition


def _is_named(title: str, condition: OneOf | Like) -> bool:
    """Whether a key asks for this AE title, by itself or with wildcards."""
    if isinstance(condition, OneOf):
        return title in condition.wanted
    return any(is_like(title, pattern) for pattern in condition.patterns)


def _held(rules: Rules, asked: Sequence[Value]) -> tuple[str, ...]:
    """The modalities that count as one of those asked for, and are none of them."""
    found = (held for one, held in rules.aliases if one in asked and held not in asked)
    return tuple(dict.fromkeys(found))
