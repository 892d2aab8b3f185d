"""How every form of the set-up is shown, checked and saved: warnings, and two people at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from worklist import changes
from worklist.audit.models import AuditEvent
from worklist.catalogue import StaleError
from worklist.changes import Change
from worklist.views import asked, notices


@dataclass(frozen=True)
class Conflict:
    """Somebody else saved first: who, how long ago, and where that differs from what was typed."""

    who: str
    ago: str
    differences: tuple[Change, ...]


@dataclass(frozen=True)
class Page:
    """Where a form lives: its template, the list that it goes back to, and its heading."""

    template: str
    back: str
    title: str


@dataclass(frozen=True)
class Mistake:
    """A line of the summary above a form: which field, and what is wrong with it."""

    field: str
    label: str
    text: str


class SetupForm(forms.ModelForm):
    """A form of one row; `others` are the forms and sets of forms that are sent along with it."""

    others: tuple[Any, ...] = ()
    # What lists that are no field of the form are called.
    list_labels: dict[str, Any] = {}

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(other.is_valid() for other in self.others)])

    def mistakes(self) -> list[Mistake]:
        """Everything that is wrong with this form and the others."""
        if not self.is_bound:
            return []
        found = []
        for other in (self, *self.others):
            for form in getattr(other, "forms", [other]):
                found += [
                    Mistake(form[name].id_for_label if name in form.fields else "", label, text)
                    for name, texts in form.errors.items()
                    for label in [str(form[name].label) if name in form.fields else ""]
                    for text in texts
                ]
            if hasattr(other, "forms"):
                found += [Mistake("", "", text) for text in other.non_form_errors()]
        return found

    def warnings(self) -> list[Any]:
        """What a person should know before this is saved; it is saved all the same if confirmed."""
        return []


def seen_version(request: HttpRequest) -> int:
    """The version of the row that the form was filled from; 0, which no row has, if none."""
    return asked.number(request.POST, "version")


def edit(
    request: HttpRequest,
    form: SetupForm,
    save: Callable[[int], object],
    page: Page,
    **context: Any,
) -> HttpResponse:
    """Show a form or, when it was sent and holds, save it by `save(seen)` and go to the list."""
    row = form.instance
    context |= {"form": form, "title": page.title, "back": page.back, "version": row.version}
    if request.method != "POST":
        return render(request, page.template, context)
    context["version"] = seen_version(request) or row.version
    if form.is_valid():
        context["warnings"] = form.warnings()
        if not context["warnings"] or "confirm" in request.POST:
            try:
                save(seen_version(request))
            except StaleError as stale:
                context["conflict"] = conflict(form, stale)
                context["version"] = stale.stored.version
                context["warnings"] = []
            except ValidationError as error:
                add_errors(form, error)
            else:
                notices.done(request, _("%(name)s is saved.") % {"name": called(row)})
                return redirect(page.back)
    return render(request, page.template, context, status=422)


def called(row: Any) -> str:
    """What the row is called in a notice."""
    return str(getattr(row, "friendly_name", "") or getattr(row, "description", "") or row)


def add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Tell what the row as a whole was refused for, at the field where there is one."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, messages in error.error_dict.items():
        known = name in form.fields and name != NON_FIELD_ERRORS
        form.add_error(name if known else None, messages)


def conflict(form: SetupForm, stale: StaleError) -> Conflict:
    stored = stale.stored
    event = AuditEvent.objects.filter(
        model=stored._meta.label_lower, object_id=str(stored.pk), action="change"
    ).first()
    labels = {name: str(field.label) for name, field in form.fields.items()}
    labels |= {name: str(label) for name, label in form.list_labels.items()}
    return Conflict(
        event.actor if event else "",
        _ago(event) if event else "",
        changes.compare(type(stored), stale.there, stale.wanted, labels=labels),
    )


def _ago(event: AuditEvent) -> str:
    seconds = max(1, int((timezone.now() - event.at).total_seconds()))
    if seconds >= 60:
        return timesince(event.at)
    return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
