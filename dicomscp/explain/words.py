"""What explain tells, in words: the eight steps of the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dicomscp.explain.keys import KeyVerdict, Kind
from dicomscp.explain.nearness import Near
from dicomscp.explain.story import (
    Explanation,
    Mark,
    Refused,
    RuleKind,
    RuleVerdict,
)
from dicomscp.explain.suspects import Suspect
from dicomscp.matching import Interval
from dicomscp.models import Query
from dicomscp.status import CANCEL, MEANINGS, SUCCESS
from worklist import clock
from worklist.models import StepStatus

SIGNS = {Mark.YES: "✓", Mark.NO: "✗", Mark.WARN: "!", Mark.NONE: "–"}


@dataclass(frozen=True)
class Line:
    """One thing that is told of a step of the way."""

    mark: Mark
    text: str

    @property
    def sign(self) -> str:
        return SIGNS[self.mark]


@dataclass(frozen=True)
class Section:
    """One of the eight steps of the way."""

    number: int
    title: str
    mark: Mark
    lines: tuple[Line, ...]

    @property
    def sign(self) -> str:
        return SIGNS[self.mark]


def when(at: dt.datetime) -> str:
    """An instant on the site's clock; of another day than today, with the day."""
    local = timezone.localtime(at)
    if local.date() == clock.today():
        return f"{local:%H:%M:%S}"
    return _("%(date)s, %(time)s") % {"date": date_format(local.date()), "time": f"{local:%H:%M}"}


def sections(told: Explanation) -> tuple[Section, ...]:
    """The eight steps of the way."""
    made: tuple[tuple[str, Mark, Iterable[Line]], ...] = (
        (_("Reached us?"), told.reached.mark, _reached(told)),
        (_("Accepted?"), told.accepted.mark, _accepted(told)),
        (_("Its last query"), told.asked.mark, _asked(told)),
        (_("Key by key"), told.keys.mark, _keys(told)),
        (_("Our own rules"), told.rules.mark, _rules(told)),
        (_("Can be sent?"), told.sent.mark, _sent(told)),
        (_("Delivered?"), told.delivered.mark, _delivered(told)),
        (_("Dropped there?"), told.dropped.mark, _dropped(told)),
    )
    return tuple(
        Section(number, title, mark, tuple(lines))
        for number, (title, mark, lines) in enumerate(made, 1)
    )


# --- 1 to 3 ---------------------------------------------------------------------------------------


def _reached(told: Explanation) -> Iterator[Line]:
    reached, name = told.reached, told.caller.name
    if reached.is_running is False:
        yield Line(Mark.NO, _("The worklist service is not running."))
    if reached.last is None:
        yield Line(
            Mark.NO, _("%(scanner)s never called us, as far as we know.") % {"scanner": name}
        )
    elif not reached.last.calling:
        yield Line(
            Mark.WARN,
            _("last connection at %(time)s (%(address)s), which came to no association")
            % {"time": when(reached.last.opened), "address": reached.last.address},
        )
    else:
        yield Line(
            Mark.YES,
            _("last association from %(title)s at %(time)s (%(address)s)")
            % {
                "title": reached.last.calling,
                "time": when(reached.last.opened),
                "address": reached.last.address,
            },
        )
    if reached.impostor is not None:
        yield Line(
            Mark.WARN,
            _("“%(title)s”, which is not set up, called at %(time)s (%(address)s)")
            % {
                "title": reached.impostor.calling,
                "time": when(reached.impostor.opened),
                "address": reached.impostor.address,
            },
        )


