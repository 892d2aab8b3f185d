"""What the database holds to ask about, and the account that asks."""

from __future__ import annotations

import datetime as dt
import random

from django.contrib.auth.models import Group

from benchmarks.web.measures import Site
from worklist import clock
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import Patient, ProcedureType, ScheduledProcedureStep, Station, User


def account(username: str, password: str) -> None:
    """A clerk's account with this password."""
    user = User.objects.filter(username=username).first() or User(username=username)
    user.set_password(password)
    clerk = Group.objects.get(name="Clerk")
    trail.save(user, by=Actor("benchmark"), lists={"groups": [clerk]})


def site() -> Site:
    """Scanners and exams of one modality, so that each fits each, and patients from all over.

    Nobody of whom a booking has to ask back: men without a noted allergy.
    """
    modality = "CT"
    patients = Patient.objects.filter(sex="M", allergies="").order_by("pk")
    first, last = patients[0].pk, patients.reverse()[0].pk
    chance = random.Random(1)
    sample = list(
        patients.filter(pk__in=[chance.randint(first, last) for _ in range(3000)]).values_list(
            "pk", "name", "patient_id", "birth_date"
        )
    )
    typed: list[str] = []
    for number, (_, name, patient_id, birth_date) in enumerate(sample):
        family, _, given = name.partition("=")[0].partition("^")
        typed.append(
            (
                family[:4],
                f"{family} {given[:2]}".replace("^", " "),
                patient_id,
                f"{birth_date:%d.%m.%Y}" if birth_date else patient_id,
            )[number % 4]
        )
    stations = Station.objects.filter(modality=modality, is_active=True)
    kinds = ProcedureType.objects.filter(modality=modality, is_active=True)
    (last_booked,) = ScheduledProcedureStep.objects.values_list("start_date").latest("start_date")
    return Site(
        today=clock.today(),
        free_from=max(last_booked, clock.today()) + dt.timedelta(days=30),
        stations=tuple(stations.values_list("pk", flat=True)),
        kinds=tuple(kinds.values_list("pk", flat=True)),
        patients=tuple(pk for pk, *_ in sample),
        typed=tuple(typed),
    )
