"""The very answer that a station would get now, made as a C-FIND makes it, for people to see."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from dicomscp import doubts, find, plan, response, scope
from dicomscp.doubts import Doubt
from dicomscp.find import TooManyMatches
from dicomscp.matching import AnyItem, Between, Item
from dicomscp.plan import QueryPlan
from dicomscp.scope import Rules
from worklist import attributes, clock
from worklist.character_set import UNICODE

_STEP = attributes.find("ScheduledProcedureStepSequence")
_DATE = attributes.find(_STEP.keyword, "ScheduledProcedureStepStartDate")


@dataclass(frozen=True)
class Preview:
    """What a plan is answered with under a station's rules; `too_many` says why with nothing."""

    plan: QueryPlan
    rules: Rules
    items: tuple[Item, ...]
    # What holds beside the keys, in words, and the keys as they count for this station.
    rules_in_words: tuple[str, ...]
    keys_in_words: tuple[str, ...]
    too_many: TooManyMatches | None = None

    def data_set(self, item: Item) -> Dataset:
        """The Identifier of the response for one of the items."""
        return response.identifier(
            self.plan,
            item,
            character_set=self.rules.character_set,
            alphabetic_only=self.rules.alphabetic_only,
        )

    def doubts(self, item: Item) -> tuple[Doubt, ...]:
        """What the scanner may stumble over in it."""
        wanted = self.rules.character_set
        sent = response.alphabetic(item) if self.rules.alphabetic_only else item
        return doubts.of(
            self.plan, sent, wanted=self.plan.character_set if wanted is None else wanted
        )


def today() -> QueryPlan:
    """A query for the whole of today, all that is known, by a console that reads every script."""
    day = clock.today()
    everything = plan.everything()
    only_today = AnyItem(_STEP, (Between(_DATE, day, day),))
    return replace(everything, conditions=(only_today,), character_set=UNICODE)


def of(query: QueryPlan, rules: Rules, *, now: dt.datetime) -> Preview:
    """What this query is answered with now. Each item holds every attribute, asked for or not."""
    scoped = scope.under(query, rules, now=now)
    without = sorted(attribute.name for attribute in scope.ignored(rules))
    words = (
        (
            *(f"{name} is ignored in what it asks for" for name in without),
            *(condition.words for condition in scoped.conditions),
        ),
        tuple(condition.words for condition in scoped.plan.conditions),
    )
    whole = replace(query, returns=plan.everything().returns)
    try:
        return Preview(query, rules, find.answer(whole, rules, now=now), *words)
    except TooManyMatches as refused:
        return Preview(query, rules, (), *words, refused)


def without_rules(query: QueryPlan) -> int:
    """How many steps, in whatever state, the keys alone would find."""
    return len(find.rows(replace(query, returns=())))
