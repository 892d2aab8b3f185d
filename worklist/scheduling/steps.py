"""What happens to a step that is booked: it moves, is canceled, goes from status to status."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from worklist.audit.trail import Actor
from worklist.models import ScheduledProcedureStep, Station, StepStatus
from worklist.scheduling.orders import save_step, station_names

FINAL = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED})


def reschedule(
    step: ScheduledProcedureStep,
    start: dt.datetime,
    *,
    stations: Sequence[Station] | None = None,
    by: Actor,
) -> ScheduledProcedureStep:
    """Move a step to this wall-clock time of the site, and to these stations if any are given.

    An end that is known moves along. A step that is over stays where it is.
    """
    with transaction.atomic():
        step = _locked(step)
        _refuse_if_final(step)
        if step.end_date and step.end_time:
            booked = dt.datetime.combine(step.start_date, step.start_time)
            end = dt.datetime.combine(step.end_date, step.end_time) + (start - booked)
            step.end_date, step.end_time = end.date(), end.time()
        elif step.end_date:
            step.end_date += start.date() - step.start_date
        step.start_date, step.start_time = start.date(), start.time()
        if stations is not None:
            step.station_names = station_names(stations)
        return save_step(step, stations=stations, by=by)


def cancel(step: ScheduledProcedureStep, *, by: Actor) -> ScheduledProcedureStep:
    """Take a step off the worklist for good. A step that is over is not canceled any more."""
    with transaction.atomic():
        _refuse_if_final(_locked(step))
        return set_status(step, StepStatus.CANCELED, by=by)


def set_status(
    step: ScheduledProcedureStep, status: StepStatus, *, by: Actor
) -> ScheduledProcedureStep:
    """Say how far a step is. Any status may follow any other: people also correct themselves."""
    with transaction.atomic():
        step = _locked(step)
        step.status = status
        return save_step(step, by=by)


def _locked(step: ScheduledProcedureStep) -> ScheduledProcedureStep:
    """The step as it stands now, ours until the transaction ends."""
    return ScheduledProcedureStep.objects.select_for_update().get(pk=step.pk)


def _refuse_if_final(step: ScheduledProcedureStep) -> None:
    if step.status in FINAL:
        raise ValidationError(
            _("This exam is over (%(status)s): book a new one."),
            params={"status": step.get_status_display()},
        )
