"""The booking form as it stands on the desk: what is chosen, what is typed, what speaks against it.

Its state is the form's own fields, so that it works with scripts and without.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.forms import BoundField, Form
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from worklist import clock, legible, lookup
from worklist.forms.booking import Chosen, PlaceForm, VisitForm, chosen, fill, fitting_stations
from worklist.forms.patient import NewPatientForm, names_in
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    ScheduledProcedureStep,
    Station,
)
from worklist.scheduling import booking, duplicates, slots
from worklist.scheduling.booking import PlannedExam, Visit
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.scheduling.duplicates import Duplicate

# Free slots that are offered a scanner, and scanners that are offered.
_SLOTS = 4
_SCANNERS = 4
# Fields of the form whose text may be spelt in plainer letters.
_SPELT = {
    **dict.fromkeys(("family", "given", "middle", "name_prefix", "name_suffix", "referring"), "PN"),
    **dict.fromkeys(("reason", "contrast_agent"), "LO"),
    "history": "LT",
}


@dataclass(frozen=True)
class Problem:
    """A line of the summary of errors; `anchor` is the id of the field, "" for the whole form."""

    text: str
    label: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Offer:
    """The free slots of a scanner for one of the places."""

    station: Station
    starts: tuple[dt.datetime, ...]


@dataclass(frozen=True)
class FreeSlots:
    """What is free for one of the places on its day, and the day after."""

    number: int
    day: dt.date
    exam: str
    offers: tuple[Offer, ...]
    next_day: dt.date


class Desk:
    """The form's fields and what follows from them."""

    def __init__(self, request: HttpRequest, data: QueryDict) -> None:
        self.request = request
        self.data = data.copy()
        self.found_patients: tuple[lookup.FoundPatient, ...] | None = None
        self.found_exams: tuple[lookup.Choice, ...] | None = None
        self.is_sent = False
        self._refused: tuple[Conflict, ...] | None = None
        self._said: list[Problem] = []

    # --- what is chosen ---------------------------------------------------------------------------

    @cached_property
    def after(self) -> ScheduledProcedureStep | None:
        """The exam that was just booked for this patient, when another follows."""
        key = self.data.get("after", "")
        steps = ScheduledProcedureStep.objects.select_related(
            "requested_procedure__request__patient"
        )
        return steps.filter(pk=key).first() if is_key(key) else None

    @cached_property
    def patient(self) -> Patient | None:
        """The stored patient who is chosen; one that was merged leads to the survivor."""
        key = self.data.get("patient", "")
        if not key and self.after is not None and not self.is_new:
            return self.after.requested_procedure.request.patient
        patients = Patient.objects.select_related("merged_into")
        found = patients.filter(pk=key).first() if is_key(key) else None
        return found and (found.merged_into or found)

    @property
    def found_patient(self) -> lookup.FoundPatient | None:
        return lookup.with_visits([self.patient])[0] if self.patient else None

    @property
    def is_new(self) -> bool:
        return bool(self.data.get("new"))

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
        return frozenset(self.data.getlist("accept"))

    @property
    def why(self) -> str:
        return self.data.get("why", "").strip()

    # --- buttons ----------------------------------------------------------------------------------

    def press(self) -> str:
        """Do what the button that was pressed asks for; answer "save" when it is to be saved."""
        data = self.data
        if (key := data.pop("choose_patient", [""])[-1]) != "":
            self._choose_patient(key)
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

    def _choose_patient(self, key: str) -> None:
        self.data["new"] = "1" if key == "new" else ""
        self.data["patient"] = key if is_key(key) else ""
        if key == "new":
            for name, value in names_in(self.data.get("patient_query", "")).items():
                self.data[name] = self.data.get(name) or value
        elif key == "none":
            self.data["after"] = ""

    def _take(self, slot: str) -> None:
        """Take a free slot, "0 12 2026-11-23 11:00": the place's number, scanner, day and time."""
        parts = dict(zip(("number", "station", "day", "time"), slot.split(), strict=False))
        number = parts.pop("number", "")
        if not is_key(number):
            return
        for name, value in parts.items():
            self.data[f"{number}-{name}"] = value
            self.data[f"{number}-filled_{name}"] = ""
        if "time" not in parts:
            self.data[f"{number}-time"] = self.data[f"{number}-filled_time"] = ""

    def _spell(self) -> None:
        for name, spelt in self.spellings.items():
            self.data[name] = spelt
        for made_of_it in ("patient_form", "visit_form", "twins"):
            self.__dict__.pop(made_of_it, None)

    def _act(self, act: str) -> str:
        has_patient = self.patient is not None or self.is_new
        query = self.data.get("exam_query", "").strip()
        if act == "find-patient" or (act == "default" and not has_patient):
            self.found_patients = lookup.find_patients(self.data.get("patient_query", ""))
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
        if self.after is not None and "referring" not in self.data:
            procedure = self.after.requested_procedure
            self.data["referring"] = VisitForm.base_fields["referring"].prepare_value(
                procedure.request.referring_physician
            )
            self.data["urgency"] = procedure.priority
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
    def patient_form(self) -> NewPatientForm:
        return NewPatientForm(self.data)

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
    def shown_patient(self) -> Form:
        return self.patient_form if self.is_sent else NewPatientForm(initial=self._initial())

    @cached_property
    def shown_visit(self) -> Form:
        return self.visit_form if self.is_sent else VisitForm(initial=self._initial())

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
        if self.exam is None or not self.exam.asks_pregnancy or self.is_new:
            return None
        if self.patient is not None and self.patient.sex == "M":
            return None
        return self.shown_visit["pregnancy"]

    # --- validation -------------------------------------------------------------------------------

    def is_valid(self) -> bool:
        """Whether the form can be booked as far as its fields say."""
        self.is_sent = True
        if self.patient is None and not self.is_new:
            self._say(_("Choose the patient, or *New patient*."), _("Patient"), "id_patient_query")
        if self.exam is None:
            self._say(_("Choose the exam."), _("Exam"), "id_exam_query")
        elif any(f"{number}-time" not in self.data for number in range(len(self.exam.kinds))):
            self.fill()
            self._say(_("Look at when and where, then save."), _("When and where"), "id_0-time")
        forms: list[Form] = [self.visit_form, *self.places]
        if self.is_new and self.patient is None:
            forms.append(self.patient_form)
        wrong = [form for form in forms if not form.is_valid()]
        if self._said or wrong:
            return False
        if self.is_new and any(self._is_open(twin) for twin in self.twins):
            self._say(_("Say whether this patient is here already."), _("Patient"), "twins")
            return False
        return True

    def _is_open(self, twin: Duplicate) -> bool:
        return twin.is_certain or twin.fingerprint not in self.accepted

    def refused(self, error: ConflictsFound | ValidationError | IntegrityError) -> None:
        """Keep what the booking was refused for, to be shown."""
        if isinstance(error, ConflictsFound):
            self._refused = error.conflicts
        elif isinstance(error, IntegrityError):
            # Somebody else registered this ID a moment ago.
            self._say(_("Somebody saved this patient or accession number a moment ago."))
            self.__dict__.pop("twins", None)
        else:
            for text in error.messages:
                self._say(text)

    def _say(self, text: str, label: str = "", anchor: str = "") -> None:
        self._said.append(Problem(text, label, anchor))

    @property
    def problems(self) -> list[Problem]:
        """The summary above the form, each line a link to its field."""
        if not self.is_sent:
            return []
        found = list(self._said)
        forms: list[Form] = [self.visit_form, *self.places]
        if self.is_new and self.patient is None:
            forms.insert(0, self.patient_form)
        for form in forms:
            for field in form:
                # A group of radio buttons has no id of its own.
                anchor = field.id_for_label or f"id_{field.html_name}"
                found += [Problem(str(error), str(field.label), anchor) for error in field.errors]
            found += [Problem(str(error)) for error in form.non_field_errors()]
        found += [Problem(conflict.message, anchor="conflicts") for conflict in self._refused or ()]
        return found

    # --- what it is to become ---------------------------------------------------------------------

    def visit(self) -> Visit:
        """What is to be booked, as far as the fields can be read."""
        data = self.visit_form.cleaned_data if self.visit_form.is_valid() else {}
        patient = self.patient or (self._new_patient() if self.is_new else Patient())
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
        )

    def _new_patient(self) -> Patient:
        self.patient_form.is_valid()
        return self.patient_form.patient

    def _request(self, patient: Patient, data: dict[str, Any]) -> ImagingServiceRequest:
        if self.after is not None and data.get("one_request") and not data.get("accession_number"):
            request = self.after.requested_procedure.request
            if request.patient_id == patient.pk:
                request.patient = patient
                return request
        return ImagingServiceRequest(
            patient=patient,
            accession_number=data.get("accession_number", ""),
            referring_physician=data.get("referring", ""),
            placer_order_number=data.get("placer_number", ""),
            admission_id=data.get("admission_id", ""),
            patient_location=data.get("ward", ""),
            comments=data.get("history", ""),
        )

    # --- what speaks against it, and what is free -------------------------------------------------

    @cached_property
    def twins(self) -> tuple[Duplicate, ...]:
        """Stored patients who may be the new one."""
        if not self.is_new or self.patient is not None:
            return ()
        new = self._new_patient()
        return duplicates.find(new) if new.name else ()

    @property
    def new_patient(self) -> Patient:
        return self._new_patient()

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
        visit = self.visit()
        found = {}
        for name, vr in _SPELT.items():
            text = self.data.get(name, "")
            lacking = any(
                legible.missing(text, legible.terms_of(exam.station.character_set), vr=vr)
                for exam in visit.exams
            )
            if lacking and (spelt := booking.spelt_for(visit, text, vr=vr)):
                found[name] = spelt
        return found

    @property
    def spelt_words(self) -> str:
        return ", ".join(f"“{spelt}”" for spelt in self.spellings.values())

    @property
    def first_day(self) -> dt.date | None:
        """The day of the first place, which need not be said again."""
        return next((form.start.date() for form in self.places if form.is_valid()), None)

    @cached_property
    def free(self) -> list[FreeSlots]:
        """Free slots for each place on its day, on its scanner first."""
        made = []
        for number, form in enumerate(self.places):
            form.is_valid()
            data = form.cleaned_data
            day, minutes = data.get("day"), data.get("minutes")
            if day is None or minutes is None:
                continue
            mine: Station | None = data.get("station")
            fitting = fitting_stations(form.kind, self.stations)
            fitting.sort(key=lambda station: mine is None or station.pk != mine.pk)
            found = slots.free_starts(
                fitting[:_SCANNERS], day, minutes, after=self._earliest(form), count=_SLOTS
            )
            made.append(
                FreeSlots(
                    number=number,
                    day=day,
                    exam=form.kind.description,
                    offers=tuple(Offer(station, tuple(starts)) for station, starts in found),
                    next_day=day + dt.timedelta(days=1),
                )
            )
        return made

    def _earliest(self, form: PlaceForm) -> dt.datetime:
        """The slots around the time that was typed are more use than those of the morning."""
        time, day = form.cleaned_data.get("time"), form.cleaned_data["day"]
        now = clock.now()
        if time is None:
            return now
        return max(now, dt.datetime.combine(day, time) - dt.timedelta(hours=1))

    @property
    def instead(self) -> tuple[int, Station, dt.datetime] | None:
        """The nearest free slot for a place that is in conflict with another booking."""
        codes = {conflict.code for conflict in self.conflicts}
        if not codes & {"overlap", "closed", "past", "elsewhere"}:
            return None
        for number, form in enumerate(self.places):
            if not form.is_valid():
                continue
            station = form.cleaned_data["station"]
            start = max(form.start, clock.now())
            later = slots.next_free(station, start, form.cleaned_data["minutes"])
            if later and later[0] != form.start:
                return number, station, later[0]
        return None


def is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
