"""The identifiers that this site gives: unique from birth, never changed (PS3.4 K.6.1.2.2).

No verbs here: scheduling says when an identifier is needed.
"""

from __future__ import annotations

import uuid
from functools import partial

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from worklist.models import (
    Counter,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
)


def study_instance_uid() -> str:
    """A new UID of the form 2.25.<UUID as a number> (PS3.5 B.2); at most 44 characters."""
    return f"2.25.{uuid.uuid4().int}"


def complete(obj: models.Model) -> None:
    """Fill in the identifiers that a request, procedure or step does not have yet."""
    if isinstance(obj, ImagingServiceRequest):
        obj.accession_number = obj.accession_number or accession_number()
    elif isinstance(obj, RequestedProcedure):
        obj.procedure_id = obj.procedure_id or requested_procedure_id()
        obj.study_instance_uid = obj.study_instance_uid or study_instance_uid()
    elif isinstance(obj, ScheduledProcedureStep):
        obj.step_id = obj.step_id or step_id()


def _number_of_the_day(letter: str, model: type[models.Model], column: str) -> str:
    """The letter, today's date at the site, and a running number: A2411230001.

    Numbers that came from elsewhere are passed over. The VR is SH, so 16 characters are the limit:
    a thousand million numbers a day.
    """
    day = f"{letter}{timezone.localdate():%y%m%d}"
    while True:
        made = f"{day}{next_number(day):04}"
        if not model._default_manager.filter(**{column: made}).exists():
            return made


accession_number = partial(_number_of_the_day, "A", ImagingServiceRequest, "accession_number")
requested_procedure_id = partial(_number_of_the_day, "R", RequestedProcedure, "procedure_id")
step_id = partial(_number_of_the_day, "S", ScheduledProcedureStep, "step_id")


def patient_id(issuer: str, *, is_unknown: bool = False) -> str:
    """P, or E for who is unknown, the year and a running number: P26-000123, E26-0031.

    Numbers that this issuer has given otherwise are passed over.
    """
    year = f"{timezone.localdate():%y}"
    letter, digits = ("E", 4) if is_unknown else ("P", 6)
    while True:
        made = f"{letter}{year}-{next_number(letter + year):0{digits}}"
        if not Patient.objects.filter(patient_id=made, issuer=issuer).exists():
            return made


def next_number(name: str) -> int:
    """The next number under this name. It is given once, whoever asks at the same time."""
    counter = Counter.objects.filter(pk=name)
    with transaction.atomic():
        # The update holds the row until the transaction ends: what is read next is our own number.
        if not counter.update(value=F("value") + 1):
            Counter.objects.bulk_create([Counter(name=name)], ignore_conflicts=True)
            counter.update(value=F("value") + 1)
        return counter.values_list("value", flat=True).get()
