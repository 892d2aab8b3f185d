"""The patient of a form: looked up, or new and typed right there, with a guard against duplicates.

Its state is the form's own fields, so that it works with scripts and without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from django.forms import Form
from django.http import QueryDict
from django.utils.translation import gettext as _

from worklist import lookup
from worklist.forms.patient import NewPatientForm, names_in
from worklist.models import Patient
from worklist.scheduling import duplicates, resolve
from worklist.scheduling.duplicates import Duplicate
from worklist.views.asked import is_number, number


@dataclass(frozen=True)
class Problem:
    """A line of the summary of errors; `anchor` is the id of the field, "" for the whole form."""

    text: str
    label: str = ""
    anchor: str = ""


def problems_of(form: Form) -> list[Problem]:
    """What is wrong with a form, each line a link to its field."""
    # A group of radio buttons has no id of its own.
    found = [
        Problem(str(error), str(field.label), field.id_for_label or f"id_{field.html_name}")
        for field in form
        for error in field.errors
    ]
    return [*found, *(Problem(str(error)) for error in form.non_field_errors())]


class Who:
    """The fields that say who it is about; `address` is where the form's parts are asked for.

    `usual` answers the patient who is meant as long as nobody is chosen.
    """

    def __init__(
        self, data: QueryDict, *, address: str, usual: Callable[[], Patient | None] = lambda: None
    ) -> None:
        self.data = data
        self.address = address
        self.found_patients: tuple[lookup.FoundPatient, ...] | None = None
        self.is_sent = False
        self._usual = usual

    @cached_property
    def patient(self) -> Patient | None:
        """The stored patient who is chosen; one that was merged leads to the survivor."""
        is_open = not self.data.get("patient") and not self.is_new
        if is_open and (usual := self._usual()) is not None:
            return resolve(usual)
        found = Patient.objects.filter(pk=number(self.data, "patient")).first()
        return found and resolve(found)

    @property
    def is_new(self) -> bool:
        return bool(self.data.get("new"))

    @property
    def is_typed(self) -> bool:
        """Whether it is a new patient, whose fields are in the form."""
        return self.is_new and self.patient is None

    @property
    def found_patient(self) -> lookup.FoundPatient | None:
        return lookup.with_visits([self.patient])[0] if self.patient else None

    @property
    def accepted(self) -> frozenset[str]:
        return frozenset(self.data.getlist("accept"))

    # --- buttons ----------------------------------------------------------------------------------

    def choose(self, key: str) -> None:
        """Take the patient with this key, a "new" one, or "none"."""
        self.data["new"] = "1" if key == "new" else ""
        self.data["patient"] = key if is_number(key) else ""
        if key == "new":
            for name, value in names_in(self.data.get("patient_query", "")).items():
                self.data[name] = self.data.get(name) or value

    def search(self) -> None:
        self.found_patients = lookup.find_patients(self.data.get("patient_query", ""))

    # --- a new patient ----------------------------------------------------------------------------

    @cached_property
    def form(self) -> NewPatientForm:
        return NewPatientForm(self.data)

    @cached_property
    def shown(self) -> NewPatientForm:
        """The same fields, without complaints while nothing was sent."""
        if self.is_sent:
            return self.form
        return NewPatientForm(initial={name: str(value) for name, value in self.data.items()})

    @property
    def new_patient(self) -> Patient:
        self.form.is_valid()
        return self.form.patient

    @cached_property
    def twins(self) -> tuple[Duplicate, ...]:
        """Stored patients who may be the new one."""
        if not self.is_typed:
            return ()
        new = self.new_patient
        return duplicates.find(new) if new.name else ()

    def forget(self) -> None:
        """The fields have changed, or the patients who are stored: look again."""
        for made_of_them in ("form", "shown", "twins"):
            self.__dict__.pop(made_of_them, None)

    def duplicate_problems(self) -> list[Problem]:
        """That somebody must say whether the new patient is here already."""
        if all(self._is_settled(twin) for twin in self.twins):
            return []
        return [Problem(_("Say whether this patient is here already."), _("Patient"), "twins")]

    def _is_settled(self, twin: Duplicate) -> bool:
        return not twin.is_certain and twin.fingerprint in self.accepted
