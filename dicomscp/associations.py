"""pynetdicom's events of an association, from request to end: who may call, and the journal.

What is asked on it is the business of handlers.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from django.utils import timezone, translation
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification

from dicomscp import access, lease, stations
from dicomscp.access import Call, Reason, Verdict
from dicomscp.journal import JOURNAL, End
from dicomscp.models import Association, Ended
from dicomscp.status import Refusal
from dicomscp.wire.association import WorklistAssociation
from dicomscp.wire.tls import Fault, HandshakeError, Secured

logger = logging.getLogger(__name__)

_MOST_WORDS = 4000
_LONGEST_UID = 64
# PS3.8 Table 9-18, as words of the journal.
_REFUSED = {
    1: "user rejection",
    2: "no reason",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}


@dataclass(frozen=True)
class Conversation:
    """What is kept of an association while it lives: the call, the verdict, its row's number."""

    call: Call
    verdict: Verdict
    number: uuid.UUID = field(default_factory=uuid.uuid4)
    opened: dt.datetime = field(default_factory=timezone.now)


def number(association: object) -> uuid.UUID | None:
    """The number of an association's row in the journal."""
    conversation: Conversation | None = getattr(association, "account", None)
    return conversation.number if conversation else None


def calling(association: object) -> str:
    """The AE title by which the peer calls itself, with whatever characters it has."""
    return cast(WorklistAssociation, association).titles.calling


def certificate(association: object) -> str:
    """The fingerprint of the certificate that the peer showed, "" for none."""
    secured: Secured | None = getattr(association, "secured", None)
    return secured.fingerprint if secured else ""


def printable(text: str) -> str:
    """A peer's own words on one line of the log."""
    return text.encode("unicode_escape").decode("ascii").replace(" ", "_")


def kept(text: str | None, most: int = 64) -> str:
    """A peer's own words in the journal."""
    return (text or "").encode("unicode_escape").decode("ascii")[:most]


def on_requested(event: evt.Event) -> None:
    """Reject a caller that may not ask, before anything is negotiated with it."""
    association = cast(WorklistAssociation, event.assoc)
    call = _call(event)
    try:
        verdict = access.at_once(call) or lease.read(lambda: access.on_request(call, stations.now))
    except Refusal:
        # An outage must not look as if the caller were a stranger: its queries hear 0xA700.
        verdict = Verdict(Reason.UNDECIDED)
    association.account = Conversation(call, verdict)
    association.at_end = _on_end
    if verdict.rejection:
        association.reject(*verdict.rejection)


def on_accepted(event: evt.Event) -> None:
    association = cast(WorklistAssociation, event.assoc)
    conversation: Conversation | None = association.account
    _log(event, "association")
    if conversation:
        accepted = [_context(each) for each in association.accepted_contexts]
        refused = [
            f"{_context(each)} ({_REFUSED.get(each.result or 0, 'unknown reason')})"
            for each in association.rejected_contexts
        ]
        _keep(event, conversation, conversation.verdict.reason, accepted, refused)


def on_rejected(event: evt.Event) -> None:
    conversation: Conversation | None = cast(WorklistAssociation, event.assoc).account
    # What we accepted and is rejected all the same is one too many for the library.
    is_ours = conversation is not None and not conversation.verdict.is_accepted
    reason = conversation.verdict.reason if conversation and is_ours else Reason.FULL
    _log(event, "association rejected", f" reason={reason}")
    if conversation:
        asked = _request(event).presentation_context_definition_list
        _keep(event, conversation, reason, [], [_context(each) for each in asked])


def _on_end(association: WorklistAssociation) -> None:
    if association.is_rejected:
        how = Ended.REJECTED
    else:
        how = Ended.RELEASED if association.is_released else Ended.ABORTED
    JOURNAL.add(End(association.account.number, timezone.now(), how))


def _request(event: evt.Event) -> A_ASSOCIATE:
    return cast(A_ASSOCIATE, event.assoc.requestor.primitive)


