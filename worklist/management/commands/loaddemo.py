"""`manage.py loaddemo`: the demo's cast and appointments, dated today. The data is in demo_data."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from worklist import catalogue, demo_data, scheduling
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.catalogue import CodedText
from worklist.models import (
    ClosedDay,
    ImagingServiceRequest,
    OpeningHours,
    OpeningTime,
    OrderSet,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepStatus,
    User,
)
from worklist.scheduling import PlannedStep

BY = Actor("loaddemo")
OTHERS_ARE_HERE = """\
This database holds patients that are not the demo's: nothing was changed. Name an empty database in
DATABASE_URL, or give --force to put the demo's data and accounts beside them."""


class Command(BaseCommand):
    help = "Load the demo's stations, catalogue, patients, accounts and today's steps; repeatable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--force", action="store_true", help="even beside patients that are not the demo's"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["force"] and Patient.objects.exclude(issuer=demo_data.ISSUER).exists():
            raise CommandError(OTHERS_ARE_HERE)
        today = timezone.localdate()
        with transaction.atomic():
            load_catalogue()
            load_closed_days(today)
            load_patients()
            booked = load_day(today, demo_data.TODAY)
            booked += load_day(today + dt.timedelta(days=1), demo_data.TOMORROW)
            load_accounts()
        self.stdout.write(f"Demo data: {booked} steps booked, the others were there already.")


def load_catalogue() -> None:
    for name, days in demo_data.OPENING_HOURS:
        if not OpeningHours.objects.filter(name=name).exists():
            week = OpeningHours(name=name)
            catalogue.save_opening_hours(week, demo_times(days), seen=None, by=BY)
    for ae_title, name, modality, location, hours in demo_data.STATIONS:
        if not Station.objects.filter(ae_title=ae_title).exists():
            station = Station(
                ae_title=ae_title,
                name=name,
                modality=modality,
                location=location,
                opening_hours=OpeningHours.objects.get(name=hours) if hours else None,
            )
            catalogue.save_station(station, seen=None, by=BY)
    for name, description, modality, minutes, station_name, preparation in demo_data.PROCEDURES:
        if ProcedureType.objects.filter(code=name).exists():
            continue
        procedure_type = ProcedureType(
            code=name,
            description=description,
            modality=modality,
            minutes=minutes,
            default_station=Station.objects.get(ae_title=station_name),
            preparation=preparation,
            uses_contrast=name in demo_data.CONTRAST,
            asks_pregnancy=name in demo_data.PREGNANCY,
        )
        catalogue.save_procedure_type(
            procedure_type,
            allowed_stations=[],
            requested_code=CodedText(name, "99DEMO", description),
            protocol_codes=[CodedText(f"P-{name}", "99DEMO", f"{description}, standard protocol")],
            seen=None,
            by=BY,
        )
    for short, name, codes in demo_data.ORDER_SETS:
        if not OrderSet.objects.filter(code=short).exists():
            kinds = [ProcedureType.objects.get(code=code) for code in codes]
            order_set = OrderSet(code=short, name=name)
            catalogue.save_order_set(order_set, kinds, seen=None, by=BY)


def demo_times(days: Sequence[str]) -> list[OpeningTime]:
    return [
        OpeningTime(
            weekday=weekday,
            opens=dt.time.fromisoformat(stretch[:5]),
            closes=dt.time.fromisoformat(stretch[6:]),
        )
        for weekday, stretches in enumerate(days)
        for stretch in stretches.split()
    ]


def load_closed_days(today: dt.date) -> None:
    """Keep the demo's closed days ahead, however often it is loaded."""
    for days, ae_title, reason in demo_data.CLOSED_DAYS:
        station = Station.objects.get(ae_title=ae_title) if ae_title else None
        if not ClosedDay.objects.filter(day__gte=today, station=station, reason=reason).exists():
            closed = ClosedDay(day=today + dt.timedelta(days=days), station=station, reason=reason)
            catalogue.save_closed_day(closed, seen=None, by=BY)


def load_patients() -> None:
    for patient_id, name, birth_date, sex, more in demo_data.PATIENTS:
        if not demo_patients().filter(patient_id=patient_id).exists():
            patient = Patient(
                patient_id=patient_id,
                issuer=demo_data.ISSUER,
                name=name,
                birth_date=birth_date,
                sex=sex,
                **more,
            )
            scheduling.save_patient(patient, by=BY)


def demo_patients() -> QuerySet[Patient]:
    return Patient.objects.filter(issuer=demo_data.ISSUER)


def load_day(day: dt.date, plan: Sequence[tuple[str, str, str, str, str, str]]) -> int:
    """Book what of this plan is not booked yet; return how many steps that were."""
    booked = 0
    for number, (start, patient_id, code, ae_title, status, priority) in enumerate(plan, 1):
        patient = demo_patients().get(patient_id=patient_id)
        # It says which line of the plan it is, so that a second run finds it.
        accession_number = f"D{day:%y%m%d}{'T' if plan is demo_data.TOMORROW else ''}{number:02}"
        if patient.requests.filter(accession_number=accession_number).exists():
            continue
        procedure_type = ProcedureType.objects.get(code=code)
        station = (
            Station.objects.get(ae_title=ae_title) if ae_title else procedure_type.default_station
        )
        assert station is not None
        begin = dt.datetime.combine(day, dt.time.fromisoformat(start))
        end = begin + dt.timedelta(minutes=procedure_type.minutes)
        request = ImagingServiceRequest(
            patient=patient,
            accession_number=accession_number,
            referring_physician="Quincy^Jane^^Dr.",
            requesting_physician="Haas^Leo^^Dr.",
            requesting_service="Emergency" if priority == "STAT" else "Outpatients",
        )
        procedure = RequestedProcedure(
            description=procedure_type.description,
            code=procedure_type.requested_procedure_code,
            priority=priority,
            comments=procedure_type.preparation,
        )
        step = ScheduledProcedureStep(
            start_date=begin.date(),
            start_time=begin.time(),
            end_date=end.date(),
            end_time=end.time(),
            modality=procedure_type.modality,
            description=procedure_type.description,
            location=station.location,
            performing_physician="Röntgen^Wilhelmine^^Dr.",
        )
        planned = PlannedStep(step, (station,), tuple(procedure_type.protocol_codes.all()))
        scheduling.place_order(request, procedure, steps=[planned], by=BY)
        if status != StepStatus.SCHEDULED:
            scheduling.set_status(step, StepStatus(status), by=BY)
        booked += 1
    return booked


def load_accounts() -> None:
    for username, first_name, last_name, role in demo_data.ACCOUNTS:
        if User.objects.filter(username=username).exists():
            continue
        user = User(
            username=username,
            first_name=first_name,
            last_name=last_name,
            is_staff=role == "Administrator",
            is_superuser=role == "Administrator",
        )
        user.set_password(f"{username}-demo")
        user.full_clean()
        trail.save(user, by=BY, lists={"groups": [Group.objects.get(name=role)]})
