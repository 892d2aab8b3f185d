"""The rest of a scanner's day is moved: a preview, the number typed, one notice that undoes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from worklist import clock, history
from worklist.actor import actor
from worklist.models import ScheduledProcedureStep, Station
from worklist.roles import needs
from worklist.scheduling import bulk
from worklist.scheduling.bulk import Afternoon, SelectionChanged
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.views import looks, notices, record
from worklist.views.exams import SEE
from worklist.views.moves import BOOK, OVERRIDE, WHY_MOVE

_FURTHEST = 12 * 60


class AfternoonForm(forms.Form):
    """Whose exams, from when on, how far, and where to."""

    station = forms.ModelChoiceField(
        Station.objects.all(), label=gettext_lazy("Scanner"), empty_label=None
    )
    day = forms.DateField(
        label=gettext_lazy("Day"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    after = forms.TimeField(
        label=gettext_lazy("From"), widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    )
    minutes = forms.IntegerField(
        label=gettext_lazy("Later by minutes"),
        required=False,
        min_value=-_FURTHEST,
        max_value=_FURTHEST,
        help_text=gettext_lazy("less than 0: earlier"),
    )
    to = forms.ModelChoiceField(
        Station.objects.filter(is_active=True),
        label=gettext_lazy("To another scanner"),
        required=False,
        empty_label=gettext_lazy("Stay on this scanner"),
    )

    without = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("station", "to"):
            field: Any = self.fields[name]
            field.label_from_instance = lambda each: f"{each.friendly_name} ({each.ae_title})"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        station, to = cleaned.get("station"), cleaned.get("to")
        if to and to == station:
            cleaned["to"] = to = None
        if station and to and to.modality != station.modality:
            self.add_error(
                "to", _("This scanner does something else. Choose one of the same kind.")
            )
        if not self.errors and not to and not cleaned.get("minutes"):
            self.add_error("minutes", _("Say by how many minutes, or choose another scanner."))
        return cleaned

    @property
    def afternoon(self) -> Afternoon:
        told = self.cleaned_data
        return Afternoon(
            told["station"],
            told["day"],
            told["after"],
            told["minutes"] or 0,
            told["to"],
            told["without"] or 0,
        )


@dataclass(frozen=True)
class Preview:
    """An exam as it is and as it would be."""

    step: ScheduledProcedureStep
    what: str
    then: Any


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, BOOK)
def move(request: HttpRequest) -> HttpResponse:
    """What is moved stands in the address; the POST carries what the person has seen of it."""
    form = AfternoonForm(request.GET if "day" in request.GET else None, initial=_initial(request))
    shown: dict[str, Any] = {"code": 422 if form.errors else 200}
    if form.is_valid():
        if request.method == "POST":
            moved = _try(request, form.afternoon)
            if isinstance(moved, HttpResponse):
                return moved
            shown |= moved
        shown |= _preview(request, form.afternoon)
    data = {
        "form": form,
        "why": [history.said(reason) for reason in WHY_MOVE],
        "next": _next(request),
        **shown,
    }
    return render(request, "exams/afternoon.html", data, status=shown["code"])


def _initial(request: HttpRequest) -> dict[str, Any]:
    now = clock.now()
    return {"station": request.GET.get("station"), "day": now.date(), "after": now.time()}


def _preview(request: HttpRequest, afternoon: Afternoon) -> dict[str, Any]:
    chosen = bulk.selected(afternoon)
    conflicts = bulk.find(chosen, afternoon, may_override=request.user.has_perm(OVERRIDE))
    looks.at_list(request, map(record.patient_of, chosen), looks.MOVED)
    return {
        "afternoon": afternoon,
        "seen": bulk.digest(chosen),
        "preview": [
            Preview(step, record.what(step), bulk.new_start(step, afternoon)) for step in chosen
        ],
        "conflicts": conflicts,
        "can_move_anyway": all(each.level == "warning" for each in conflicts),
        "needs_reason": _needs_reason(conflicts),
    }


def _needs_reason(conflicts: tuple[Conflict, ...]) -> bool:
    return any(each.needs_reason for each in conflicts)


def _try(request: HttpRequest, afternoon: Afternoon) -> HttpResponse | dict[str, Any]:
    """Move what was seen; else what the page says why nothing was moved."""
    reason = request.POST.get("reason", "").strip()[:200]
    count = len(bulk.selected(afternoon))
    if request.POST.get("count", "").strip() != str(count):
        return {"problems": [_("Type the number of exams that move.")], "code": 422}
    try:
        moved, token = bulk.carry_out(
            afternoon,
            seen=request.POST.get("seen", ""),
            accepted=request.POST.getlist("accept") if "anyway" in request.POST else (),
            reason=reason,
            by=actor(request),
            may_override=request.user.has_perm(OVERRIDE),
        )
    except SelectionChanged:
        return {
            "problems": [_("Somebody has changed these exams. Look at the list, then move again.")],
            "code": 409,
        }
    except ConflictsFound as error:
        told = _("Tick the box to move them anyway.")
        if "anyway" in request.POST and _needs_reason(error.conflicts) and not reason:
            told = _("Say why they are moved all the same.")
        return {"problems": [told], "code": 422}
    notices.done(
        request,
        ngettext("%(count)d exam is moved.", "%(count)d exams are moved.", moved)
        % {"count": moved},
        undo=token if moved else None,
    )
    return redirect(_next(request) or "bulk-move")


def _next(request: HttpRequest) -> str:
    """Where the person came from, "" when it was not said or is none of our pages."""
    wanted = request.GET.get("next", "")
    return wanted if url_has_allowed_host_and_scheme(wanted, {request.get_host()}) else ""
