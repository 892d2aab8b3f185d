"""`manage.py explain`: why a scanner does not show an exam, step by step on the console."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import translation

from dicomscp import heartbeat
from dicomscp.explain import explanation, text
from dicomscp.models import Query
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import ScheduledProcedureStep, Station

_WITH = "requested_procedure__request__patient"


class NotUnderstoodError(CommandError):
    """What was asked about is not there: another exit code than an exam that is not sent."""

    def __init__(self, text: str) -> None:
        super().__init__(text, returncode=2)


class Command(BaseCommand):
    help = (
        "Say why a scanner does not show an exam. The exit code is 0 when it was sent, or is as "
        "soon as the scanner asks again, else 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--step",
            required=True,
            metavar="NUMBER",
            help="the exam: its accession number, step ID, or number in its address",
        )
        parser.add_argument(
            "--station", default="", metavar="TITLE", help="the scanner: an AE title, or its number"
        )
        parser.add_argument(
            "--query", type=int, metavar="NUMBER", help="a query's number; without it the last one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        step = _step(options["step"])
        query = _query(options["query"]) if options["query"] is not None else None
        if options["station"]:
            station = _station(options["station"])
            is_running = heartbeat.is_running()
            told = explanation.of_station(step, station, query=query, is_running=is_running)
        elif query is not None:
            told = explanation.of_query(step, query)
        else:
            raise NotUnderstoodError("Say which scanner: --station, or --query.")
        trail.note(
            "view",
            step.requested_procedure.request.patient,
            by=Actor("explain"),
            details={"exam": step.pk, "as": "explain"},
        )
        # The words of the screens, in the language that commands speak.
        with translation.override("en"):
            for line in text.lines(told):
                self.stdout.write(line)
        if not told.is_well:
            sys.exit(1)


def _step(wanted: str) -> ScheduledProcedureStep:
    steps = ScheduledProcedureStep.objects.select_related(_WITH)
    found = list(
        steps.filter(requested_procedure__request__accession_number=wanted).order_by("pk")
    ) or list(steps.filter(step_id=wanted).order_by("pk"))
    if not found and wanted.isascii() and wanted.isdigit() and len(wanted) < 18:
        found = list(steps.filter(pk=int(wanted)))
    if not found:
        raise NotUnderstoodError(
            f"No exam has the accession number, step ID or number {wanted}. The number stands in "
            "the address of the exam's page."
        )
    if len(found) > 1:
        several = ", ".join(f"{step.pk} ({step})" for step in found[:10])
        raise NotUnderstoodError(f"{len(found)} exams are called {wanted}: say which, {several}.")
    return found[0]


def _station(wanted: str) -> Station:
    titled = Q(ae_title=wanted) | Q(titles__ae_title=wanted)
    found = Station.objects.filter(titled).distinct().first()
    if found is None and wanted.isascii() and wanted.isdigit() and len(wanted) < 18:
        found = Station.objects.filter(pk=int(wanted)).first()
    if found is None:
        known = ", ".join(Station.objects.values_list("ae_title", flat=True)[:20])
        raise NotUnderstoodError(f"No scanner is {wanted}. There are: {known or 'none'}.")
    return found


def _query(wanted: int) -> Query:
    found = Query.objects.select_related("association").filter(pk=wanted).first()
    if found is None:
        raise NotUnderstoodError(f"The journal has no query {wanted}: it may have been purged.")
    return found
