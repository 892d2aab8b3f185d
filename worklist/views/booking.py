"""The page on which exams are booked, and the parts of it that are asked for while one types.

Every button sends the whole form: with scripts a part of it comes back, without them the page.
"""

from __future__ import annotations

import datetime as dt
import uuid
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from worklist import lookup, names, once
from worklist.actor import actor
from worklist.roles import needs
from worklist.scheduling import StaleVersion, booking, undo
from worklist.scheduling.booking import Booking, Visit
from worklist.scheduling.conflicts import ConflictsFound, when
from worklist.views import looks, notices, way_back
from worklist.views.asked import is_number
from worklist.views.desk import Desk

_PARTS = {"who", "exam", "when", "advice", "twins"}
_EVERY = 10_000
# The exams that this PC has put on a list last, the newest first: a cookie of keys.
LAST_USED = "walk_in_exams"


@needs("worklist.schedule_exam", "worklist.view_patient")
def exam_new(request: HttpRequest) -> HttpResponse:
    """The form; a button of it that only asks for something shows the form again."""
    desk = Desk(request, request.POST if request.method == "POST" else _opened(request))
    if request.method != "POST":
        desk.fill()
        return _page(request, desk)
    intent = desk.press()
    if intent in ("save", "save-another"):
        return _save(request, desk, is_another_next=intent == "save-another")
    desk.fill()
    return _page(request, desk)


@require_POST
@needs("worklist.schedule_exam", "worklist.view_patient")
def patients(request: HttpRequest) -> HttpResponse:
    """The options of the patient lookup."""
    query = request.POST.get("patient_query", "")
    found = lookup.find_patients(query)
    looks.at_found(request, found)
    context = {
        "query": query.strip(),
        "found": found,
        "is_searched": lookup.is_search(query),
        "who": _form_of(request),
    }
    return render(request, "booking/patient_options.html", context)


@require_POST
@needs("worklist.schedule_exam", "worklist.view_patient")
def procedures(request: HttpRequest) -> HttpResponse:
    """The options of the catalogue."""
    query = request.POST.get("exam_query", "")
    found = lookup.find_procedures(query)
    if _is_for_walk_in(request):
        found = walk_in_procedures(request, query)
    context = {"query": query.strip(), "found": found, "address": _form_of(request)}
    return render(request, "booking/exam_options.html", context)


def walk_in_procedures(request: HttpRequest, query: str) -> tuple[lookup.Choice, ...]:
    """Single procedures, those that this PC has booked last first."""
    used = [f"p{key}" for key in last_used(request)]
    found = [each for each in lookup.find_procedures(query, limit=_EVERY) if each.key[0] == "p"]
    found.sort(key=lambda each: used.index(each.key) if each.key in used else len(used))
    return tuple(found[: lookup.RESULTS])


def last_used(request: HttpRequest) -> list[str]:
    """The keys of the exams that this PC has put on a list last, the newest first."""
    kept = request.COOKIES.get(LAST_USED, "")[:100].split(".")
    return [key for key in kept if is_number(key)]


def _is_for_walk_in(request: HttpRequest) -> bool:
    return request.GET.get("on") == "walk-in"


def _form_of(request: HttpRequest) -> str:
    """Where the parts of the form are asked for in which one types."""
    return reverse("walk-in") if _is_for_walk_in(request) else reverse("exam-new-slots")


@require_POST
@needs("worklist.schedule_exam", "worklist.view_patient")
def parts(request: HttpRequest) -> HttpResponse:
    """One part of the form as it is now: free slots, conflicts, or what a choice fills in."""
    part = request.GET.get("part", "advice")
    if part not in _PARTS:
        return HttpResponseBadRequest()
    desk = Desk(request, request.POST)
    desk.press()
    if part in ("exam", "when"):
        desk.fill()
    looks.at_form(request, desk.who)
    return render(request, f"booking/{part}.html", {"desk": desk, "who": desk.who})


