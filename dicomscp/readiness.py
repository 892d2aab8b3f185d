"""Whether a step will show on a station from its next query, for many of both at once.

The station's last query that asked for a list is answered anew, by the plan, the rules and the
conditions of the SCP. A console that asked for its own day will ask for the new one on the next.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.db.models import prefetch_related_objects
from django.utils import timezone
from django.utils.translation import gettext as _

from dicomscp import access, asked, find, plan, recent, scope, stations
from dicomscp.access import Call, Reason
from dicomscp.explain import explanation, keys, words
from dicomscp.explain.keys import DATE, STEP, KeyVerdict, Texts
from dicomscp.explain.story import RuleKind, RuleVerdict
from dicomscp.matching import AnyItem, Between, Condition, Interval, Item, OneOf
from dicomscp.models import Query
from dicomscp.plan import QueryPlan, Return
from dicomscp.scope import OF_A_PATIENT, Rules, Scoped
from dicomscp.stations import Known
from dicomscp.status import Refusal
from worklist import clock
from worklist.models import Station, StepStation

# Among so many of a title's last queries the last one for a list is looked for.
_RECENT = 5


class State(enum.StrEnum):
    """What becomes of a step at a station's next query."""

    READY = "ready"
    # The console asks for one day or one number, or we show it some hours: it has not come to it.
    LATER = "later"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Light:
    """One step and one station. `seen` is when it was sent last; `key`, `rule` are in the way.

    `is_guess`: the station has never asked, so that its rules alone decide. `is_by_number`: it asks
    for one patient or order at a time, as with a bar-code reader, and for this one it may yet.
    """

    step: int
    station: Station
    state: State
    seen: dt.datetime | None = None
    is_guess: bool = False
    is_by_number: bool = False
    key: KeyVerdict | None = None
    rule: RuleVerdict | None = None
    is_past_limit: bool = False
    turned_away: Reason | None = None
    is_refused: bool = False

    @property
    def words(self) -> str:
        """The sentence that tells it."""
        scanner = self.station.friendly_name
        told = {"scanner": scanner, "reason": self._reason}
        if self.state is State.BLOCKED:
            return _("Not on %(scanner)s: %(reason)s") % told
        if self.state is State.LATER and self.is_by_number:
            return _("Will show on %(scanner)s when it asks for that patient or order") % told
        if self.state is State.LATER:
            return _("Will show on %(scanner)s when it asks for that time") % told
        if self.seen is not None:
            told["time"] = words.when(self.seen)
            return _("On the list of %(scanner)s: it was sent at %(time)s") % told
        if self.is_guess:
            return _("Will show on %(scanner)s, which has not asked yet") % told
        return _("Will show on %(scanner)s from its next query") % told

    @property
    def _reason(self) -> str:
        scanner = self.station.friendly_name
        if self.turned_away is Reason.SWITCHED_OFF:
            return _("it may not ask")
        if self.turned_away is not None:
            return self.turned_away.words
        if self.is_refused:
            return _("it asks in a way that makes no sense, and is refused")
        if self.key is not None:
            told = {"key": self.key.short_name, "asked": self.key.asked}
            return _("it asks for %(key)s %(asked)s") % told
        if self.rule is not None:
            return words.rule_text(self.rule, scanner=scanner, modality=self.station.modality)
        return _("too many exams match what it asks for")


def of_own(steps: Collection[int]) -> dict[int, list[Light]]:
    """Of each step the lights of its own stations, in their order."""
    rows = StepStation.objects.filter(step__in=steps).select_related("station")
    named = [(row.step_id, row.station) for row in rows.order_by("step", "position")]
    every = {station.pk: station for _step, station in named}
    pairs = frozenset((step, station.pk) for step, station in named)
    found = of({step for step, _pk in pairs}, list(every.values()), only=pairs)
    told: dict[int, list[Light]] = defaultdict(list)
    for step, station in named:
        told[step].append(found[step, station.pk])
    return told


