"""The cast of the tests: CT1 and MR1, Müller^Anna, an order of hers, clerk Ines who signs.

`book` books as people do; `step` and `booked` write rows as they stand, whatever the rules of
booking say.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import count
from typing import Any

from django.db import models, transaction

from worklist import scheduling
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepProtocolCode,
    StepStation,
)
from worklist.scheduling import PlannedStep

actor = Actor("ines", "10.0.0.7")
DAY = dt.date(2024, 7, 5)
# The day on which people book, and the moment at which they do.
MONDAY = dt.date(2026, 11, 23)
NOW = dt.datetime(2026, 11, 23, 10, 42)
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


def kind(
    code: str = "CTHEAD",
    description: str = "CT head",
    *,
    modality: str = "CT",
    is_coded: bool = True,
    **more: Any,
) -> ProcedureType:
    """An entry of the catalogue, with a code and a protocol code of its own."""
    made = ProcedureType(code=code, description=description, modality=modality, **more)
    codes = [
        Code(value=value, scheme="99SITE", meaning=description) for value in (code, f"P-{code}")
    ]
    for each in codes if is_coded else ():
        trail.save(each, by=actor)
    if is_coded:
        made.requested_procedure_code = codes[0]
        made.preparation = made.preparation or "Nothing to eat"
    trail.save(made, by=actor, lists={"protocol_codes": codes[1:]} if is_coded else None)
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


@transaction.atomic  # a server beside the test sees it whole or not at all, as the product writes
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


def booked(start: str, end: str, *, on: str = "CT1", **more: Any) -> ScheduledProcedureStep:
    """A step of that Monday, from and until these times, on the station with this AE title."""
    return step(
        **{
            "stations": (on,),
            "ScheduledProcedureStepStartDate": MONDAY,
            "ScheduledProcedureStepStartTime": dt.time.fromisoformat(start),
            "ScheduledProcedureStepEndDate": MONDAY,
            "ScheduledProcedureStepEndTime": dt.time.fromisoformat(end),
            **more,
        }
    )


def _columns(model: type[models.Model], values: dict[str, Any]) -> dict[str, Any]:
    """Of these values by keyword, those that the model has a column for, by its name."""
    names = {getattr(field, "keyword", ""): field.name for field in model._meta.get_fields()}
    return {names[keyword]: value for keyword, value in values.items() if keyword in names}
