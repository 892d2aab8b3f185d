"""What happens to a step that is booked: it moves, is canceled, goes from status to status.

A person's call carries the version that the person saw, and keeps to the rules of people;
a program's call without one is taken as it is.
Raises StaleVersion, ConflictsFound, ValidationError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from worklist.audit.trail import Actor
from worklist.models import (
    FINAL,
    ScheduledProcedureStep,
    Station,
    StepStatus,
)
from worklist.scheduling import conflicts, held
from worklist.scheduling.orders import save_step, station_names
from worklist.scheduling.versions import locked

# The way of an exam. People may leave out a stop until it has started.
_WAY = (StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY, StepStatus.STARTED)
BEFORE_START = frozenset(_WAY[:3])
UNDER_WAY = frozenset({StepStatus.STARTED, StepStatus.DEPARTED})
_ENDS = (StepStatus.COMPLETED, StepStatus.DISCONTINUED)

# --- moving ---------------------------------------------------------------------------------------


def reschedule(
    step: ScheduledProcedureStep,
    start: dt.datetime,
    *,
    stations: Sequence[Station] | None = None,
    by: Actor,
    version: int | None = None,
    accepted: Collection[str] | None = None,
    reason: str = "",
    may_override: bool = False,
) -> ScheduledProcedureStep:
    """Move a step to this wall-clock time of the site, and to these stations if any are given.

    An end that is known moves along. A step that is over stays where it is. `accepted` are the
    fingerprints of the conflicts that a person has seen; None asks for none.
    """
    with transaction.atomic():
        if accepted is not None:
            # Stations and patients wait for each other before steps do, as when booking.
            planned = held.proposals(step, start, stations=stations, may_override=may_override)
            conflicts.hold(
                [each.station for each in planned],
                [each.patient for each in planned if each.patient],
            )
        step = locked(step, version=version)
        _refuse_if_final(step)
        if version is not None and not may_move(step.status):
            raise ValidationError(_("This exam has started: it cannot be moved any more."))
        if accepted is not None:
            planned = held.proposals(step, start, stations=stations, may_override=may_override)
            settled = conflicts.settle(planned, accepted=frozenset(accepted), reason=reason)
            reason = reason or settled
            held.accept_risks(step, planned)
        move(step, start)
        if stations is not None:
            step.station_names = station_names(stations)
        return save_step(step, stations=stations, by=by, reason=reason)


def move(step: ScheduledProcedureStep, start: dt.datetime) -> None:
    """Set another start; an end that is known moves along. Nothing is saved."""
    if step.end_date and step.end_time:
        booked = dt.datetime.combine(step.start_date, step.start_time)
        end = dt.datetime.combine(step.end_date, step.end_time) + (start - booked)
        step.end_date, step.end_time = end.date(), end.time()
    elif step.end_date:
        step.end_date += start.date() - step.start_date
    step.start_date, step.start_time = start.date(), start.time()


# --- status ---------------------------------------------------------------------------------------


def cancel(
    step: ScheduledProcedureStep, *, by: Actor, version: int | None = None, reason: str = ""
) -> ScheduledProcedureStep:
    """Take a step off the worklist for good. A step that is over is not canceled any more."""
    with transaction.atomic():
        step = locked(step, version=version)
        _refuse_if_final(step)
        if version is not None and step.status in UNDER_WAY:
            raise ValidationError(_("This exam has started: set it to Stopped instead."))
        step.status = StepStatus.CANCELED
        return save_step(step, by=by, reason=reason)


def set_status(
    step: ScheduledProcedureStep,
    status: StepStatus,
    *,
    by: Actor,
    version: int | None = None,
    may_step_back: bool = False,
    reason: str = "",
) -> ScheduledProcedureStep:
    """Say how far a step is.

    A person goes forward, or, who may, one step back with a reason; a program sets any status.
    """
    with transaction.atomic():
        step = locked(step, version=version)
        if version is not None and step.status != status:
            _refuse_unless_next(step, status, may_step_back=may_step_back, reason=reason)
        step.status = status
        return save_step(step, by=by, reason=reason)


def forward(status: str) -> tuple[StepStatus, ...]:
    """What people may set after this status; canceling is a matter of its own."""
    if status in UNDER_WAY:
        return _ENDS
    if status in BEFORE_START:
        return _WAY[_WAY.index(StepStatus(status)) + 1 :]
    return ()


def may_move(status: str) -> bool:
    """Whether people can move a step of this status: it has not started."""
    return status in BEFORE_START


def may_cancel(status: str) -> bool:
    """Whether people can cancel a step of this status: it has not started."""
    return status in BEFORE_START


def back(status: str) -> StepStatus | None:
    """The status one step before this one, if there is one."""
    if status in _ENDS:
        return StepStatus.STARTED
    if status in _WAY[1:]:
        return _WAY[_WAY.index(StepStatus(status)) - 1]
    return None


def _refuse_unless_next(
    step: ScheduledProcedureStep, status: StepStatus, *, may_step_back: bool, reason: str
) -> None:
    if status in forward(step.status):
        return
    told = {"now": _label(step.status), "wanted": status.label}
    if status != back(step.status):
        raise ValidationError(_("An exam that is %(now)s cannot be set to %(wanted)s.") % told)
    if not may_step_back:
        raise ValidationError(
            _("Only a supervisor can set this exam back from %(now)s to %(wanted)s.") % told
        )
    if not reason.strip():
        raise ValidationError(_("Say why the exam goes back from %(now)s to %(wanted)s.") % told)


def _label(status: str) -> str:
    return str(dict(StepStatus.choices).get(status, status))


def _refuse_if_final(step: ScheduledProcedureStep) -> None:
    if step.status in FINAL:
        raise ValidationError(
            _("This exam is over (%(status)s): book a new one."),
            params={"status": step.get_status_display()},
        )