def _accepted(told: Explanation) -> Iterator[Line]:
    accepted = told.accepted
    reason = accepted.reason.words if accepted.reason else ""
    if accepted.refused is Refused.REJECTED:
        yield Line(Mark.NO, _("turned away: %(reason)s") % {"reason": reason})
    elif accepted.refused is Refused.CONTEXT_REFUSED:
        yield Line(Mark.NO, _("the worklist service was not agreed on: no common transfer syntax"))
    elif accepted.refused is Refused.NO_CONTEXT:
        yield Line(Mark.NO, _("it did not ask for the worklist service"))
    elif accepted.refused is Refused.SILENT:
        yield Line(Mark.NO, _("accepted, and it asked for nothing"))
    elif accepted.association is not None:
        yield Line(
            Mark.YES,
            _("accepted: %(reason)s; worklist service agreed on") % {"reason": reason},
        )


def _asked(told: Explanation) -> Iterator[Line]:
    asked = told.asked
    if asked.query is None:
        return
    yield Line(Mark.YES if asked.query.status == SUCCESS else Mark.WARN, query_line(asked.query))
    if asked.refusal is not None:
        yield Line(
            Mark.NO,
            _("we cannot read its keys: %(reason)s") % {"reason": asked.refusal.error_comment},
        )


def query_line(query: Query) -> str:
    """A query on one line: when, from whom, how it was answered."""
    told = {
        "time": when(query.at),
        "title": query.calling,
        "address": query.address,
        "answer": answer_line(query),
    }
    return _("%(time)s, %(title)s (%(address)s): %(answer)s") % told


def answer_line(query: Query) -> str:
    """How a query was answered."""
    sent = ngettext("%(n)d exam sent", "%(n)d exams sent", query.sent) % {"n": query.sent}
    if query.status == SUCCESS:
        return sent
    if query.status == CANCEL:
        return _("%(sent)s, then the scanner stopped it") % {"sent": sent}
    if query.status is None:
        return _("%(sent)s, then the connection broke off") % {"sent": sent}
    meaning = MEANINGS.get(query.status, ("", ""))[0]
    return _("failed: status %(status)s, %(comment)s") % {
        "status": f"0x{query.status:04X}",
        "comment": query.comment or meaning,
    }


# --- 4: key by key --------------------------------------------------------------------------------


def near_words(verdict: KeyVerdict) -> str:
    """In what alone the value that is held differs from what is asked for."""
    near = verdict.near
    if not near.kinds:
        return ""
    if near.kinds[0] is Near.OTHER_DAY:
        if near.days > 0:
            return ngettext(
                "the exam is %(n)d day later", "the exam is %(n)d days later", near.days
            ) % {"n": near.days}
        return ngettext(
            "the exam is %(n)d day earlier", "the exam is %(n)d days earlier", -near.days
        ) % {"n": -near.days}
    words = {
        Near.EMPTY: _("the exam has no value, which meets no key that is filled in"),
        Near.CASE: _("differs in capital and small letters"),
        Near.BLANKS: _("differs in blanks"),
        Near.DASH: _("differs in “-” or “_”"),
        Near.ZEROS: _("differs in leading zeros"),
        Near.ACCENTS: _("differs in accents"),
        Near.COMMA: _("the parts of the name are not separated by “^”"),
        Near.SWAPPED: _("the parts of the name are swapped"),
        Near.BEGINNING: _("only its beginning is asked for, without “*”"),
        Near.OTHER_TIME: _("the exam is at another time of day"),
    }
    return "; ".join(words[kind] for kind in near.kinds)


def verdict_words(verdict: KeyVerdict) -> str:
    """What becomes of the step by this key."""
    if verdict.kind is Kind.UNIVERSAL:
        return _("any value")
    if verdict.kind is Kind.MISPLACED:
        return _("in the wrong place of the request: it asks for nothing there")
    if verdict.kind is Kind.UNSUPPORTED:
        return _("not known here: left out of the answer")
    if verdict.kind is Kind.IGNORED:
        return _("ignored by this scanner's rules")
    if verdict.matches:
        return _("match (%(why)s)") % {"why": verdict.because} if verdict.because else _("match")
    near = near_words(verdict)
    return _("no match: %(how)s") % {"how": near} if near else _("no match")


