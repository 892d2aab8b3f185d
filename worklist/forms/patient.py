"""The fields of a new patient."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import clock, names, values
from worklist.dates import split_birth_date
from worklist.forms.text import (
    BirthDateField,
    DicomField,
    NamePartField,
    PatientIDField,
    check,
    multiple_lines,
)
from worklist.models import Patient
from worklist.models.people import pregnancy_statuses, sexes
from worklist.names import NameGroup

# So many of the newest patients tell who gives IDs here.
_LATELY = 1000


def pregnancy_choices() -> list[tuple[Any, str]]:
    return [("", "–"), *pregnancy_statuses()]


class NewPatientForm(forms.Form):
    """A patient who is not here yet: `patient` is the row, not saved."""

    family = NamePartField(
        label=gettext_lazy("Family name"),
        required=True,
        error_messages={
            "required": gettext_lazy(
                "Enter the family name. If it is unknown, book a walk-in as “Unknown patient”."
            )
        },
    )
    given = NamePartField(label=gettext_lazy("Given name"))
    middle = NamePartField(label=gettext_lazy("Middle name"))
    name_prefix = NamePartField(label=gettext_lazy("Prefix"))
    name_suffix = NamePartField(label=gettext_lazy("Suffix"))
    patient_id = PatientIDField(label=gettext_lazy("Patient ID"))
    make_id = forms.BooleanField(label=gettext_lazy("Make one"), required=False)
    issuer = DicomField("LO", label=gettext_lazy("ID given by"))
    issuer.widget.attrs["list"] = "known-issuers"
    born = BirthDateField(
        label=gettext_lazy("Born"), help_text=gettext_lazy("12 Apr 1979, 12.4.79 or 1979-04-12")
    )
    born_unknown = forms.BooleanField(label=gettext_lazy("unknown"), required=False)
    sex = forms.ChoiceField(
        label=gettext_lazy("Sex"),
        choices=sexes,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose the sex.")},
    )
    ideographic_family = NamePartField(label=gettext_lazy("Family name, ideographic"))
    ideographic_given = NamePartField(label=gettext_lazy("Given name, ideographic"))
    phonetic_family = NamePartField(label=gettext_lazy("Family name, phonetic"))
    phonetic_given = NamePartField(label=gettext_lazy("Given name, phonetic"))
    weight = DicomField("DS", label=gettext_lazy("Weight in kg"))
    allergies = forms.CharField(
        label=gettext_lazy("Allergies"),
        help_text=gettext_lazy("one a line"),
        widget=forms.Textarea(attrs={"rows": 2}),
        required=False,
    )
    new_pregnancy = forms.TypedChoiceField(
        label=gettext_lazy("Pregnancy"),
        choices=pregnancy_choices,
        coerce=int,
        empty_value=None,
        required=False,
    )

    OTHER_SCRIPTS = (
        "ideographic_family",
        "ideographic_given",
        "phonetic_family",
        "phonetic_given",
    )
    DETAILS = ("weight", "allergies", "new_pregnancy")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["issuer"].initial = lambda: self.usual_issuer
        for name in ("patient_id", "born"):
            # Needed, unless the tick beside it says otherwise.
            self.fields[name].is_needed = True  # type: ignore[attr-defined]
            self.fields[name].widget.attrs["aria-required"] = "true"

    @cached_property
    def _issuers(self) -> list[str]:
        """Who gave the IDs of the patients who came last."""
        lately = Patient.objects.order_by("-pk").values_list("issuer", flat=True)[:_LATELY]
        return sorted(set(lately))

    @property
    def known_issuers(self) -> list[str]:
        """Who gives patient IDs: this site first."""
        issuers = [settings.ISSUER_OF_PATIENT_ID, *self._issuers]
        return list(dict.fromkeys(filter(None, issuers)))

    @property
    def usual_issuer(self) -> str:
        """This site as it is set, else the only one who gives IDs here."""
        own: str = settings.ISSUER_OF_PATIENT_ID
        return own or (self._issuers[0] if len(self._issuers) == 1 else "")

    def clean_weight(self) -> str:
        weight: str = self.cleaned_data["weight"].replace(",", ".")
        if weight:
            check(weight, "DS")
        return weight

    def clean_allergies(self) -> str:
        allergies = multiple_lines(self.cleaned_data["allergies"])
        for one in values.split(allergies):
            check(one, "LO")
        return allergies

    def clean(self) -> None:
        data = self.cleaned_data
        if not data.get("patient_id") and not data.get("make_id") and "patient_id" in data:
            self.add_error("patient_id", _("Enter the patient ID, or tick “Make one”."))
        if not data.get("born") and not data.get("born_unknown") and "born" in data:
            self.add_error("born", _("Enter the date of birth, or tick “unknown”."))
        for group in self._groups():
            if (length := len(str(group))) > values.MAX_LENGTH["PN"]:
                self.add_error(
                    "family",
                    _(
                        "The name is %(count)d characters with its parts; scanners accept 64. "
                        "Shorten the given or middle name."
                    )
                    % {"count": length},
                )

    def _groups(self) -> tuple[NameGroup, NameGroup, NameGroup]:
        def part(name: str) -> str:
            return str(self.cleaned_data.get(name, ""))

        return (
            NameGroup(*map(part, ("family", "given", "middle", "name_prefix", "name_suffix"))),
            NameGroup(part("ideographic_family"), part("ideographic_given")),
            NameGroup(part("phonetic_family"), part("phonetic_given")),
        )

    @property
    def patient(self) -> Patient:
        """The row that these fields make; what is wrong or missing is empty in it."""
        data = self.cleaned_data
        makes_id = data.get("make_id") and not data.get("patient_id")
        return Patient(
            name=names.join(*self._groups()),
            patient_id="" if makes_id else data.get("patient_id", ""),
            issuer=settings.ISSUER_OF_PATIENT_ID if makes_id else data.get("issuer", ""),
            birth_date=None if data.get("born_unknown") else data.get("born"),
            sex=data.get("sex", ""),
            weight=data.get("weight", ""),
            allergies=data.get("allergies", ""),
            pregnancy_status=data.get("new_pregnancy"),
        )


def names_in(text: str) -> dict[str, str]:
    """What a search for somebody who is not here says: "Rossi, Paolo", "rossi paolo 9.9.48".

    A text with other digits in it is an ID, no name.
    """
    text, born = split_birth_date(" ".join(text.split()), today=clock.today())
    said = {"born": born.isoformat()} if born else {}
    if any(character.isdigit() for character in text):
        return said
    family, _comma, given = (part.strip() for part in text.partition("," if "," in text else " "))
    return {**said, "family": _capitalised(family), "given": _capitalised(given)}


def _capitalised(name: str) -> str:
    return name.title() if name.islower() else name
