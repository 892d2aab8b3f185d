"""The cast of the tests: CT1 and MR1, Müller^Anna, an order of hers, clerk Ines who signs.

`book` books as people do; `step` writes rows as they stand, whatever the rules of booking say.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import count
from typing import Any

from django.db import models

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
    StepProtocolCode,
    StepStation,
)
from worklist.scheduling import PlannedStep

actor = Actor("ines", "10.0.0.7")
DAY = dt.date(2024, 7, 5)
YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"
_numbers = count(1)


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


def step(
    *,
    stations: Sequence[str] = ("CT1",),
    codes: Sequence[Code] = (),
    order: ScheduledProcedureStep | None = None,
    **values: Any,
) -> ScheduledProcedureStep:
    """A step with all that it hangs on; `values` are named by their DICOM keyword.

    It belongs to the procedure of the step `order`, else to one of its own. A Patient ID that is
    there already is that patient.
    """
    number = next(_numbers)
    usual = {
        "PatientName": "Müller^Anna",
        "PatientID": f"N{number}",
        "AccessionNumber": f"A{number}",
        "RequestedProcedureID": f"R{number}",
        "StudyInstanceUID": f"1.2.826.0.1.{number}",
        "ScheduledProcedureStepID": f"S{number}",
        "ScheduledProcedureStepStartDate": DAY,
        "ScheduledProcedureStepStartTime": dt.time(9),
        "Modality": "CT",
    }
    values = {**usual, **values}
    mine = _columns(ScheduledProcedureStep, values)
    if order:
        procedure = order.requested_procedure
    else:
        about, request, asked = (
            _columns(model, values)
            for model in (Patient, ImagingServiceRequest, RequestedProcedure)
        )
        person, _ = Patient.objects.get_or_create(
            patient_id=about.pop("patient_id"), defaults=about
        )
        procedure = RequestedProcedure.objects.create(
            request=ImagingServiceRequest.objects.create(patient=person, **request), **asked
        )
    made = ScheduledProcedureStep.objects.create(requested_procedure=procedure, **mine)
    for position, title in enumerate(stations):
        at, _ = Station.objects.get_or_create(ae_title=title, defaults={"modality": title[:2]})
        StepStation.objects.create(step=made, station=at, position=position)
    for position, each in enumerate(codes):
        StepProtocolCode.objects.create(step=made, code=each, position=position)
    return made


def _columns(model: type[models.Model], values: dict[str, Any]) -> dict[str, Any]:
    """Of these values by keyword, those that the model has a column for, by its name."""
    names = {getattr(field, "keyword", ""): field.name for field in model._meta.get_fields()}
    return {names[keyword]: value for keyword, value in values.items() if keyword in names}