def key_mark(verdict: KeyVerdict) -> Mark:
    if verdict.kind is Kind.MISPLACED:
        return Mark.WARN
    if verdict.kind in (Kind.UNSUPPORTED, Kind.IGNORED):
        return Mark.NONE
    return Mark.YES if verdict.matches else Mark.NO


def key_text(verdict: KeyVerdict) -> str:
    """A key on one line."""
    if verdict.kind is not Kind.CONDITION:
        asked = verdict.asked or _("(empty)")
        return f"{verdict.short_name}: {asked}, {verdict_words(verdict)}"
    told = {
        "key": verdict.short_name,
        "asked": verdict.asked,
        "held": held_words(verdict.held),
        "verdict": verdict_words(verdict),
    }
    return _("%(key)s: asks %(asked)s, exam %(held)s, %(verdict)s") % told


def held_words(held: Iterable[str]) -> str:
    return _(" and ").join(held) or _("(empty)")


def _keys(told: Explanation) -> Iterator[Line]:
    shown = [each for each in told.keys.verdicts if each.kind is not Kind.UNIVERSAL]
    empty = len(told.keys.verdicts) - len(shown)
    for verdict in shown:
        yield Line(key_mark(verdict), key_text(verdict))
    if empty:
        yield Line(
            Mark.YES,
            ngettext("%(n)d empty key: any value", "%(n)d empty keys: any value", empty)
            % {"n": empty},
        )


# --- 5 and 6 --------------------------------------------------------------------------------------


def _status(value: str) -> str:
    return str(dict(StepStatus.choices).get(value, value))


def rule_text(verdict: RuleVerdict, *, scanner: str, modality: str) -> str:
    """One of our own rules and what the step has to do with it; the modality is the scanner's."""
    held = verdict.held
    yes = verdict.matches
    if verdict.kind is RuleKind.STATUS:
        values = {"status": _status(held[0] if held else ""), "scanner": scanner}
        if yes:
            return _("status %(status)s is on the list of %(scanner)s") % values
        return _("status %(status)s is not on the list of %(scanner)s") % values
    if verdict.kind is RuleKind.TITLE:
        values = {"titles": held_words(held), "scanner": scanner}
        if yes:
            return _("%(scanner)s sees its own exams, and this is one") % values
        if not held:
            return _("%(scanner)s sees its own exams, and this one is on no scanner") % values
        return _("%(scanner)s sees its own exams, and this one is on %(titles)s") % values
    if verdict.kind is RuleKind.MODALITY:
        values = {
            "modality": held_words(held),
            "scanner": scanner,
            "own": modality,
        }
        if yes:
            return _("modality %(modality)s is shown on %(scanner)s") % values
        return _("%(scanner)s sees exams of modality %(own)s, and this is %(modality)s") % values
    window = _window(verdict.condition) if isinstance(verdict.condition, Interval) else ""
    if yes:
        return _("inside the hours that are shown: %(window)s") % {"window": window}
    return _("outside the hours that are shown: %(window)s") % {"window": window}


def rule_words(verdict: RuleVerdict, told: Explanation) -> str:
    """One of our own rules and what this step has to do with it."""
    return rule_text(verdict, scanner=told.caller.name, modality=told.caller.rules.modality)


def _window(condition: Interval) -> str:
    def bound(at: dt.datetime | None) -> str:
        return f"{date_format(at.date())} {at:%H:%M}" if at else "…"

    return f"{bound(condition.low)} – {bound(condition.high)}"


def _rules(told: Explanation) -> Iterator[Line]:
    for verdict in told.rules.verdicts:
        yield Line(Mark.YES if verdict.matches else Mark.NO, rule_words(verdict, told))
    place = told.rules.place
    if place is None:
        return
    if place.is_over:
        yield Line(Mark.NO, over_words(told))
    elif place.position is not None:
        yield Line(
            Mark.YES,
            _("place %(place)d of %(count)d; the limit is %(limit)d")
            % {"place": place.position, "count": place.count, "limit": place.limit},
        )