def _opened(request: HttpRequest) -> QueryDict:
    """The form as the address opens it: patient, scanner, day and time may be chosen already.

    `after` is the exam after which another is booked for the same patient.
    """
    data = QueryDict(mutable=True)
    data["form_key"] = once.new_key()
    data["one_request"] = "on"
    data["next"] = way_back.of(request)
    for name in ("patient", "station", "day", "time", "after"):
        if value := request.GET.get(name, ""):
            data["after" if name == "after" else _OPENED[name]] = value
    return data


_OPENED = {
    "patient": "patient",
    "station": "want_station",
    "day": "want_day",
    "time": "want_time",
}


def _page(request: HttpRequest, desk: Desk, *, status: int = 200) -> HttpResponse:
    looks.at_form(request, desk.who)
    context = {"desk": desk, "who": desk.who, "way_back": way_back.of(request)}
    return render(request, "booking/new.html", context, status=status)


def _save(request: HttpRequest, desk: Desk, *, is_another_next: bool) -> HttpResponse:
    key = once.key_of(request.POST)
    # Asked once more when it does not hold: the patient of the first sending is now a duplicate.
    if not desk.is_valid() or once.carried_out(key):
        return sent_before(request, key) or _page(request, desk, status=422)
    visit = desk.visit()
    done: list[Booking] = []

    def work() -> str:
        made = booking.book(
            visit,
            by=actor(request),
            accepted=desk.accepted,
            reason=desk.why,
            may_override=desk.may_override,
        )
        done.append(made)
        came_from = way_back.given(request)
        if is_another_next:
            query = {"after": made.steps[-1].pk, "next": way_back.without_search(came_from)}
            return f"{reverse('exam-new')}?{urlencode({k: v for k, v in query.items() if v})}"
        return way_back.to_board(came_from) or board(made.steps[0].start_date)

    try:
        outcome = once.carry_out(key, work)
    except (ConflictsFound, ValidationError, IntegrityError, StaleVersion) as error:
        desk.refused(error)
        return _page(request, desk, status=422)
    if outcome.is_repeated:
        return sent_before(request, key) or redirect(outcome.address)
    (made,) = done
    notices.done(request, told(made, visit), undo=undo.of_booking(made.steps, form=key))
    return redirect(outcome.address)


def sent_before(request: HttpRequest, key: uuid.UUID) -> HttpResponse | None:
    """Where the form with this key has led to, if it was carried out already; and say so."""
    address = once.carried_out(key)
    if address is None:
        return None
    notices.done(request, _("This form was sent before: what it says is booked once."))
    return redirect(address)


def board(day: dt.date) -> str:
    """The board of that day."""
    try:
        return f"{reverse('today')}?{urlencode({'day': f'{day:%Y-%m-%d}'})}"
    except NoReverseMatch:
        return reverse("exam-new")


def told(made: Booking, visit: Visit) -> str:
    """What was booked, in a sentence, and what gave way to it."""
    exams = []
    for step, exam in zip(made.steps, visit.exams, strict=True):
        exams.append(
            {
                "exam": step.description,
                "when": when(exam.start),
                "scanner": exam.station.friendly_name,
                "accession": step.requested_procedure.request.accession_number,
            }
        )
    patient = names.text(made.steps[0].requested_procedure.request.patient.name)
    if len(exams) == 1:
        said = _("%(patient)s: %(exam)s is booked %(when)s on %(scanner)s (%(accession)s).")
        said %= {"patient": patient, **exams[0]}
    else:
        each = _("%(exam)s %(when)s on %(scanner)s (%(accession)s)")
        listed = "; ".join(each % exam for exam in exams)
        said = _("%(patient)s is booked for %(exams)s.") % {"patient": patient, "exams": listed}
    return f"{said} {told_all_the_same(made)}".strip()


def told_all_the_same(made: Booking) -> str:
    """What gave way to an emergency, "" when nothing did."""
    if not made.gave_way:
        return ""
    conflicts = " ".join(conflict.message for conflict in made.gave_way)
    return _("Booked all the same: %(conflicts)s") % {"conflicts": conflicts}