def of(
    steps: Collection[int],
    at: Sequence[Station],
    *,
    only: Collection[tuple[int, int]] | None = None,
) -> dict[tuple[int, int], Light]:
    """The light of each of these steps on each of these stations, by both their pks.

    Or of these pairs alone. The number of statements depends neither on steps nor on stations.
    """
    lists = [_List.of(station, queries) for station, queries in _queries(at)]
    if any(each.turned_away is Reason.ADDRESS for each in lists) and access.set_up_mode():
        # Then it does not matter where they call from.
        lists = [each.from_anywhere() for each in lists]
    conditions = [condition for each in lists for condition in each.conditions]
    items = find.items(steps, conditions=conditions, returns=(Return(STEP),))
    past = find.past_limits([(each.conditions, each.limit) for each in lists])
    return {
        (item.step, each.station.pk): each.light(item, is_past=is_past)
        for each, is_past in zip(lists, past, strict=True)
        for item in items
        if item.step is not None and (only is None or (item.step, each.station.pk) in only)
    }


# --- what a station asks --------------------------------------------------------------------------


def _queries(at: Sequence[Station]) -> Iterator[tuple[Station, list[Query]]]:
    """Each station with its last queries, the last first, and with its parts."""
    prefetch_related_objects(list(at), "titles", "modality_aliases", "shown_statuses")
    keys_of = recent.column(at, "pk", _RECENT)
    # With the certificate that was shown.
    every = Query.objects.select_related("association")
    found = every.in_bulk([key for several in keys_of.values() for key in several])
    for station in at:
        mine = [found[key] for key in keys_of.get(station.pk, ()) if key in found]
        yield station, sorted(mine, key=lambda query: (query.at, query.pk), reverse=True)


def rules_of(station: Station) -> Rules:
    """The rules of a station whose parts have been read."""
    return stations.rules_of(
        station,
        titles=[title.ae_title for title in station.titles.all()],
        aliases=[(each.asked, each.held) for each in station.modality_aliases.all()],
        statuses=[each.status for each in station.shown_statuses.all()],
    )


@dataclass(frozen=True)
class _List:
    """What a station will ask for next, as far as can be told, under its rules."""

    station: Station
    rules: Rules
    queries: tuple[Query, ...]
    scoped: Scoped
    texts: Texts
    # Why it will not be answered, when it calls as it did last.
    turned_away: Reason | None
    # It asked for its own day, and does so each day; it asks for one patient or order at a time.
    is_daily: bool
    is_by_number: bool
    is_guess: bool
    is_refused: bool

    @classmethod
    def of(cls, station: Station, queries: Sequence[Query]) -> _List:
        rules = rules_of(station)
        wanted, texts = plan.everything(), Texts()
        is_daily = is_refused = False
        query = next(iter(sorted(queries, key=_is_of_a_patient)), None)
        is_by_number = query is not None and _is_of_a_patient(query)
        if query is not None:
            try:
                elements = asked.elements(query)
                wanted, is_daily = _on_this_day(plan.make(elements), query)
                texts = keys.texts_of(elements)
            except Refusal:
                is_refused = True
        scoped = scope.under(wanted, rules, now=clock.now())
        return cls(
            station,
            rules,
            tuple(queries),
            scoped,
            texts,
            turned_away=_turned_away(station, rules, queries),
            is_daily=is_daily,
            is_by_number=is_by_number,
            is_guess=query is None,
            is_refused=is_refused,
        )

    def from_anywhere(self) -> _List:
        """The same, where addresses do not matter."""
        is_out = self.turned_away is not Reason.ADDRESS
        return replace(self, turned_away=self.turned_away if is_out else None)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (*self.scoped.plan.conditions, *self.scoped.conditions)

    @property
    def limit(self) -> int:
        return self.rules.match_limit or settings.DICOM_MATCH_LIMIT

    def light(self, item: Item, *, is_past: bool) -> Light:
        assert item.step is not None
        step = item.step
        seen = next((query.at for query in self.queries if step in query.steps), None)
        told = Light(step, self.station, State.READY, seen, self.is_guess)
        if self.turned_away is not None:
            return replace(told, state=State.BLOCKED, turned_away=self.turned_away)
        if self.is_refused:
            return replace(told, state=State.BLOCKED, is_refused=True)
        if all(condition.matches(item) for condition in self.conditions):
            state = State.BLOCKED if is_past else State.READY
            return replace(told, state=state, is_past_limit=is_past)
        failing = list(keys.failing(self.scoped.plan, item, self.texts))
        broken = explanation.own_rules(self.scoped, item).failing
        if all(map(self._will_come, failing)) and all(map(_is_to_come, broken)):
            by_number = any(map(self._is_number, failing))
            return replace(told, state=State.LATER, is_by_number=by_number)
        key = next((each for each in failing if not self._will_come(each)), None)
        rule = next((each for each in broken if not _is_to_come(each)), None)
        return replace(told, state=State.BLOCKED, key=key, rule=None if key else rule)

    def _will_come(self, verdict: KeyVerdict) -> bool:
        """Whether the key will be another one when the step's day, or its number, has come."""
        is_later = verdict.near.days > 0 and DATE in verdict.attributes
        return (self.is_daily and is_later) or self._is_number(verdict)

    def _is_number(self, verdict: KeyVerdict) -> bool:
        return self.is_by_number and any(each in OF_A_PATIENT for each in verdict.attributes)


