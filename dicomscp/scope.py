"""What the asking AE may see, as conditions of the same kind as those of its keys.

Pure: no database, no network.
"""

from __future__ import annotations

from dicomscp.matching import AnyItem, Condition, OneOf
from dicomscp.plan import QueryPlan
from worklist import attributes

_STEP = attributes.find("ScheduledProcedureStepSequence")
_STATUS = attributes.find("ScheduledProcedureStepSequence", "ScheduledProcedureStepStatus")

# PS3.3 C.4.10. STARTED stays in sight: a console that crashed needs the entry again.
OPEN_STATUSES = ("SCHEDULED", "ARRIVED", "READY", "STARTED")
_IS_OPEN = AnyItem(_STEP, (OneOf(_STATUS, OPEN_STATUSES),))


def conditions(plan: QueryPlan) -> tuple[Condition, ...]:
    """What holds beside the request's own keys: open steps, unless a key asks for a status."""
    return () if _asks_for_status(plan) else (_IS_OPEN,)


def _asks_for_status(plan: QueryPlan) -> bool:
    return any(
        getattr(inner, "attribute", None) is _STATUS
        for condition in plan.conditions
        if isinstance(condition, AnyItem) and condition.attribute is _STEP
        for inner in condition.conditions
    )
