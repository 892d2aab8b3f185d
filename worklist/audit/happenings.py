"""What happens and writes no row of the worklist: each with the event that stands for it.

A program starts or stops, a modality asks, somebody comes in or is kept out, the trail itself is
read. PS3.15 A.5.3 has a message for each; `messages` makes it.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error, connection

from worklist.audit import trail
from worklist.audit.codes import AUDIT_TRAIL
from worklist.audit.models import AuditEvent, Outcome
from worklist.audit.trail import Actor

logger = logging.getLogger(__name__)

_WORKLIST = "Modality Worklist"


def query(
    *,
    calling: str,
    called: str,
    address: str | None,
    identifier: bytes,
    transfer_syntax: str,
    status: int | None,
    matches: int = 0,
    comment: str = "",
) -> AuditEvent:
    """The event of a C-FIND; `trail.sign` writes it, one or many at once.

    The calling AE is who asks. `identifier` holds the request's very bytes in `transfer_syntax`.
    Without a status its association ended before the last response.
    """
    return trail.noted(
        "query",
        by=Actor(calling, address),
        label=_WORKLIST,
        details={
            "called": called,
            "status": "" if status is None else f"{status:04X}",
            "matches": matches,
            "comment": comment,
            "transfer_syntax": transfer_syntax,
            "identifier": base64.b64encode(identifier).decode("ascii"),
        },
        outcome=Outcome.MINOR_FAILURE if _has_failed(status) else Outcome.SUCCESS,
    )


def _has_failed(status: int | None) -> bool:
    """PS3.7 C and PS3.4 K.4.1.1.4: 01xx, Axxx, Cxxx are failures; a cancel is the asker's wish."""
    return status is None or status >> 8 == 0x01 or status >> 12 in (0xA, 0xC)


def caller_refused(
    *, calling: str, called: str, address: str | None, why: str, details: Mapping[str, Any] = {}
) -> AuditEvent:
    """The event of a rejected association, or of several that were alike; `trail.sign` writes it.

    A stranger's, or one whose certificate does not hold.
    """
    return trail.noted(
        "refuse",
        by=Actor(calling, address),
        label=calling,
        details={"called": called, **details},
        outcome=Outcome.SERIOUS_FAILURE,
        reason=why,
    )


def permission_denied(*, by: Actor, path: str, permission: str) -> AuditEvent:
    """Sign that a page was asked for by somebody who may not see it."""
    return trail.note(
        "deny",
        by=by,
        label=path,
        details={"permission": permission},
        outcome=Outcome.SERIOUS_FAILURE,
    )


def sign_in_failed(*, by: Actor, is_locked: bool) -> AuditEvent:
    """Sign that name and password did not match; `by` is who it was claimed to be.

    PS3.15 A.5.2: 4 where one may try again, 8 where one may not.
    """
    outcome = Outcome.SERIOUS_FAILURE if is_locked else Outcome.MINOR_FAILURE
    return trail.note("sign-in", by=by, outcome=outcome)


def locked_out(*, by: Actor, minutes: int) -> AuditEvent:
    """Sign that a name is locked at one address after too many tries."""
    return trail.note(
        "lock", by=by, label=by.name, details={"minutes": minutes}, outcome=Outcome.MAJOR_FAILURE
    )


def signed_out(*, by: Actor, reason: str = "") -> AuditEvent:
    """Sign that somebody has left, or (reason "idle") was signed out for want of a sign of life."""
    return trail.note("sign-out", by=by, reason=reason)


def trail_used(action: str, *, by: Actor, details: Mapping[str, Any]) -> AuditEvent:
    """Sign a look at the trail itself: "view" or "export"."""
    return trail.note(action, by=by, label=AUDIT_TRAIL, details=details)


@contextmanager
def running(program: str, **details: Any) -> Iterator[None]:
    """Sign the start of a program ("runscp", "web") now and its stop at the end of the block."""
    program_activity("start", program, **details)
    try:
        yield
    finally:
        program_activity("stop", program, **details)


def program_activity(action: str, program: str, **details: Any) -> None:
    """Sign a "start" or a "stop".

    A database that is away holds neither up, and is told to the log: that event is lost.
    """
    try:
        trail.note(action, by=Actor(program), label=program, details=details)
    except Error as error:
        logger.error(
            "the %s of %s is not in the audit trail: %s", action, program, type(error).__name__
        )
    finally:
        # A server's first thread keeps no connection between its start and its stop.
        if not connection.in_atomic_block:
            with suppress(Error):
                connection.close()
