"""What is noted with an exam, as a form of its three rows: procedure, step and request."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import names
from worklist.audit import trail
from worklist.forms.booking import urgencies
from worklist.forms.untouched import KeepsUntouched, is_untouched
from worklist.models import ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep
from worklist.models.orders import priorities
from worklist.names import NameGroup
from worklist.scheduling import StaleVersion


class NameField(forms.CharField):
    """A physician as people write it, "Smith, John".

    It shows family and given name: the other parts and scripts have no field.
    """

    def clean(self, value: Any) -> str:
        text: str = super().clean(value) or ""
        for sign in "^=\\":
            if sign in text:
                raise ValidationError(
                    _("Remove '%(sign)s': it separates the parts of a name in DICOM.")
                    % {"sign": sign}
                )
        return " ".join(text.split())


def written(name: str) -> str:
    """Family and given name as one types them."""
    group = names.groups(name)[0]
    return ", ".join(filter(None, (group.family, group.given)))


def renamed(stored: str, typed: str) -> str:
    """The stored name with what was typed in place of family and given name.

    Who corrects one of the two keeps the title and the other scripts; another family name with
    another given name is another person, of whom we know no more.
    """
    if typed == written(stored):
        return stored
    family, _comma, given = (part.strip() for part in typed.partition(","))
    alphabetic, ideographic, phonetic = names.groups(stored)
    if family and (family == alphabetic.family or (given and given == alphabetic.given)):
        return names.join(replace(alphabetic, family=family, given=given), ideographic, phonetic)
    return str(NameGroup(family, given))


class PartForm(KeepsUntouched):
    """One of the three rows."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, field in self.fields.items():
            if isinstance(field, NameField):
                stored = getattr(self.instance, name)
                self.initial[name] = written(stored)
                if kept := _kept(stored):
                    field.help_text = _("kept with it: %(parts)s") % {"parts": kept}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name, field in self.fields.items():
            if isinstance(field, NameField) and name in cleaned and name not in self.untouched:
                cleaned[name] = renamed(getattr(self.instance, name), cleaned[name])
        return cleaned

    def rebased(self, data: Any, error: StaleVersion) -> dict[str, Any]:
        """Take into `data`, which was sent on an old version, what somebody else has saved since.

        Only in the fields that this person did not touch. This form is of the row as it is now,
        and unbound. Answers what the person would have saved, by column.
        """
        sent = type(self)(data, instance=copy.copy(self.instance), prefix=self.prefix)
        sent.is_valid()
        own = {}
        for change in error.changes:
            name = change.column
            if name not in self.fields:
                continue
            seen, typed = change.before, sent[name].data
            if isinstance(self.fields[name], NameField):
                own[name] = renamed(seen or "", typed or "")
                seen = written(seen or "")
            else:
                own[name] = trail.plain(sent.cleaned_data.get(name, typed))
            if is_untouched(sent, name, seen):
                value = self[name].value()
                data[self.add_prefix(name)] = "" if value is None else str(value)
        return own


def _kept(name: str) -> str:
    alphabetic, *others = names.groups(name)
    parts = (alphabetic.prefix, alphabetic.middle, alphabetic.suffix)
    scripts = (" ".join(filter(None, (group.family, group.given))) for group in others)
    return ", ".join(filter(None, (*parts, *scripts)))


class StepForm(PartForm):
    performing_physician = NameField(label=gettext_lazy("Performing physician"), required=False)

    class Meta:
        model = ScheduledProcedureStep
        fields = ("performing_physician", "comments")
        labels = {"comments": gettext_lazy("Comments for the scanner")}


class ProcedureForm(PartForm):
    priority = forms.ChoiceField(label=gettext_lazy("Priority"), required=False)

    class Meta:
        model = RequestedProcedure
        fields = ("priority", "reason", "transport")
        labels = {
            "reason": gettext_lazy("Reason for the exam"),
            "transport": gettext_lazy("Transport"),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        held = self.instance.priority
        known = dict(urgencies())
        if held not in known:
            # What other systems have booked with stays as it is until somebody changes it.
            known = {held: dict(priorities()).get(held, held or "–")} | known
        field: Any = self.fields["priority"]
        field.choices = list(known.items())


class OrderForm(PartForm):
    requesting_physician = NameField(label=gettext_lazy("Requesting physician"), required=False)
    referring_physician = NameField(label=gettext_lazy("Referring physician"), required=False)

    class Meta:
        model = ImagingServiceRequest
        fields = (
            "requesting_physician",
            "referring_physician",
            "patient_location",
            "admission_id",
            "placer_order_number",
        )
        labels = {
            "patient_location": gettext_lazy("Ward or place"),
            "admission_id": gettext_lazy("Admission number"),
            "placer_order_number": gettext_lazy("Order number"),
        }


PartForms = dict[type[models.Model], PartForm]


def part_forms(step: ScheduledProcedureStep, data: Any = None) -> PartForms:
    """The three forms, in the order in which they are shown."""
    procedure = step.requested_procedure
    return {
        RequestedProcedure: ProcedureForm(data, instance=procedure, prefix="procedure"),
        ScheduledProcedureStep: StepForm(data, instance=step, prefix="step"),
        ImagingServiceRequest: OrderForm(data, instance=procedure.request, prefix="order"),
    }
