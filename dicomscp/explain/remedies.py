"""What would help: for each cause that we can do something about, what to do, and the doing of it.

A remedy is offered only when the rules that it makes let the step through where they do not now.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from dicomscp import scope
from dicomscp.access import Reason
from dicomscp.explain import keys
from dicomscp.explain.keys import KeyVerdict
from dicomscp.explain.story import Cause, Explanation, RuleKind
from dicomscp.matching import AnyItem, Condition, Either, Like, OneOf
from dicomscp.scope import Rules
from worklist import catalogue, clock, scheduling, values
from worklist.attributes import Attribute
from worklist.audit.trail import Actor
from worklist.models import ScheduledProcedureStep, Station, StationTitle, StepStatus
from worklist.scheduling import held as steps_held
from worklist.scheduling.conflicts import ConflictsFound

STATIONS = "worklist.manage_stations"
BOOK = "worklist.schedule_exam"
_MOST_HOURS = 9999


class Kind(enum.StrEnum):
    """What is changed."""

    TITLE = "title"
    ALIAS = "alias"
    STATUS = "status"
    HOURS_BEFORE = "hours-before"
    HOURS_AFTER = "hours-after"
    IGNORE = "ignore"
    ALLOW = "allow"
    ADDRESS = "address"
    # The step's own stations, not the station.
    BOOK = "book"


@dataclass(frozen=True)
class Remedy:
    """One thing that would help; `key` names it in a form."""

    kind: Kind
    value: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.value}"

    @property
    def permission(self) -> str:
        return BOOK if self.kind is Kind.BOOK else STATIONS

    def words(self, told: Explanation) -> str:
        """What the button says."""
        values = {"value": self.value, "scanner": told.caller.name}
        if self.kind is Kind.ALIAS:
            asked, held = self.value.split("=")
            values |= {"asked": asked, "held": held}
        if self.kind is Kind.IGNORE:
            values["value"] = scope.IGNORABLE[self.value].name
        if self.kind is Kind.STATUS:
            values["value"] = str(dict(StepStatus.choices).get(self.value, self.value))
        sentence = {
            Kind.TITLE: _("Treat %(value)s as a further AE title of %(scanner)s"),
            Kind.ALIAS: _("Count %(held)s as %(asked)s for %(scanner)s"),
            Kind.STATUS: _("Show exams that are %(value)s on %(scanner)s"),
            Kind.HOURS_BEFORE: _("Show exams of the last %(value)s hours on %(scanner)s"),
            Kind.HOURS_AFTER: _("Show exams of the next %(value)s hours on %(scanner)s"),
            Kind.IGNORE: _("Ignore what %(scanner)s asks for as %(value)s"),
            Kind.ALLOW: _("Let %(scanner)s ask"),
            Kind.ADDRESS: _("Accept %(scanner)s from %(value)s, too"),
            Kind.BOOK: _("Book this exam on %(scanner)s, too"),
        }[self.kind]
        return sentence % values


def of(told: Explanation) -> tuple[Remedy, ...]:
    """What we can do about what is in the way, the first cause first."""
    if told.caller.station is None:
        return ()
    found = (remedy for cause in told.causes for remedy in _FOR.get(cause, _none)(told))
    return tuple(dict.fromkeys(found))


def _none(told: Explanation) -> Iterator[Remedy]:
    yield from ()


def _for_other_title(told: Explanation) -> Iterator[Remedy]:
    if told.reached.impostor is not None:
        yield Remedy(Kind.TITLE, told.reached.impostor.calling)


def _for_rejected(told: Explanation) -> Iterator[Remedy]:
    association = told.accepted.association
    if told.accepted.reason is Reason.SWITCHED_OFF:
        yield Remedy(Kind.ALLOW)
    if told.accepted.reason is Reason.ADDRESS and association is not None:
        yield Remedy(Kind.ADDRESS, association.address)


def _for_key(told: Explanation) -> Iterator[Remedy]:
    for verdict in told.keys.failing:
        if verdict.attributes == (keys.TITLE,):
            yield from _for_title(told, verdict)
        elif verdict.attributes == (keys.MODALITY,):
            (held,) = verdict.held or ("",)
            for asked in _asked(verdict):
                yield from _if_it_helps(told, Remedy(Kind.ALIAS, f"{asked}={held}"), keys.MODALITY)
        # A day that is not the exam's is no mistake: without it the list has no end.
        if verdict.attributes[0].keyword in scope.IGNORABLE and keys.DATE not in verdict.attributes:
            yield Remedy(Kind.IGNORE, verdict.attributes[0].keyword)


def _for_title(told: Explanation, verdict: KeyVerdict) -> Iterator[Remedy]:
    for title in _asked(verdict):
        if title in told.caller.titles:
            # Its own, and the exam is on another one.
            yield from _booking(told)
        elif not _is_taken(title):
            yield from _if_it_helps(told, Remedy(Kind.TITLE, title), keys.TITLE)


def _for_rule(told: Explanation) -> Iterator[Remedy]:
    for verdict in told.rules.failing:
        if verdict.kind is RuleKind.TITLE:
            yield from _booking(told)
        elif verdict.kind is RuleKind.MODALITY:
            (held,) = verdict.held or ("",)
            pair = f"{told.caller.rules.modality}={held}"
            yield from _if_it_helps(told, Remedy(Kind.ALIAS, pair), keys.MODALITY)
        elif verdict.kind is RuleKind.WINDOW:
            yield from _for_window(told)
        elif told.step.status != StepStatus.CANCELED:
            yield Remedy(Kind.STATUS, told.step.status)


def _booking(told: Explanation) -> Iterator[Remedy]:
    if scheduling.steps.may_move(told.step.status):
        yield Remedy(Kind.BOOK)


def _for_window(told: Explanation) -> Iterator[Remedy]:
    start = dt.datetime.combine(told.step.start_date, told.step.start_time)
    hours = (start - clock.now()).total_seconds() / 3600
    kind = Kind.HOURS_AFTER if hours > 0 else Kind.HOURS_BEFORE
    needed = math.ceil(abs(hours))
    if needed <= _MOST_HOURS:
        yield Remedy(kind, str(needed))


_FOR: dict[Cause, Callable[[Explanation], Iterator[Remedy]]] = {
    Cause.OTHER_TITLE: _for_other_title,
    Cause.REJECTED: _for_rejected,
    Cause.KEY: _for_key,
    Cause.RULE: _for_rule,
}


def _asked(verdict: KeyVerdict) -> tuple[str, ...]:
    """The values that a key asks for, those with wildcards left out."""
    condition: Condition | None = verdict.condition
    if isinstance(condition, Either):
        condition = condition.conditions[0]
    if isinstance(condition, OneOf):
        return tuple(map(values.spell, condition.wanted))
    if isinstance(condition, Like):
        return tuple(each for each in condition.patterns if not set(each) & set("*?"))
    return ()


def _is_taken(title: str) -> bool:
    return (
        Station.objects.filter(ae_title=title).exists()
        or StationTitle.objects.filter(ae_title=title).exists()
    )


# --- whether it helps -----------------------------------------------------------------------------


def under(rules: Rules, remedy: Remedy) -> Rules:
    """The rules as they are with a remedy."""
    if remedy.kind is Kind.TITLE:
        return replace(rules, titles=tuple(sorted({*rules.titles, remedy.value})))
    if remedy.kind is Kind.ALIAS:
        asked, held = remedy.value.split("=")
        return replace(rules, aliases=tuple(sorted({*rules.aliases, (asked, held)})))
    if remedy.kind is Kind.IGNORE:
        return replace(rules, ignored=tuple(sorted({*rules.ignored, remedy.value})))
    if remedy.kind is Kind.STATUS:
        return replace(rules, statuses=tuple(sorted({*rules.statuses, remedy.value})))
    if remedy.kind is Kind.HOURS_BEFORE:
        return replace(rules, hours_before=int(remedy.value))
    if remedy.kind is Kind.HOURS_AFTER:
        return replace(rules, hours_after=int(remedy.value))
    return rules


def _if_it_helps(told: Explanation, remedy: Remedy, attribute: Attribute) -> Iterator[Remedy]:
    """The remedy, when with it all conditions on this attribute are met."""
    if told.plan is None:
        return
    changed = under(told.caller.rules, remedy)
    scoped = scope.under(told.plan, changed, now=clock.now())
    conditions = (*scoped.plan.conditions, *scoped.conditions)
    about = [
        AnyItem(keys.STEP, (inner,))
        for each in conditions
        if isinstance(each, AnyItem) and each.attribute is keys.STEP
        for inner in each.conditions
        if attribute in inner.attributes
    ]
    if all(condition.matches(told.item) for condition in about):
        yield remedy


# --- the doing ------------------------------------------------------------------------------------


def apply(told: Explanation, remedy: Remedy, *, by: Actor, seen: int | None) -> Station:
    """Change the station as the remedy says. Raises StaleError and ValidationError."""
    station = told.caller.station
    assert station is not None
    assert remedy.kind is not Kind.BOOK
    rules = under(told.caller.rules, remedy)
    station.hours_before, station.hours_after = rules.hours_before, rules.hours_after
    station.ignored_keys = " ".join(rules.ignored)
    if remedy.kind is Kind.ALLOW:
        station.is_allowed = True
    if remedy.kind is Kind.ADDRESS:
        station.networks = ", ".join(filter(None, (station.networks, remedy.value)))
    return catalogue.save_station(
        station,
        titles=rules.titles if remedy.kind is Kind.TITLE else None,
        modality_aliases=rules.aliases if remedy.kind is Kind.ALIAS else None,
        shown_statuses=rules.statuses if remedy.kind is Kind.STATUS else None,
        seen=seen,
        by=by,
    )


def book(told: Explanation, *, by: Actor, version: int | None) -> ScheduledProcedureStep:
    """Book the step on the station, too. Raises StaleVersion, ConflictsFound, ValidationError."""
    station = told.caller.station
    assert station is not None
    step = told.step
    stations = [*steps_held.stations_of(step), station]
    start = dt.datetime.combine(step.start_date, step.start_time)

    def on_both(accepted: Collection[str]) -> ScheduledProcedureStep:
        return scheduling.reschedule(
            step, start, stations=stations, by=by, version=version, accepted=accepted
        )

    try:
        return on_both(())
    except ConflictsFound as error:
        # That its time has passed is no news: it keeps the time that it has.
        if any(conflict.code != "past" for conflict in error.conflicts):
            raise
        return on_both([conflict.fingerprint for conflict in error.conflicts])


# --- what we can say, and not do ------------------------------------------------------------------


def advice(told: Explanation) -> tuple[str, ...]:
    """What is to be corrected on the scanner, or at another page of ours."""
    found = []
    if Cause.KEY in told.causes:
        found += [_correct(told, verdict) for verdict in told.keys.failing]
    if Cause.MISPLACED in told.causes:
        found.append(
            _(
                "On the scanner, or by its service: have the key sent as an attribute of the "
                "Scheduled Procedure Step Sequence."
            )
        )
    if Cause.RULE in told.causes and told.step.status == StepStatus.CANCELED:
        found.append(_("The exam is cancelled: if it is to be done after all, book it again."))
    if Cause.LIMIT in told.causes:
        found.append(_("Or raise the limit on the page of the scanner."))
    if Cause.NOT_ENCODABLE in told.causes:
        found.append(
            _("If the scanner reads Unicode, set it to ISO_IR 192 on the page of the scanner.")
        )
    return tuple(found)


def _correct(told: Explanation, verdict: KeyVerdict) -> str:
    told_ = {"key": verdict.name, "held": ", ".join(verdict.held), "asked": verdict.asked}
    if keys.DATE in verdict.attributes:
        return _("On the scanner: ask for the day of the exam; or move the exam to that day.")
    if verdict.attributes in ((keys.TITLE,), (keys.MODALITY,)):
        return _("Or on the scanner: set %(key)s to %(held)s instead of %(asked)s.") % told_
    return _("On the scanner: leave the field %(key)s empty, or correct what it asks for.") % told_
