"""The booking form as it stands on the desk: what is chosen, what is typed, what speaks against it.

Its state is the form's own fields, so that it works with scripts and without.
"""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.forms import BoundField, Form
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _

from worklist import lookup
from worklist.forms.booking import Chosen, PlaceForm, VisitForm, chosen, fill
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling import StaleVersion, booking
from worklist.scheduling.booking import PlannedExam, Visit
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.views import advice
from worklist.views.asked import is_number, number
from worklist.views.who import Problem, Who, problems_of

# What the form says of the order, and the columns that hold it.
_ORDER = {
    "referring": "referring_physician",
    "history": "comments",
    "placer_number": "placer_order_number",
    "admission_id": "admission_id",
    "ward": "patient_location",
}


def _shown(name: str, value: str) -> str:
    """The value of a column as its field shows it."""
    shown: str = VisitForm.base_fields[name].prepare_value(value)
    return shown


class Desk:
    """The form's fields and what follows from them."""

    def __init__(self, request: HttpRequest, data: QueryDict) -> None:
        self.request = request
        self.data = data.copy()
        self.who = Who(self.data, address=reverse("exam-new-slots"), usual=self._before)
        self.found_exams: tuple[lookup.Choice, ...] | None = None
        self.is_sent = False
        self._refused: tuple[Conflict, ...] | None = None
        self._said: list[Problem] = []

    # --- what is chosen ---------------------------------------------------------------------------

    @cached_property
    def after(self) -> ScheduledProcedureStep | None:
        """The exam that was just booked for this patient, when another follows."""
        steps = ScheduledProcedureStep.objects.select_related(
            "requested_procedure__request__patient"
        )
        return steps.filter(pk=number(self.data, "after")).first()

    @cached_property
    def order(self) -> ImagingServiceRequest | None:
        """The order to which another exam is added, as it is stored."""
        if self.after is None or self.who.patient is None:
            return None
        order = ImagingServiceRequest.objects.get(pk=self.after.requested_procedure.request_id)
        return order if order.patient_id == self.who.patient.pk else None

    @property
    def order_number(self) -> str:
        return self.order.accession_number if self.order else ""

    def _before(self) -> Patient | None:
        return self.after.requested_procedure.request.patient if self.after else None

    @cached_property
    def exam(self) -> Chosen | None:
        return chosen(self.data.get("exam", ""))

    @cached_property
    def stations(self) -> list[Station]:
        return list(Station.objects.filter(is_active=True).order_by("name", "ae_title"))

    @property
    def may_override(self) -> bool:
        return self.request.user.has_perm("worklist.override_conflict")

    @property
    def accepted(self) -> frozenset[str]:
        return self.who.accepted

    @property
    def why(self) -> str:
        return self.data.get("why", "").strip()

    # --- buttons ----------------------------------------------------------------------------------

    def press(self) -> str:
        """Do what the button that was pressed asks for; answer "save" when it is to be saved."""
        data = self.data
        if (key := data.pop("choose_patient", [""])[-1]) != "":
            self.who.choose(key)
            self._leave_order()
        elif (key := data.pop("choose_exam", [""])[-1]) != "":
            data["exam"] = key
            data["exam_query"] = ""
        elif (slot := data.pop("slot", [""])[-1]) != "":
            self._take(slot)
        elif data.pop("spell", None):
            self._spell()
        else:
            return self._act(data.pop("act", [""])[-1])
        return ""

    def _leave_order(self) -> None:
        """Somebody else is chosen: what the order says is not said of this patient."""
        if self.after is None:
            return
        order = ImagingServiceRequest.objects.get(pk=self.after.requested_procedure.request_id)
        for name, column in _ORDER.items():
            if self.data.get(name) == _shown(name, getattr(order, column)):
                self.data[name] = ""
        self.data["after"] = ""
        self.__dict__.pop("after", None)

    def _take(self, slot: str) -> None:
        """Take a free slot, "0 12 2026-11-23 11:00": the place's number, scanner, day and time."""
        parts = dict(zip(("number", "station", "day", "time"), slot.split(), strict=False))
        place = parts.pop("number", "")
        if not is_number(place):
            return
        for name, value in parts.items():
            self.data[f"{place}-{name}"] = value
            self.data[f"{place}-filled_{name}"] = ""
        if "time" not in parts:
            self.data[f"{place}-time"] = self.data[f"{place}-filled_time"] = ""

    def _spell(self) -> None:
        for name, spelt in self.spellings.items():
            self.data[name] = spelt
        self.who.forget()
        self.__dict__.pop("visit_form", None)

    def _act(self, act: str) -> str:
        has_patient = self.who.patient is not None or self.who.is_new
        query = self.data.get("exam_query", "").strip()
        if act == "find-patient" or (act == "default" and not has_patient):
            self.who.search()
            return ""
        if act == "find-exam" or (act == "default" and query):
            self.found_exams = lookup.find_procedures(query)
            if len(self.found_exams) == 1:
                self.data["exam"], self.data["exam_query"] = self.found_exams[0].key, ""
                self.found_exams = None
            return ""
        return "save" if act == "default" else act

    # --- the forms --------------------------------------------------------------------------------

    def fill(self) -> None:
        """Let the catalogue, and the first free slots, fill in what nobody has typed."""
        if self.after is not None and "order_version" not in self.data:
            self.data["order_version"] = str(self.order.version) if self.order else "0"
            if self.order is not None:
                for name, column in _ORDER.items():
                    self.data[name] = _shown(name, getattr(self.order, column))
            self.data["urgency"] = self.after.requested_procedure.priority
            self.data.setdefault("want_day", f"{self.after.start_date:%Y-%m-%d}")
        if self.exam is None:
            return
        if self.data.get("filled_exam") != self.exam.key:
            self.data["filled_exam"] = self.exam.key
            self.data["contrast"] = "on" if self.exam.uses_contrast else ""
        others = {name: self.data.get(f"want_{name}", "") for name in ("station", "day", "time")}
        for name, value in fill(
            self._held(), self.exam.kinds, self.stations, others=others
        ).items():
            self.data[name] = value
        self.__dict__.pop("places", None)

    @cached_property
    def visit_form(self) -> VisitForm:
        return VisitForm(self.data)

    @cached_property
    def places(self) -> list[PlaceForm]:
        return [
            PlaceForm(self.data, prefix=str(number), kind=kind, stations=self.stations)
            for number, kind in enumerate(self.exam.kinds if self.exam else ())
        ]

    # What the templates show: the same fields, without complaints while nothing was sent.

    @cached_property
    def shown_visit(self) -> Form:
        form = self.visit_form if self.is_sent else VisitForm(initial=self._initial())
        if self.order is not None:
            form.fields["accession_number"].help_text = _("empty: that of the order")
        return form

    @cached_property
    def shown_places(self) -> list[PlaceForm]:
        if self.is_sent:
            return self.places
        return [
            PlaceForm(
                initial=self._initial(f"{number}-"),
                prefix=str(number),
                kind=kind,
                stations=self.stations,
            )
            for number, kind in enumerate(self.exam.kinds if self.exam else ())
        ]

    def _held(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.data.items()}

    def _initial(self, prefix: str = "") -> dict[str, Any]:
        fields: dict[str, Any] = {
            name.removeprefix(prefix): value
            for name, value in self._held().items()
            if name.startswith(prefix)
        }
        return fields | ({} if fields.get("urgency") else {"urgency": "ROUTINE"})

    @property
    def pregnancy_field(self) -> BoundField | None:
        """The question, where the exam asks it and the answer is open."""
        if self.exam is None or not self.exam.asks_pregnancy or self.who.is_new:
            return None
        if self.who.patient is not None and self.who.patient.sex == "M":
            return None
        return self.shown_visit["pregnancy"]

    # --- validation -------------------------------------------------------------------------------

    def is_valid(self) -> bool:
        """Whether the form can be booked as far as its fields say."""
        self.is_sent = self.who.is_sent = True
        if self.who.patient is None and not self.who.is_new:
            self._say(_("Choose the patient, or “New patient”."), _("Patient"), "id_patient_query")
        if self.exam is None:
            self._say(_("Choose the exam."), _("Exam"), "id_exam_query")
        elif any(f"{number}-time" not in self.data for number in range(len(self.exam.kinds))):
            self.fill()
            self._say(_("Look at when and where, then save."), _("When and where"), "id_0-time")
        forms: list[Form] = [self.visit_form, *self.places]
        if self.who.is_typed:
            forms.append(self.who.form)
        wrong = [form for form in forms if not form.is_valid()]
        if self._said or wrong:
            return False
        self._said += self.who.duplicate_problems()
        return not self._said

    def refused(
        self, error: ConflictsFound | ValidationError | IntegrityError | StaleVersion
    ) -> None:
        """Keep what the booking was refused for, to be shown."""
        if isinstance(error, ConflictsFound):
            self._refused = error.conflicts
        elif isinstance(error, StaleVersion):
            self._say_what_changed(error)
        elif isinstance(error, IntegrityError):
            # Somebody else registered this ID a moment ago.
            self._say(_("Somebody saved this patient or accession number a moment ago."))
            self.who.forget()
        else:
            for text in error.messages:
                self._say(text)

    def _say_what_changed(self, error: StaleVersion) -> None:
        """Somebody amended the order while this form was open: saving again amends it anew."""
        self.data["order_version"] = str(error.row.version)
        fields = {column: name for name, column in _ORDER.items()}
        for change in error.changes:
            if name := fields.get(change.column):
                field = self.visit_form[name]
                now = {"now": field.field.prepare_value(change.after) or "–"}
                self._say(_("is “%(now)s” by now") % now, str(field.label), field.id_for_label)
        self._say(_("Somebody has changed this order: look at it, then save again."))

    def _say(self, text: str, label: str = "", anchor: str = "") -> None:
        self._said.append(Problem(text, label, anchor))

    @property
    def problems(self) -> list[Problem]:
        """The summary above the form, each line a link to its field."""
        if not self.is_sent:
            return []
        found = list(self._said)
        forms: list[Form] = [self.visit_form, *self.places]
        if self.who.is_typed:
            forms.insert(0, self.who.form)
        for form in forms:
            found += problems_of(form)
        found += [Problem(conflict.message, anchor="conflicts") for conflict in self._refused or ()]
        return found

    # --- what it is to become ---------------------------------------------------------------------

    def visit(self) -> Visit:
        """What is to be booked, as far as the fields can be read."""
        data = self.visit_form.cleaned_data if self.visit_form.is_valid() else {}
        patient = self.who.patient or (self.who.new_patient if self.who.is_new else Patient())
        amends = False
        answer = data.get("pregnancy")
        if self.pregnancy_field and answer is not None and patient.pk:
            amends = patient.pregnancy_status != answer
            patient.pregnancy_status = answer
        has_contrast = data.get("contrast")
        return Visit(
            request=self._request(patient, data),
            exams=tuple(
                PlannedExam(form.kind, place["station"], form.start, place["minutes"])
                for form in self.places
                if form.is_valid() and (place := form.cleaned_data)
            ),
            priority=data.get("urgency", "ROUTINE"),
            reason=data.get("reason", ""),
            contrast_agent=(data["contrast_agent"] or _("Yes")) if has_contrast else "",
            comments=self.visit_form.comments if has_contrast else "",
            one_request=data.get("one_request", True),
            amends_patient=amends,
            order_version=number(self.data, "order_version") if self.order else None,
        )

    def _request(self, patient: Patient, data: dict[str, Any]) -> ImagingServiceRequest:
        said = {column: data.get(name, "") for name, column in _ORDER.items()}
        number = data.get("accession_number", "")
        request = self.order
        if request is None or not data.get("one_request") or number not in ("", self.order_number):
            return ImagingServiceRequest(patient=patient, accession_number=number, **said)
        request.patient = patient
        for column, value in said.items() if data else ():
            setattr(request, column, value)
        return request

    # --- what speaks against it, and what is free -------------------------------------------------

    @cached_property
    def conflicts(self) -> tuple[Conflict, ...]:
        if self._refused is not None:
            return self._refused
        visit = self.visit()
        return booking.objections(visit, may_override=self.may_override) if visit.exams else ()

    @property
    def errors(self) -> list[Conflict]:
        return [each for each in self.conflicts if each.level == "error"]

    @property
    def warnings(self) -> list[Conflict]:
        return [each for each in self.conflicts if each.level == "warning"]

    @property
    def is_emergency(self) -> bool:
        return self.data.get("urgency") == booking.EMERGENCY

    @property
    def first_in_need(self) -> Conflict | None:
        """The warning beside which the reason is asked for: once, whatever it stands for."""
        return next((each for each in self.warnings if each.needs_reason), None)

    @property
    def spellings(self) -> dict[str, str]:
        """Texts of the form that a scanner of the visit cannot show, as it could."""
        return advice.spellings(self.visit(), self._held())

    @property
    def spelt_words(self) -> str:
        return ", ".join(f"“{spelt}”" for spelt in self.spellings.values())

    @property
    def first_day(self) -> dt.date | None:
        """The day of the first place, which need not be said again."""
        return next((form.start.date() for form in self.places if form.is_valid()), None)

    @cached_property
    def free(self) -> list[advice.FreeSlots]:
        """Free slots for each place on its day, on its scanner first."""
        return advice.free_slots(self.places, self.stations)

    @property
    def instead(self) -> tuple[int, Station, dt.datetime] | None:
        """The nearest free slot for a place that is in conflict with another booking."""
        return advice.instead(self.places, self.conflicts)
