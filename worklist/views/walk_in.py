"""Walk-ins: an exam that is put on a scanner's list within seconds.

What speaks against it gives way to an emergency, and is asked about otherwise.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from worklist import clock, lookup, names, once
from worklist.actor import actor
from worklist.forms.booking import fitting_stations
from worklist.forms.walk_in import WalkInForm
from worklist.models import ImagingServiceRequest, ProcedureType, ScheduledProcedureStep, Station
from worklist.roles import needs
from worklist.scheduling import booking, slots, undo, walk_ins
from worklist.scheduling.booking import EMERGENCY, Booking, PlannedExam, Visit
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.views import looks, notices, way_back
from worklist.views.asked import number
from worklist.views.booking import (
    LAST_USED,
    board,
    last_used,
    sent_before,
    told_all_the_same,
    walk_in_procedures,
)
from worklist.views.who import Problem, Who, problems_of

_PARTS = {
    "who": "booking/walk_in_who.html",
    "twins": "booking/twins.html",
    "exam": "booking/walk_in_exam.html",
}
# Of the exams that this PC has put on a list last: how many, and for how many seconds.
_KEPT, _KEPT_FOR = 5, 180 * 24 * 3600


@dataclass(frozen=True)
class Scanner:
    """A scanner that could take the walk-in, and when it is free ("" now)."""

    station: Station
    free: str


class WalkIn:
    """The form's fields and what follows from them."""

    def __init__(self, request: HttpRequest, data: QueryDict) -> None:
        self.request = request
        self.data = data
        self.who = Who(data, address=reverse("walk-in"))
        self.found_exams: tuple[lookup.Choice, ...] | None = None
        self.problems: list[Problem] = []
        self.conflicts: tuple[Conflict, ...] = ()
        self.is_sent = False

    @property
    def form_key(self) -> str:
        return self.data.get("form_key") or once.new_key()

    @property
    def is_unknown(self) -> bool:
        return bool(self.data.get("unknown")) and self.who.patient is None and not self.who.is_new

    @cached_property
    def kind(self) -> ProcedureType | None:
        kinds = ProcedureType.objects.filter(is_active=True).prefetch_related("allowed_stations")
        return kinds.filter(pk=number(self.data, "exam")).first()

    @cached_property
    def form(self) -> WalkInForm:
        if self.is_sent:
            return WalkInForm(self.data)
        usual = {"unknown_sex": "O", "start": "now"}
        urgency = EMERGENCY if self.is_unknown else "ROUTINE"
        return WalkInForm(initial={**usual, "urgency": urgency, **self.data.dict()})

    @cached_property
    def scanners(self) -> list[Scanner]:
        """The scanners for this exam, those that are free first; without one, all."""
        stations = list(Station.objects.filter(is_active=True).order_by("name", "ae_title"))
        if self.kind is not None:
            stations = fitting_stations(self.kind, stations)
        now = clock.now().replace(second=0)
        minutes = self.kind.minutes if self.kind else slots.USUAL_MINUTES
        free = slots.first_gaps(stations, now, minutes)
        stations.sort(key=lambda station: max(free[station.pk], now))
        return [
            Scanner(station, "" if free[station.pk] == now else f"{free[station.pk]:%H:%M}")
            for station in stations
        ]

    @property
    def errors(self) -> list[Conflict]:
        return [each for each in self.conflicts if each.level == "error"]

    @property
    def warnings(self) -> list[Conflict]:
        return [each for each in self.conflicts if each.level == "warning"]

    @property
    def needs_reason(self) -> bool:
        return any(each.needs_reason for each in self.warnings)

    @property
    def station(self) -> str:
        """The scanner that is wanted, when it is one of these, else the first that is free."""
        wanted = self.data.get("station", "")
        keys = [str(scanner.station.pk) for scanner in self.scanners]
        return wanted if wanted in keys or not keys or self.is_sent else keys[0]

    def press(self) -> bool:
        """Do what the button that was pressed asks for; answer whether it is to be saved."""
        data, who = self.data, self.who
        if (key := data.pop("choose_patient", [""])[-1]) != "":
            who.choose(key)
            data["unknown"] = ""
            return False
        if (key := data.pop("choose_exam", [""])[-1]) != "":
            data["exam"], data["exam_query"] = key.removeprefix("p"), ""
            return False
        act = data.pop("act", [""])[-1]
        query, exam_query = (data.get(name, "").strip() for name in ("patient_query", "exam_query"))
        is_default = act == "default"
        if act == "find-patient" or (
            is_default and query and not (who.patient or who.is_new or self.is_unknown)
        ):
            who.search()
            return False
        if act == "find-exam" or (is_default and exam_query):
            self._find_exam(exam_query)
            return False
        return act in ("save", "default")

    def _find_exam(self, query: str) -> None:
        found = walk_in_procedures(self.request, query)
        if len(found) == 1:
            self.data["exam"], self.data["exam_query"] = found[0].key.removeprefix("p"), ""
        else:
            self.found_exams = found

    def is_valid(self) -> bool:
        """Whether it can be put on the list as far as its fields say."""
        self.is_sent = self.who.is_sent = True
        self.__dict__.pop("form", None)
        who = self.who
        if who.is_typed:
            self.problems += problems_of(who.form) or who.duplicate_problems()
        elif who.patient is None and not self.is_unknown:
            text = _("Choose the patient, or tick “Unknown patient”.")
            self.problems.append(Problem(text, _("Patient"), "id_patient_query"))
        for field in self.form:
            anchor = WalkInForm.ANCHORS.get(field.name, field.id_for_label)
            self.problems += [
                Problem(str(error), str(field.label), anchor) for error in field.errors
            ]
        return not self.problems

    def visit(self) -> Visit:
        data, who = self.form.cleaned_data, self.who
        patient = who.patient or (
            who.new_patient
            if who.is_new
            else walk_ins.unknown_patient(data["unknown_sex"], at=clock.now())
        )
        exam = PlannedExam(data["exam"], data["station"], self.form.moment, data["exam"].minutes)
        request = ImagingServiceRequest(patient=patient)
        return Visit(
            request=request,
            exams=(exam,),
            priority=data["urgency"],
            has_arrived=self.form.is_now,
        )


