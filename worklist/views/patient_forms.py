"""A patient as a form: the name in its parts, never with DICOM's carets."""

from __future__ import annotations

import copy
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import clock, names
from worklist.audit import trail
from worklist.forms.text import PatientIDField
from worklist.forms.untouched import KeepsUntouched, is_untouched
from worklist.models import Patient
from worklist.names import NameGroup
from worklist.scheduling import StaleVersion

_OLDEST = 130
# What separates parts, groups and values of a name in DICOM.
_SEPARATORS = "^=\\"


def _parts(name: str) -> dict[str, str]:
    """The parts of a name by the fields that show them."""
    alphabetic, ideographic, phonetic = names.groups(name)
    return {
        "family": alphabetic.family,
        "given": alphabetic.given,
        "middle": alphabetic.middle,
        "title": alphabetic.prefix,
        "suffix": alphabetic.suffix,
        "ideographic_family": ideographic.family,
        "ideographic_given": ideographic.given,
        "phonetic_family": phonetic.family,
        "phonetic_given": phonetic.given,
    }


def _part(label: Any, *, required: bool = False) -> forms.CharField:
    return forms.CharField(label=label, required=required, max_length=64)


class PatientForm(KeepsUntouched):
    """What a clerk may change in a patient."""

    family = _part(gettext_lazy("Family name"), required=True)
    given = _part(gettext_lazy("Given name"))
    middle = _part(gettext_lazy("Middle name"))
    title = _part(gettext_lazy("Prefix"))
    suffix = _part(gettext_lazy("Suffix"))
    ideographic_family = _part(gettext_lazy("Family name in its own script"))
    ideographic_given = _part(gettext_lazy("Given name in its own script"))
    phonetic_family = _part(gettext_lazy("Family name as it is spoken"))
    phonetic_given = _part(gettext_lazy("Given name as it is spoken"))

    patient_id = PatientIDField(label=gettext_lazy("Patient ID"), required=True)

    NAME = ("family", "given", "middle", "title", "suffix")
    OTHER_SCRIPTS = (
        "ideographic_family",
        "ideographic_given",
        "phonetic_family",
        "phonetic_given",
    )

    class Meta:
        model = Patient
        fields = (
            "birth_date",
            "sex",
            "patient_id",
            "allergies",
            "medical_alerts",
            "special_needs",
            "pregnancy_status",
            "weight",
        )
        labels = {
            "birth_date": gettext_lazy("Date of birth"),
            "sex": gettext_lazy("Sex"),
            "allergies": gettext_lazy("Allergies"),
            "medical_alerts": gettext_lazy("Medical alerts"),
            "special_needs": gettext_lazy("Special needs"),
            "pregnancy_status": gettext_lazy("Pregnancy"),
            "weight": gettext_lazy("Weight"),
        }
        help_texts = {
            "allergies": gettext_lazy("one a line"),
            "medical_alerts": gettext_lazy("one a line"),
            "weight": gettext_lazy("in kg"),
        }
        widgets = {
            "birth_date": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial = {**_parts(self.instance.name), **self.initial}
        # Some people have one name only, or none in these letters.
        self.fields["family"].required = bool(self.initial["family"]) or not self.instance.pk
        for name in ("allergies", "medical_alerts"):
            self.fields[name].widget.attrs["rows"] = 2

    def clean(self) -> Any:
        cleaned = super().clean() or {}
        touched = [p for p in (*self.NAME, *self.OTHER_SCRIPTS) if p not in self.untouched]
        for part in touched:
            text = cleaned.get(part) or ""
            offender = next((sign for sign in text if sign in _SEPARATORS), None)
            if offender:
                self.add_error(
                    part,
                    _("Remove '%(sign)s': it separates the parts of a name in DICOM.")
                    % {"sign": offender},
                )
        if touched and not any(part in self.errors for part in touched):
            # Before the model checks the whole name for its length.
            self.instance.name = self._name(cleaned)
        born = None if "birth_date" in self.untouched else cleaned.get("birth_date")
        if born and born > clock.today():
            self.add_error("birth_date", _("This date is in the future."))
        elif born and born.year < clock.today().year - _OLDEST:
            self.add_error(
                "birth_date", _("This is more than %(years)d years ago.") % {"years": _OLDEST}
            )
        return cleaned

    def rebased(self, data: Any, error: StaleVersion) -> dict[str, Any]:
        """Take into `data`, which was sent on an old version, what somebody else has saved since.

        Only in the fields that this person did not touch; each part of a name is a field. This form
        is of the row as it is now, and unbound. Answers what the person would have saved.
        """
        sent = PatientForm(data, instance=copy.copy(self.instance))
        sent.is_valid()
        own: dict[str, Any] = {}
        for change in error.changes:
            if change.column == "name":
                was = _parts(change.before or "")
                own["name"] = sent.instance.name
            elif change.column in self.fields:
                was = {change.column: change.before}
                own[change.column] = trail.plain(sent.cleaned_data.get(change.column))
            else:
                continue
            for part, seen in was.items():
                if is_untouched(sent, part, seen):
                    value = self[part].value()
                    data[part] = "" if value is None else str(value)
        return own

    def _name(self, cleaned: dict[str, Any]) -> str:
        """The name; what the form does not show of the other scripts stays."""
        _alphabetic, ideographic, phonetic = names.groups(self.instance.name)
        return names.join(
            NameGroup(*(cleaned[part] for part in self.NAME)),
            NameGroup(
                cleaned["ideographic_family"],
                cleaned["ideographic_given"],
                ideographic.middle,
                ideographic.prefix,
                ideographic.suffix,
            ),
            NameGroup(
                cleaned["phonetic_family"],
                cleaned["phonetic_given"],
                phonetic.middle,
                phonetic.prefix,
                phonetic.suffix,
            ),
        )

    def _get_validation_exclusions(self) -> set[str]:
        excluded = super()._get_validation_exclusions()
        # The name is checked, too, though its parts are what is shown.
        is_touched = {*self.NAME, *self.OTHER_SCRIPTS} - self.untouched
        return excluded - {"name"} if is_touched else excluded

    def _update_errors(self, errors: Any) -> None:
        # What is wrong with the whole name is told at its first part.
        found = getattr(errors, "error_dict", {})
        if "name" in found:
            found["family"] = found.pop("name")
        super()._update_errors(errors)  # type: ignore[misc]

    def name_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.NAME]

    def other_script_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.OTHER_SCRIPTS]

    def own_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.Meta.fields]
