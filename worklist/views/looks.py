"""Pages that show patients sign that they did: who saw whom."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest
from django.utils.translation import gettext_noop

from worklist.actor import actor
from worklist.audit import looks, trail
from worklist.lookup import FoundPatient
from worklist.models import Patient, ScheduledProcedureStep
from worklist.views.who import Who

# Lists, as the trail keeps their names; the audit page shows them in the language of the screen.
DAY = gettext_noop("Exams of a day")
MOVED = gettext_noop("Exams that are moved together")
UNDONE = gettext_noop("Exams of an undo")
FOUND = gettext_noop("Patients found")
_FORM = gettext_noop("Patients of a booking form")


def at(request: HttpRequest, *patients: Patient) -> None:
    """Sign a page about these patients."""
    for patient in patients:
        trail.note("view", patient, by=actor(request))


def at_exam(request: HttpRequest, step: ScheduledProcedureStep) -> None:
    """Sign a page about the patient of this exam."""
    patient = step.requested_procedure.request.patient
    trail.note("view", patient, by=actor(request), details={"exam": step.pk})


def at_list(request: HttpRequest, patients: Iterable[Patient], label: str) -> None:
    """Sign a list that shows these patients."""
    looks.seen([each.pk for each in patients], by=actor(request), label=label)


def at_form(request: HttpRequest, who: Who) -> None:
    """Sign those whom a form of booking shows: who is chosen, was found, or may be the new one."""
    shown = [who.patient] if who.patient else []
    shown += [each.patient for each in who.found_patients or ()]
    shown += [each.patient for each in who.twins]
    _typing(request, shown)


def at_found(request: HttpRequest, found: Iterable[FoundPatient]) -> None:
    """Sign those whom the lookup of such a form has found."""
    _typing(request, [each.patient for each in found])


def _typing(request: HttpRequest, patients: Iterable[Patient]) -> None:
    # Its parts are asked for while one types, with the same patients again and again.
    keys = [each.pk for each in patients]
    looks.seen_again(keys, by=actor(request), label=_FORM)
