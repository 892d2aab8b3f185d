"""The short answer of explain: why the scanner does not show the exam, what to do first."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _

from dicomscp import heard_words
from dicomscp.access import OF_TLS, Reason
from dicomscp.explain.story import Cause, Explanation
from dicomscp.explain.words import (
    answer_line,
    held_words,
    near_words,
    over_words,
    rule_words,
    set_words,
    when,
)
from dicomscp.models import Query


def answer(told: Explanation) -> tuple[str, ...]:
    """Why the scanner does not show the exam, and what to do first: two sentences or three."""
    first = _cause(told, told.cause)
    rest = told.causes[1:]
    if told.cause is Cause.NOT_SINCE and not rest:
        return (
            *first,
            _("Press Refresh on the scanner. If it asked again now, it would get this exam."),
        )
    if not rest or told.cause in (Cause.MISPLACED, Cause.NOT_ENCODABLE):
        return first
    then = _cause(told, rest[0])[0]
    return (*first, _("And then: %(reason)s") % {"reason": then})


def _cause(told: Explanation, cause: Cause) -> tuple[str, ...]:
    scanner, query = told.caller.name, told.asked.query
    if cause is Cause.NOT_RUNNING:
        return (_("The worklist service is not running."), _("Start it, then ask again."))
    if cause is Cause.NEVER_HEARD:
        return (
            _("%(scanner)s never called us.") % {"scanner": scanner},
            _(
                "Check on the scanner: the address of this server, port %(port)d, our AE title "
                "%(title)s; then whether the network lets it through."
            )
            % {"port": settings.DICOM_PORT, "title": settings.AE_TITLE},
        )
    if cause is Cause.OTHER_TITLE and told.reached.impostor is not None:
        return (
            _("A scanner called at %(time)s as “%(other)s”; %(scanner)s is set up as %(title)s.")
            % {
                "time": when(told.reached.impostor.opened),
                "other": told.reached.impostor.calling,
                "scanner": scanner,
                "title": told.caller.titles[0],
            },
            _("If it is this scanner, take that AE title in, or correct it on the scanner."),
        )
    if cause is Cause.REJECTED:
        return _rejected(told)
    if cause is Cause.NO_CONTEXT:
        return (
            _("%(scanner)s called, and no worklist service was agreed on.") % {"scanner": scanner},
            _("Switch its worklist query on, for this server, with a usual transfer syntax."),
        )
    if cause is Cause.NEVER_ASKED:
        return (
            _("%(scanner)s calls, and has never asked for its list.") % {"scanner": scanner},
            _("Press Refresh on the scanner's worklist."),
        )
    if cause is Cause.NOT_SINCE and query is not None:
        return (_not_since(told, query),)
    if cause is Cause.MALFORMED and told.asked.refusal is not None:
        return (
            _("We refused the query of %(scanner)s: %(reason)s.")
            % {"scanner": scanner, "reason": told.asked.refusal.error_comment},
            _("The scanner sends a key that means nothing: correct it there."),
        )
    if cause is Cause.FAILED and query is not None:
        return (
            _("We could not answer the query of %(time)s: %(answer)s.")
            % {"time": when(query.at), "answer": answer_line(query)},
            _("Press Refresh on the scanner. If it asked again now, it would get this exam."),
        )
    if cause is Cause.BROKEN_OFF and query is not None:
        return (
            _("The answer of %(time)s was not heard to its end: %(answer)s.")
            % {"time": when(query.at), "answer": answer_line(query)},
            _("Press Refresh on the scanner, or have it ask for less."),
        )
    if cause is Cause.KEY:
        return _key(told)
    if cause is Cause.MISPLACED:
        (key, *_rest) = told.keys.misplaced
        return (
            _(
                "%(scanner)s sends the key %(key)s in the wrong place of its request, where it "
                "asks for nothing."
            )
            % {"scanner": scanner, "key": key.name},
            _("It belongs into the item of the Scheduled Procedure Step Sequence, or out of it."),
        )
    if cause is Cause.RULE:
        return (
            _("Our own rules leave it out: %(reason)s.")
            % {"reason": rule_words(told.rules.failing[0], told)},
        )
    if cause is Cause.LIMIT:
        return (
            _("The answer would be too long: %(reason)s.") % {"reason": over_words(told)},
            _("Have the scanner ask for less, such as for one day and its own modality."),
        )
    if cause is Cause.NOT_ENCODABLE and told.sent.sendable is not None:
        sendable = told.sent.sendable
        return (
            _(
                "%(what)s cannot be written in %(wanted)s, which %(scanner)s is known to read: "
                "it was sent in %(sent)s."
            )
            % {
                "what": sendable.unfit[0].name,
                "wanted": set_words(sendable.wanted),
                "scanner": scanner,
                "sent": set_words(sendable.sent_in),
            },
            _("The scanner may drop it or show wrong letters."),
        )
    return _was_delivered(told)


def _rejected(told: Explanation) -> tuple[str, ...]:
    reason = told.accepted.reason
    return (
        _("We turned %(scanner)s away: %(reason)s.")
        % {"scanner": told.caller.name, "reason": reason.words if reason else _("it may not ask")},
        *(
            [
                _("Set the called AE title on the scanner to %(title)s.")
                % {"title": settings.AE_TITLE}
            ]
            if reason is Reason.CALLED
            else []
        ),
        *_of_tls(told, reason),
    )


def _of_tls(told: Explanation, reason: Reason | None) -> tuple[str, ...]:
    association = told.accepted.association
    if association is None or reason not in (*OF_TLS, Reason.CERTIFICATE):
        return ()
    said = heard_words.what_helps(association, reason)
    return (said,) if said else ()


def _not_since(told: Explanation, query: Query) -> str:
    values = {
        "scanner": told.caller.name,
        "asked": when(query.at),
        "changed": when(told.changed),
    }
    if told.changed <= query.at:
        return _("%(scanner)s asked last at %(asked)s; our settings have changed since.") % values
    if told.is_new:
        return _("%(scanner)s asked last at %(asked)s. This exam was made at %(changed)s.") % values
    return _("%(scanner)s asked last at %(asked)s. This exam was changed at %(changed)s.") % values


def _key(told: Explanation) -> tuple[str, ...]:
    key = told.keys.failing[0]
    values = {
        "scanner": told.caller.name,
        "key": key.short_name,
        "asked": key.asked,
        "held": held_words(key.held),
    }
    text = _("%(scanner)s asks for %(key)s %(asked)s; the exam has %(held)s.") % values
    near = near_words(key)
    return (text, _("The difference: %(how)s.") % {"how": near}) if near else (text,)


def _was_delivered(told: Explanation) -> tuple[str, ...]:
    values = {
        "scanner": told.caller.name,
        "time": when(told.delivered.at or told.asked.query.at) if told.asked.query else "",
    }
    if told.delivered.is_sent is None:
        first = _("%(scanner)s got so long an answer at %(time)s that not all of it is recorded.")
    else:
        first = _("%(scanner)s was sent this exam at %(time)s.")
    return (
        first % values,
        _("So the scanner has probably dropped it or filters its own list: see step 8.")
        if told.dropped.suspects
        else _("So the scanner probably filters its own list: look at its filters and its day."),
    )
