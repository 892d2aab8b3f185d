"""What happens to orders, whoever asks: every door ends here.

Each verb validates, writes and signs in one transaction. What a door shows or parses is not here.
Raises ValidationError when a row cannot be what it is told to be.
"""

from __future__ import annotations

from worklist.models import FINAL
from worklist.scheduling.amending import Plan, amend
from worklist.scheduling.orders import (
    PlannedStep,
    place_order,
    save_patient,
    save_procedure,
    save_request,
    save_step,
    station_names,
)
from worklist.scheduling.patients import merge, resolve, unmerge
from worklist.scheduling.steps import cancel, reschedule, set_status
from worklist.scheduling.versions import Change, StaleVersion

__all__ = [
    "FINAL",
    "Change",
    "Plan",
    "PlannedStep",
    "StaleVersion",
    "amend",
    "cancel",
    "merge",
    "place_order",
    "reschedule",
    "resolve",
    "save_patient",
    "save_procedure",
    "save_request",
    "save_step",
    "set_status",
    "station_names",
    "unmerge",
]