def over_words(told: Explanation) -> str:
    """By how much an answer is too long."""
    place = told.rules.place
    assert place is not None
    if place.count is None:
        return _("more than %(limit)d exams match, which is the limit: none is sent") % {
            "limit": place.limit
        }
    return _("%(count)d exams match, the limit is %(limit)d: none is sent") % {
        "count": place.count,
        "limit": place.limit,
    }


def set_words(terms: tuple[str, ...]) -> str:
    """A character set by its terms."""
    return "\\".join(terms) or "ISO_IR 6"


def _sent(told: Explanation) -> Iterator[Line]:
    sendable = told.sent.sendable
    if sendable is None:
        return
    if sendable.unfit:
        names = ", ".join(attribute.name for attribute in sendable.unfit)
        yield Line(
            Mark.NO if sendable.is_declared else Mark.WARN,
            _("%(what)s does not fit %(wanted)s: everything is sent in %(sent)s")
            % {
                "what": names,
                "wanted": set_words(sendable.wanted),
                "sent": set_words(sendable.sent_in),
            },
        )
    else:
        yield Line(Mark.YES, _("every text fits %(set)s") % {"set": set_words(sendable.sent_in)})
    for attribute in sendable.too_long:
        yield Line(Mark.NO, _("%(what)s is longer than allowed") % {"what": attribute.name})
    if sendable.missing:
        names = ", ".join(attribute.name for attribute in sendable.missing)
        yield Line(Mark.WARN, _("%(what)s is empty and must not be") % {"what": names})
    else:
        yield Line(Mark.YES, _("everything that must have a value has one"))


# --- 7 and 8 --------------------------------------------------------------------------------------


def _delivered(told: Explanation) -> Iterator[Line]:
    delivered = told.delivered
    if delivered.is_sent and delivered.at:
        yield Line(Mark.YES, _("sent at %(time)s") % {"time": when(delivered.at)})
    elif delivered.is_sent is None:
        yield Line(
            Mark.WARN, _("not known: of so long an answer, the first exams alone are recorded")
        )
    elif told.asked.query is not None:
        yield Line(Mark.NO, _("not in that answer"))
    if not delivered.is_sent and delivered.last is not None:
        yield Line(Mark.WARN, _("sent before, at %(time)s") % {"time": when(delivered.last.at)})


def suspect_words(suspect: Suspect) -> str:
    return {
        Suspect.NO_STEP_ASKED: _(
            "the scanner asks for nothing of the step: the answer has neither time nor modality"
        ),
        Suspect.NOT_ITS_TITLE: _("the exam is not booked on this scanner: some hide it"),
        Suspect.NO_TITLE: _("the exam names no scanner: some hide it"),
        Suspect.LONG_TITLE: _("an AE title is longer than 16 characters"),
        Suspect.NO_NAME: _("the patient has no family name"),
        Suspect.NO_CARETS: _("the name has one part only, without “^”"),
        Suspect.SEVERAL_GROUPS: _("the name is in several scripts, which old consoles do not take"),
        Suspect.UNICODE: _("the answer is in Unicode, which the scanner may not read"),
        Suspect.NO_ID: _("the patient has no ID"),
        Suspect.ODD_ID: _("the patient ID has blanks or special signs"),
        Suspect.NO_ACCESSION: _("the order has no accession number"),
        Suspect.LONG_TEXT: _("a text is longer than allowed"),
        Suspect.OTHER_MODALITY: _("the exam is of another modality than the scanner"),
        Suspect.NO_BIRTH_DATE: _("the date of birth is unknown"),
        Suspect.ODD_DATE: _("a date is far off"),
    }[suspect]


def _dropped(told: Explanation) -> Iterator[Line]:
    dropped = told.dropped
    if not dropped.is_asked:
        yield Line(Mark.NONE, _("not delivered, nothing to check"))
    elif not dropped.suspects:
        yield Line(Mark.YES, _("nothing in what was sent is known to make scanners drop it"))
    for suspect in dropped.suspects:
        yield Line(Mark.WARN, suspect_words(suspect))
