"""Why a scanner does not show an exam: the way of one step to one station, step by step.

It asks the very plan, rules and conditions by which the SCP answers, one by one: explain says that
a step is sent if and only if the SCP sends it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

from django.conf import settings

from dicomscp import find, plan, scope
from dicomscp.asked import elements as elements_of
from dicomscp.explain import heard, keys, suspects
from dicomscp.explain.story import (
    Asked,
    Caller,
    Cause,
    Delivered,
    Dropped,
    Explanation,
    Keys,
    OwnRules,
    Place,
    Refused,
    RuleKind,
    RuleVerdict,
    Sent,
)
from dicomscp.find import TooManyMatches
from dicomscp.matching import AnyItem, Interval, Item
from dicomscp.models import Query
from dicomscp.plan import QueryPlan
from dicomscp.scope import Rules, Scoped
from dicomscp.status import CANCEL, NOT_AUTHORISED, Refusal
from worklist import clock, values
from worklist.models import ScheduledProcedureStep, Station

_EVERYTHING = plan.everything()


def of_station(
    step: ScheduledProcedureStep,
    station: Station,
    *,
    query: Query | None = None,
    is_running: bool | None = None,
) -> Explanation:
    """Why this station does not show the step: by its last query, or by the one that is given."""
    return _explained(step, heard.of_station(station), query, is_running)


def of_query(step: ScheduledProcedureStep, query: Query) -> Explanation:
    """Why this query did not bring the step, whoever asked it."""
    return _explained(step, heard.of_query(query), query, None)


def _explained(
    step: ScheduledProcedureStep, caller: Caller, query: Query | None, is_running: bool | None
) -> Explanation:
    recent = heard.queries(caller)
    is_chosen = query is not None
    if query is None and recent:
        query = recent[0]
    reached = heard.reached(caller, is_running=is_running)
    accepted = heard.accepted(reached, query, is_chosen=is_chosen)
    if query is None:
        asked, wanted = Asked(None), None
    else:
        asked, wanted = _asked(query, is_chosen=is_chosen, others=tuple(recent))
    # What the keys look at, too, is among everything.
    (item,) = find.items([step.pk], returns=_EVERYTHING.returns)
    now = clock.now()
    scoped = scope.under(wanted or _EVERYTHING, caller.rules, now=now)
    if query is not None and wanted is not None:
        verdicts = keys.of(elements_of(query), wanted, scoped.plan, item)
        matched = Keys(verdicts, is_read=True)
    else:
        matched = Keys()
    own = own_rules(scoped, item)
    if matched.match and own.match:
        assert wanted is not None
        own = replace(own, place=_place(wanted, caller.rules, step, now=now))
    delivered = _delivered(step, query, recent)
    returned = wanted or _EVERYTHING
    about_step = step.requested_procedure
    changed = max(
        row.changed_at for row in (step, about_step, about_step.request, about_step.request.patient)
    )
    told = Explanation(
        step=step,
        caller=caller,
        changed=changed,
        is_new=step.version == 1 and changed == step.changed_at,
        reached=reached,
        accepted=accepted,
        asked=asked,
        keys=matched,
        rules=own,
        sent=Sent(suspects.sendable(returned, item, caller.rules)),
        delivered=delivered,
        dropped=Dropped(
            suspects.suspects(returned, item, caller.rules, titles=caller.titles),
            is_asked=True,
        )
        if delivered.is_sent is not False
        else Dropped(),
        item=item,
        plan=wanted,
    )
    return replace(told, causes=tuple(dict.fromkeys(_causes(told))))


def _asked(
    query: Query, *, is_chosen: bool, others: tuple[Query, ...]
) -> tuple[Asked, QueryPlan | None]:
    try:
        wanted = plan.make(elements_of(query))
    except Refusal as refusal:
        return Asked(query, is_chosen, others, refusal), None
    return Asked(query, is_chosen, others), wanted


# --- our own rules --------------------------------------------------------------------------------

_KINDS = {
    keys.STATUS: RuleKind.STATUS,
    keys.TITLE: RuleKind.TITLE,
    keys.MODALITY: RuleKind.MODALITY,
}


def own_rules(scoped: Scoped, item: Item) -> OwnRules:
    """Each of our own rules with its verdict on this step."""
    (held,) = item.items[keys.STEP]
    verdicts = []
    for condition in scoped.conditions:
        assert isinstance(condition, AnyItem)
        (leaf,) = condition.conditions
        about = leaf.attributes
        kind = RuleKind.WINDOW if isinstance(leaf, Interval) else _KINDS[about[0]]
        shown = tuple(values.spell(value) for each in about for value in held.values[each])
        verdicts.append(RuleVerdict(kind, leaf, shown, condition.matches(item)))
    return OwnRules(tuple(verdicts))


def _place(
    wanted: QueryPlan, rules: Rules, step: ScheduledProcedureStep, *, now: dt.datetime
) -> Place:
    """Where in the answer the step stands: the SCP's own way, without what is returned."""
    limit = rules.match_limit or settings.DICOM_MATCH_LIMIT
    try:
        items = find.answer(replace(wanted, returns=()), rules, now=now)
    except TooManyMatches as error:
        return Place(limit, count=error.count, is_over=True)
    order = [item.step for item in items]
    # It may have been changed this very moment.
    position = order.index(step.pk) + 1 if step.pk in order else None
    return Place(limit, position, len(order))


