"""The worklist's nouns: PS3.4 K.6.1.1's real-world model and the site's catalogue.

Patient 1-n ImagingServiceRequest 1-n RequestedProcedure 1-n ScheduledProcedureStep.
"""

from __future__ import annotations

from worklist.models.catalogue import (
    ClosedDay,
    Code,
    OpeningHours,
    OpeningTime,
    OrderSet,
    OrderSetItem,
    ProcedureType,
    ProcedureTypeCode,
    Station,
)
from worklist.models.counters import Counter
from worklist.models.orders import (
    FINAL,
    ImagingServiceRequest,
    RequestedProcedure,
    ScheduledProcedureStep,
    StepProtocolCode,
    StepStation,
    StepStatus,
)
from worklist.models.people import Patient, PatientMerge, User
from worklist.models.stations import ModalityAlias, Sees, ShownStatus, StationTitle
from worklist.models.submissions import FormSubmission
from worklist.models.walls import WallScreen

__all__ = [
    "FINAL",
    "ClosedDay",
    "Code",
    "Counter",
    "FormSubmission",
    "ImagingServiceRequest",
    "ModalityAlias",
    "OpeningHours",
    "OpeningTime",
    "OrderSet",
    "OrderSetItem",
    "Patient",
    "PatientMerge",
    "ProcedureType",
    "ProcedureTypeCode",
    "RequestedProcedure",
    "ScheduledProcedureStep",
    "Sees",
    "ShownStatus",
    "Station",
    "StationTitle",
    "StepProtocolCode",
    "StepStation",
    "StepStatus",
    "User",
    "WallScreen",
]