def _turned_away(station: Station, rules: Rules, queries: Sequence[Query]) -> Reason | None:
    """Why the station will not be answered when it calls as it did last, its last query first."""
    if access.lets_anybody_in():
        return None
    last = queries[0] if queries else None
    shown = last.association if last else None
    certificates = tuple(station.certificates.split())
    known = Known(station.pk, station.is_allowed, station.networks, rules, certificates)
    call = Call(
        station.ae_title,
        last.address if last else "",
        certificate=shown.certificate if shown else "",
    )
    reason = access.keeps_out(call, known)
    if reason is Reason.SWITCHED_OFF:
        return reason
    if last is None or (reason is Reason.CERTIFICATE and shown is None):
        # From where it calls, or what it shows, is not known.
        return None
    return reason


def _is_to_come(verdict: RuleVerdict) -> bool:
    """Whether the hours that are shown will come to the step."""
    condition = verdict.condition
    if verdict.kind is not RuleKind.WINDOW or not isinstance(condition, Interval):
        return False
    date, time = verdict.held
    start = f"{date}{time}"
    return condition.high is not None and start > f"{condition.high:%Y%m%d%H%M%S}"


def _is_of_a_patient(query: Query) -> bool:
    """Whether it asked for one patient or order: a list is asked for by another one."""
    try:
        conditions = asked.plan_of(query).conditions
    except Refusal:
        return False
    return any(each.attributes[0] in OF_A_PATIENT for each in conditions)


# --- from day to day ------------------------------------------------------------------------------


def _on_this_day(wanted: QueryPlan, query: Query) -> tuple[QueryPlan, bool]:
    """The plan with its days moved from the day on which it was asked to today; whether it was."""
    day = timezone.localtime(query.at).date()
    by = clock.today() - day
    is_daily = False
    moved: list[Condition] = []
    for condition in wanted.conditions:
        if isinstance(condition, AnyItem) and condition.attribute is STEP:
            inner = []
            for each in condition.conditions:
                if DATE in each.attributes and _holds(each, day):
                    is_daily = True
                    each = _moved(each, by)
                inner.append(each)
            condition = replace(condition, conditions=tuple(inner))
        moved.append(condition)
    return replace(wanted, conditions=tuple(moved)), is_daily


def _holds(condition: Condition, day: dt.date) -> bool:
    """Whether a condition on days holds this one, and not every day."""
    if isinstance(condition, OneOf):
        return day in condition.wanted
    if not isinstance(condition, Between | Interval):
        return False
    low, high = (
        each.date() if isinstance(each, dt.datetime) else each
        for each in (condition.low, condition.high)
    )
    is_from = low is None or (isinstance(low, dt.date) and low <= day)
    return is_from and (high is None or (isinstance(high, dt.date) and day <= high))


def _moved(condition: Condition, by: dt.timedelta) -> Condition:
    def move(value: object) -> object:
        return value + by if isinstance(value, dt.date) else value

    if isinstance(condition, OneOf):
        return replace(condition, wanted=tuple(map(move, condition.wanted)))  # type: ignore[arg-type]
    if isinstance(condition, Between | Interval):
        return replace(condition, low=move(condition.low), high=move(condition.high))  # type: ignore[arg-type]
    return condition
