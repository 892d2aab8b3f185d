"""The catalogue as CSV: down, and up again by way of a preview."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from worklist import sheets
from worklist.actor import actor
from worklist.audit import trail
from worklist.catalogue import StaleError, sheet
from worklist.roles import needs
from worklist.views import notices
from worklist.views.setup.procedures import PERMISSION


@needs(PERMISSION)
def procedures_csv(request: HttpRequest) -> StreamingHttpResponse:
    """Download the whole catalogue."""
    trail.note("export", by=actor(request), label="catalogue")
    response = StreamingHttpResponse(
        list(sheets.lines(sheet.rows())), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = 'attachment; filename="procedures.csv"'
    return response


@needs(PERMISSION)
def procedures_import(request: HttpRequest) -> HttpResponse:
    """Upload a file and see what it would do; nothing is saved until that is confirmed."""
    context = {"columns": sheet.COLUMNS, "required": sheet.REQUIRED}
    template = "setup/procedures_import.html"
    if request.method != "POST":
        return render(request, template, context)
    try:
        text = _text(request)
        plan = sheet.plan(text)
        if "confirm" in request.POST:
            if request.POST.get("digest") == plan.digest:
                sheet.carry_out(plan, by=actor(request))
                return _done(request, plan)
            context["is_other"] = True  # type: ignore[assignment]
    except sheet.SheetError as error:
        return render(request, template, {**context, "problem": str(error)}, status=422)
    except StaleError:
        plan = sheet.plan(text)
        context["is_other"] = True  # type: ignore[assignment]
    except ValidationError as error:
        problem = " ".join(error.messages)
        return render(request, template, {**context, "problem": problem}, status=422)
    context |= {"plan": plan, "text": text, "digest": plan.digest}  # type: ignore[dict-item]
    context |= {kind: plan.of(kind) for kind in ("new", "changed", "same", "wrong")}  # type: ignore[misc]
    return render(request, template, context, status=422 if context.get("is_other") else 200)


def _text(request: HttpRequest) -> str:
    """The file that came, or the one that was seen and comes back."""
    if "content" in request.POST:
        return sheet.text_of(request.POST["content"].encode())
    upload = request.FILES.get("file")
    if upload is None:
        raise sheet.SheetError(_("Choose a file first."))
    # One byte past the limit is enough to see that it is passed.
    return sheet.text_of(upload.read(sheet.MAX_BYTES + 1))


def _done(request: HttpRequest, plan: sheet.Plan) -> HttpResponse:
    count = len(plan.of("new")) + len(plan.of("changed"))
    told = ngettext(
        "%(count)d procedure of the file is saved.",
        "%(count)d procedures of the file are saved.",
        count,
    )
    notices.done(request, told % {"count": count})
    return redirect("setup-procedures")
