"""A query explained: what each condition leaves, which exam is left out by which; run once more."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from dicomscp.explain import cases, funnel, heard, words
from dicomscp.explain.funnel import Stage
from dicomscp.models import Query
from dicomscp.scope import Rules
from dicomscp.status import Refusal
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import ScheduledProcedureStep
from worklist.roles import needs

PERMISSIONS = ("worklist.view_querylog", "worklist.view_patient")
_PER_PAGE = 50
_MOST_DIFFERENT = 50
_WITH_PATIENT = "requested_procedure__request__patient"


def page(request: HttpRequest, query: Query) -> HttpResponse:
    """Why only so many results: each exam of the query's days, with what left it out first."""
    data: dict[str, Any] = {
        "query": query,
        "line": words.query_line(query),
        "caller": heard.of_query(query),
    }
    shown: list[ScheduledProcedureStep] = []
    try:
        told = funnel.of(query)
    except Refusal as refusal:
        data["refusal"] = refusal.error_comment
    else:
        left_out = told.left_out
        order = [*left_out, *told.steps] if request.GET.get("all") else list(left_out)
        first = _page_of(request, len(order))
        shown = _in_order(order[first : first + _PER_PAGE])
        data |= {
            "funnel": told,
            "stages": [(stage, stage_words(stage)) for stage in told.stages],
            "rows": [
                (step, stage_words(left_out[step.pk]) if step.pk in left_out else "")
                for step in shown
            ],
            "is_over": len(told.steps) > told.limit,
            "earlier": first - _PER_PAGE if first else None,
            "later": first + _PER_PAGE if first + _PER_PAGE < len(order) else None,
        }
        if request.GET.get("run") in ("same", "narrow"):
            data |= again(request, query, told.caller.rules)
    details = {"query": query.pk, "exams": [step.pk for step in shown], "as": "explain"}
    trail.note("view", by=actor(request), label="a query of a scanner", details=details)
    return render(request, "explain/query.html", data)


def stage_words(stage: Stage) -> str:
    """What a condition asks for, on one line."""
    name = " + ".join(each.name for each in stage.attributes)
    name = name.replace("Scheduled Procedure Step ", "SPS ")
    if stage.asked is None:
        return _("our own rule on %(name)s") % {"name": name}
    return f"{name}: {stage.asked}"


def _page_of(request: HttpRequest, count: int) -> int:
    wanted = request.GET.get("from", "")
    first = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else 0
    return first if first < count else 0


def _in_order(keys: list[int]) -> list[ScheduledProcedureStep]:
    steps = ScheduledProcedureStep.objects.select_related(_WITH_PATIENT).in_bulk(keys)
    return [steps[key] for key in keys if key in steps]


# --- once more ------------------------------------------------------------------------------------


def again(
    request: HttpRequest, query: Query, rules: Rules, *, step: ScheduledProcedureStep | None = None
) -> dict[str, Any]:
    """The query run once more now, whole or by its modality and day alone, beside its answer."""
    is_narrow = request.GET.get("run") == "narrow"
    only = funnel.MODALITY_AND_DATE if is_narrow else ()
    found = funnel.again(query, rules, only=only)
    different = _in_order([*found.came[:_MOST_DIFFERENT], *found.went[:_MOST_DIFFERENT]])
    details = {"query": query.pk, "exams": [each.pk for each in different], "as": "replay"}
    trail.note("view", by=actor(request), label="a query of a scanner", details=details)
    return {
        "again": found,
        "is_narrow": is_narrow,
        "came": [each for each in different if each.pk in found.came],
        "went": [each for each in different if each.pk in found.went],
        "has_step": step is not None and step.pk in found.steps,
        "first_answer": words.answer_line(query),
    }


@require_safe
@needs(*PERMISSIONS)
def case(request: HttpRequest, pk: int) -> HttpResponse:
    """The query as a text of which DCMTK's dump2dcm makes it again."""
    query = get_object_or_404(Query, pk=pk)
    try:
        content = cases.dump(query)
    except Refusal as refusal:
        return HttpResponse(
            _("This query cannot be read: %(reason)s.") % {"reason": refusal.error_comment},
            status=422,
            content_type="text/plain; charset=utf-8",
        )
    details = {"query": pk, "as": "dump"}
    trail.note("export", by=actor(request), label="a query of a scanner", details=details)
    answer = HttpResponse(content, content_type="application/octet-stream")
    answer["Content-Disposition"] = f'attachment; filename="query-{pk}.dump"'
    return answer
