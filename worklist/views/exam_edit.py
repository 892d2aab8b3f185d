"""An exam is edited: what is noted with it, and what it is to be, with its consequences."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from worklist import names
from worklist.actor import actor
from worklist.forms import plan as plans
from worklist.forms.exam import PartForms, part_forms
from worklist.forms.plan import PlanForm
from worklist.modalities import modality_name
from worklist.models import ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep
from worklist.roles import needs
from worklist.scheduling import Plan, StaleVersion, amend, amending, held
from worklist.scheduling.conflicts import Conflict, ConflictsFound
from worklist.views import looks, notices, record, stale
from worklist.views.exams import SEE, about
from worklist.views.moves import BOOK, OVERRIDE


@dataclass(frozen=True)
class Consequence:
    """What changes with the exam: what it was, and what it will be."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Consequences:
    """What a plan changes, and what speaks against it; `seen` names exactly these."""

    changes: tuple[Consequence, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def seen(self) -> str:
        told = repr((self.changes, [each.fingerprint for each in self.conflicts]))
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    @property
    def is_possible(self) -> bool:
        return all(each.level == "warning" for each in self.conflicts)

    @property
    def needs_reason(self) -> bool:
        return any(each.needs_reason for each in self.conflicts)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(SEE, BOOK)
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change an exam; another procedure, scanner or length is told of before it is saved."""
    step = record.step_or_404(pk)
    is_open = amending.may_be_planned(step)
    versions = request.POST.get("versions", "") or _versions_of(step)
    if request.method != "POST":
        return _page(request, pk, part_forms(step), PlanForm(step), versions=versions)
    sent = plans.filled(step, request.POST) if is_open else request.POST.copy()
    made, form = part_forms(step, sent), PlanForm(step, sent)
    wants_plan = is_open and "plan-minutes" in sent
    # Each is asked, so that each tells what is wrong with it.
    valid = [each.is_valid() for each in (*made.values(), *([form] if wants_plan else []))]
    consequences = None
    if wants_plan and form.is_valid() and form.is_changed:
        may_override = request.user.has_perm(OVERRIDE)
        consequences = _consequences(record.step_or_404(pk), form.plan, may_override=may_override)
    shown: dict[str, Any] = {
        "consequences": consequences,
        "code": 200 if "look" in request.POST else 422,
    }
    is_seen = consequences is None or request.POST.get("seen") == consequences.seen
    if "look" in request.POST or not all(valid) or not is_seen:
        return _page(request, pk, made, form, versions=versions, **shown)
    reason = request.POST.get("why", "").strip()[:200]
    procedure = made[RequestedProcedure].instance
    procedure.request = made[ImagingServiceRequest].instance
    try:
        amend(
            made[ScheduledProcedureStep].instance,
            procedure,
            by=actor(request),
            versions=_seen(versions),
            plan=form.plan if consequences else None,
            accepted=request.POST.getlist("accept") if "anyway" in request.POST else (),
            reason=reason,
            may_override=request.user.has_perm(OVERRIDE),
        )
    except StaleVersion as error:
        now = record.step_or_404(pk)
        found = [
            (each, part_forms(now)[type(each.row)].rebased(sent, each))
            for each in (error, *error.also)
        ]
        plans.rebased(now, sent)
        made, form, versions = part_forms(now, sent), PlanForm(now, sent), _versions_of(now)
        shown = {"stale": stale.told_all(found), "code": 409}
    except ConflictsFound:
        needs_reason = consequences is not None and consequences.needs_reason
        shown["problems"] = [
            _("Say why it is changed all the same.")
            if "anyway" in request.POST and needs_reason and not reason
            else _("Tick the box to change it anyway.")
        ]
    except ValidationError as error:
        shown["problems"] = error.messages
    else:
        told = {"exam": record.what(step), "name": names.text(record.patient_of(step).name)}
        is_changed = _versions_of(record.step_or_404(pk)) != _versions_of(step)
        said = _("%(exam)s of %(name)s is saved.") % told
        notices.done(request, said if is_changed else _("Nothing was changed."))
        return redirect("exam", pk=pk)
    return _page(request, pk, made, form, versions=versions, **shown)


def _page(
    request: HttpRequest,
    pk: int,
    made: PartForms,
    form: PlanForm,
    *,
    versions: str,
    **shown: Any,
) -> HttpResponse:
    # The forms have written into their rows what was typed: the page tells what is stored.
    step = record.step_or_404(pk)
    is_open = amending.may_be_planned(step)
    data = {
        **about(step),
        "forms": list(made.values()),
        "plan": form if is_open else None,
        "all_forms": [*([form] if is_open else []), *made.values()],
        "versions": versions,
        **shown,
    }
    looks.at_exam(request, step)
    return render(request, "exams/edit.html", data, status=shown.get("code", 200))


def _consequences(step: ScheduledProcedureStep, plan: Plan, *, may_override: bool) -> Consequences:
    holds, procedure, kind = held.of(step), step.requested_procedure, plan.kind
    before = [held.minutes_of(step, holds.kind), ", ".join(map(_scanner, holds.stations[:1]))]
    after = [plan.minutes, _scanner(plan.station) if plan.station else before[1]]
    rows = [
        (_("Minutes"), before[0], after[0]),
        (_("Scanner"), before[1], after[1]),
    ]
    if kind is not None and kind != holds.kind:
        codes = held.protocol_codes_of(step)
        rows = [
            (_("Exam"), record.what(step), kind.description),
            (_("Modality"), modality_name(step.modality), modality_name(kind.modality)),
            (_("Code"), procedure.code or "–", kind.requested_procedure_code or "–"),
            (_("Protocol codes"), _listed(codes), _listed(amending.protocol_codes(kind))),
            *rows,
        ]
    changes = [
        Consequence(label, str(old), str(new)) for label, old, new in rows if str(old) != str(new)
    ]
    found = amending.objections(step, plan, may_override=may_override)
    return Consequences(tuple(changes), found)


def _scanner(station: Any) -> str:
    return str(station.friendly_name)


def _listed(codes: list[Any]) -> str:
    return ", ".join(map(str, codes)) or "–"


def _versions_of(step: ScheduledProcedureStep) -> str:
    procedure = step.requested_procedure
    return f"{step.version}-{procedure.version}-{procedure.request.version}"


def _seen(text: str) -> tuple[int, int, int]:
    """The versions that the form carries; 0, which no row has, for what it does not."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text[:40].split("-")]
    first, second, third = [*numbers, 0, 0, 0][:3]
    return first, second, third