@needs("worklist.schedule_exam", "worklist.view_patient")
def walk_in(request: HttpRequest) -> HttpResponse:
    """The form of four fields, its parts, and what it does."""
    data = request.POST.copy() if request.method == "POST" else request.GET.copy()
    if data.get("new") or data.get("choose_patient") == "new":
        data["make_id"] = "on"
    if request.method != "POST" and not data.get("exam"):
        data["exam"] = next(iter(last_used(request)), "")
    desk = WalkIn(request, data)
    wants_save = desk.press() and request.method == "POST"
    part = _PARTS.get(request.GET.get("part", ""))
    if part:
        looks.at_form(request, desk.who)
        return render(request, part, {"desk": desk, "who": desk.who})
    return _save(request, desk) if wants_save else _page(request, desk)


def _page(request: HttpRequest, desk: WalkIn, *, status: int = 200) -> HttpResponse:
    looks.at_form(request, desk.who)
    context = {"desk": desk, "who": desk.who, "way_back": way_back.of(request)}
    return render(request, "booking/walk_in.html", context, status=status)


def _save(request: HttpRequest, desk: WalkIn) -> HttpResponse:
    key = once.key_of(request.POST)
    if response := sent_before(request, key):
        return response
    if not desk.is_valid():
        return _page(request, desk, status=422)
    visit = desk.visit()
    done: list[Booking] = []

    def work() -> str:
        made = booking.book(
            visit,
            by=actor(request),
            accepted=desk.who.accepted,
            reason=desk.data.get("why", ""),
            may_override=request.user.has_perm("worklist.override_conflict"),
        )
        done.append(made)
        return way_back.to_board(way_back.given(request)) or board(made.steps[0].start_date)

    try:
        outcome = once.carry_out(key, work)
    except ConflictsFound as error:
        desk.conflicts = error.conflicts
        desk.problems += [Problem(each.message, anchor="conflicts") for each in error.conflicts]
        return _page(request, desk, status=422)
    except ValidationError as error:
        desk.problems += [Problem(text) for text in error.messages]
        return _page(request, desk, status=422)
    exam = visit.exams[0]
    for made in done:
        said = _told(made, exam.station)
        notices.done(request, said, undo=undo.of_booking(made.steps, form=key))
    response = redirect(outcome.address)
    used = [str(exam.procedure_type.pk), *last_used(request)]
    response.set_cookie(
        LAST_USED,
        ".".join(list(dict.fromkeys(used))[:_KEPT]),
        max_age=_KEPT_FOR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def _time_of(step: ScheduledProcedureStep) -> str:
    """10:42; of another day with the date."""
    start = dt.datetime.combine(step.start_date, step.start_time)
    if step.start_date == clock.today():
        return f"{start:%H:%M}"
    return f"{date_format(step.start_date)}, {start:%H:%M}"


def _told(made: Booking, station: Station) -> str:
    """What was booked and what gave way to it, and the offer to move what it runs into."""
    (step,) = made.steps
    patient = step.requested_procedure.request.patient
    said = _("%(patient)s (%(id)s): %(exam)s is on the list of %(scanner)s at %(time)s.") % {
        "patient": names.text(patient.name),
        "id": patient.patient_id,
        "exam": step.description,
        "scanner": station.friendly_name,
        "time": _time_of(step),
    }
    said = f"{said} {told_all_the_same(made)}".strip()
    pushed = walk_ins.pushed_by(step, station)
    if pushed is None:
        return said
    query: dict[str, Any] = {
        "station": station.pk,
        "day": f"{pushed.start:%Y-%m-%d}",
        "after": f"{pushed.start:%H:%M}",
        "minutes": pushed.minutes,
        "without": step.pk,
        "next": board(step.start_date),
    }
    offer = ngettext(
        "Move the following %(count)d exam by %(minutes)d min",
        "Move the following %(count)d exams by %(minutes)d min",
        pushed.count,
    ) % {"count": pushed.count, "minutes": pushed.minutes}
    return format_html(
        '{} <a href="{}?{}">{}</a>', said, reverse("bulk-move"), urlencode(query), offer
    )
