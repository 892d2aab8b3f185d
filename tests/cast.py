"""The cast of the tests: CT1 and MR1, Müller^Anna, an order of hers, clerk Ines who signs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from worklist import scheduling
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling import PlannedStep

actor = Actor("ines", "10.0.0.7")
DAY = dt.date(2024, 7, 5)


def station(ae_title: str = "CT1", name: str = "CT Ground Floor") -> Station:
    found = Station.objects.filter(ae_title=ae_title).first()
    if found is None:
        found = Station(ae_title=ae_title, name=name, modality=ae_title[:2])
        trail.save(found, by=actor)
    return found


def code(value: str = "CTTH", meaning: str = "CT Thorax") -> Code:
    made = Code(value=value, scheme="99SITE", meaning=meaning)
    trail.save(made, by=actor)
    return made


def patient(patient_id: str = "P1", name: str = "Müller^Anna", **more: Any) -> Patient:
    return scheduling.save_patient(Patient(patient_id=patient_id, name=name, **more), by=actor)


def new_step(**more: Any) -> ScheduledProcedureStep:
    usual = {"start_date": DAY, "start_time": dt.time(9), "modality": "CT"}
    return ScheduledProcedureStep(**{**usual, **more})


def book(
    of: Patient, *, stations: Sequence[Station] = (), codes: Sequence[Code] = (), **more: Any
) -> ScheduledProcedureStep:
    (step,) = scheduling.place_order(
        ImagingServiceRequest(patient=of),
        RequestedProcedure(description="CT Thorax"),
        steps=[PlannedStep(new_step(**more), tuple(stations), tuple(codes))],
        by=actor,
    )
    return step