def _call(event: evt.Event) -> Call:
    """Who calls, as it was read when the association was asked for."""
    conversation: Conversation | None = cast(WorklistAssociation, event.assoc).account
    if conversation is not None:
        return conversation.call
    request = _request(event)
    asked = {each.abstract_syntax for each in request.presentation_context_definition_list}
    return Call(
        calling=calling(event.assoc),
        address=access.plain_address(event.assoc.requestor.address),
        called=cast(WorklistAssociation, event.assoc).titles.called,
        our_title=event.assoc.acceptor.ae_title.strip(),
        is_echo=asked == {Verification},
        certificate=certificate(event.assoc),
    )


def _log(event: evt.Event, what: str, more: str = "") -> None:
    call = _call(event)
    titles = printable(call.calling), printable(call.called)
    secured = cast(WorklistAssociation, event.assoc).secured
    by = f" tls={secured.protocol}" if secured else ""
    logger.info("%s ae=%s called=%s peer=%s%s%s", what, *titles, call.address, by, more)


def _keep(
    event: evt.Event,
    conversation: Conversation,
    reason: Reason,
    accepted: Sequence[str],
    refused: Sequence[str],
) -> None:
    """Have the association's row written."""
    call = _call(event)
    requestor = event.assoc.requestor
    secured: Secured | None = cast(WorklistAssociation, event.assoc).secured
    JOURNAL.add(
        Association(
            pk=conversation.number,
            opened=conversation.opened,
            calling=kept(call.calling),
            called=kept(call.called),
            address=call.address,
            implementation_uid=kept(requestor.implementation_class_uid),
            implementation_version=kept(requestor.implementation_version_name),
            contexts=_lines(accepted),
            refused_contexts=_lines(refused),
            is_accepted=Verdict(reason).is_accepted,
            reason=reason,
            **_of_tls(secured),
        )
    )


def _of_tls(secured: Secured | None) -> dict[str, str]:
    if secured is None:
        return {}
    return {
        "tls": f"{secured.protocol} {secured.cipher}"[:64],
        "certificate": secured.fingerprint,
        "certificate_subject": kept(secured.subject, 200),
    }


def on_fault(address: str, error: HandshakeError) -> None:
    """A connection that TLS let nothing come of: a line of the log, and of the journal a row.

    What looks at the port and goes is neither: port scans and load balancers do.
    """
    if error.fault is Fault.GONE:
        logger.debug("TLS handshake not begun peer=%s", address)
        return
    reason = Reason(error.fault)
    with translation.override("en"):
        words = reason.words
    said = f" ({printable(str(error))})" if str(error) else ""
    logger.warning("connection refused peer=%s reason=%s: %s%s", address, reason, words, said)
    now = timezone.now()
    JOURNAL.add(
        Association(
            opened=now,
            closed=now,
            address=address,
            is_accepted=False,
            reason=reason,
            ended=Ended.ABORTED,
        )
    )


def _context(context: PresentationContext) -> str:
    """A presentation context on one line: what for, in which transfer syntaxes."""
    syntaxes = ", ".join(map(_name, context.transfer_syntax))
    return f"{_name(context.abstract_syntax or '')}: {syntaxes}"


def _name(uid: str) -> str:
    # What is longer is no UID (PS3.5 9.1), has no name, and is not to be remembered.
    return _name_of(uid) if len(uid) <= _LONGEST_UID else uid


# Consoles ask for the same all day, and to look up a name takes as long as to answer.
@lru_cache(maxsize=256)
def _name_of(uid: str) -> str:
    return UID(uid).name


def _lines(words: Sequence[str]) -> str:
    escaped = (line.encode("unicode_escape").decode("ascii") for line in words)
    return "\n".join(escaped)[:_MOST_WORDS]


HANDLERS: list[tuple[evt.EventType, Callable[..., Any]]] = [
    (evt.EVT_REQUESTED, on_requested),
    (evt.EVT_ACCEPTED, on_accepted),
    (evt.EVT_REJECTED, on_rejected),
]