# --- delivered ------------------------------------------------------------------------------------


def _delivered(step: ScheduledProcedureStep, query: Query | None, recent: list[Query]) -> Delivered:
    last = next((each for each in recent if step.pk in each.steps), None)
    if query is None:
        return Delivered(last=last)
    if step.pk in query.steps:
        at = query.at + dt.timedelta(milliseconds=query.milliseconds)
        return Delivered(True, at, query)
    return Delivered(None if query.sent > len(query.steps) else False, last=last)


# --- the short answer -----------------------------------------------------------------------------


def _causes(told: Explanation) -> Iterator[Cause]:
    """What is in the way, in the fixed order; what would be in it after that, too."""
    yield from _before_the_query(told)
    query = told.asked.query
    if query is None:
        if not told.rules.match:
            yield Cause.RULE
        return
    is_sent = told.delivered.is_sent
    if not told.would_match:
        in_the_way = tuple(_now(told))
        if told.changed > query.at or not in_the_way:
            yield Cause.NOT_SINCE
        yield from in_the_way
        return
    if is_sent is False:
        # It would be sent now, and was not then.
        yield from _then(told, query)
        return
    if told.keys.misplaced:
        yield Cause.MISPLACED
    if told.sent.sendable is not None and not told.sent.sendable.fits:
        yield Cause.NOT_ENCODABLE
    yield Cause.DELIVERED


def _before_the_query(told: Explanation) -> Iterator[Cause]:
    if told.reached.is_running is False:
        yield Cause.NOT_RUNNING
    if not told.asked.is_chosen:
        if told.reached.impostor is not None:
            yield Cause.OTHER_TITLE
        elif told.reached.last is None and told.asked.query is None:
            yield Cause.NEVER_HEARD
    refused = told.accepted.refused
    if refused is Refused.REJECTED:
        yield Cause.REJECTED
    elif refused in (Refused.CONTEXT_REFUSED, Refused.NO_CONTEXT):
        yield Cause.NO_CONTEXT
    elif refused is Refused.SILENT:
        yield Cause.NEVER_ASKED


def _then(told: Explanation, query: Query) -> Iterator[Cause]:
    """Why the answer did not have what it would have now."""
    if query.status == NOT_AUTHORISED:
        yield Cause.REJECTED
    elif query.status in (CANCEL, None):
        yield Cause.BROKEN_OFF
    elif told.changed > query.at or not told.asked.failed:
        yield Cause.NOT_SINCE
    else:
        yield Cause.FAILED


def _now(told: Explanation) -> Iterator[Cause]:
    """What is in the way now, however often the scanner asks."""
    place = told.rules.place
    if told.asked.refusal is not None:
        yield Cause.MALFORMED
    if told.keys.failing:
        yield Cause.KEY
    if told.rules.failing:
        yield Cause.RULE
    if place is not None and place.is_over:
        if told.keys.misplaced:
            yield Cause.MISPLACED
        yield Cause.LIMIT
