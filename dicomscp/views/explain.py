"""Why a scanner does not show an exam: the page, and the buttons on it that help."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from dicomscp import heartbeat
from dicomscp.explain import explanation, heard, remedies, short, text, words
from dicomscp.explain.keys import KeyVerdict
from dicomscp.explain.remedies import Kind as RemedyKind
from dicomscp.explain.remedies import Remedy
from dicomscp.explain.story import Explanation
from dicomscp.models import Query
from dicomscp.scope import Rules
from dicomscp.views import explain_query
from worklist import catalogue
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import ScheduledProcedureStep, Station
from worklist.roles import needs
from worklist.scheduling import StaleVersion, held, undo
from worklist.scheduling.conflicts import ConflictsFound
from worklist.scheduling.undo import Former
from worklist.views import notices, record

PERMISSIONS = ("worklist.view_querylog", "worklist.view_patient")
_UNDO = "explain-undo"
# How a station's settings are put back.
_COLUMNS = ("hours_before", "hours_after", "ignored_keys", "is_allowed", "networks")


@require_http_methods(["GET", "HEAD", "POST"])
@needs(*PERMISSIONS)
def explain(request: HttpRequest) -> HttpResponse:
    """One exam and one scanner, by its last query or another; of a query, all exams of its days."""
    step = _step(request)
    query = _query(request)
    station = _station(request)
    if step is None:
        if query is None and station is not None:
            query = next(iter(heard.queries(heard.of_station(station), 1)), None)
        if query is None:
            return _choose(request, station)
        return explain_query.page(request, query)
    if query is None:
        station = station or _likely(step)
    if station is None and query is None:
        return _choose(request, None)
    told = (
        explanation.of_station(step, station, query=query, is_running=heartbeat.is_running())
        if station is not None
        else explanation.of_query(step, query)  # type: ignore[arg-type]  # one of the two is there
    )
    if request.method == "POST":
        return _help(request, told)
    return _page(request, told)


@require_safe
@needs(*PERMISSIONS)
def exam(request: HttpRequest, pk: int) -> HttpResponse:
    """The page from an exam alone: of its first scanner."""
    return HttpResponseRedirect(f"{reverse('explain')}?{urlencode({'step': pk})}")


def _page(request: HttpRequest, told: Explanation) -> HttpResponse:
    patient = told.step.requested_procedure.request.patient
    query = told.asked.query
    details = {"exam": told.step.pk, "as": "explain", "query": query.pk if query else None}
    trail.note("view", patient, by=actor(request), details=details)
    run = request.GET.get("run", "")
    station = told.caller.station
    data: dict[str, Any] = {
        "told": told,
        "step": told.step,
        "patient": patient,
        "query": query,
        "short": short.answer(told),
        "sections": words.sections(told),
        "keys": [
            (each, words.key_mark(each), words.SIGNS[words.key_mark(each)], _key(each))
            for each in told.keys.verdicts
        ],
        "queries": [(each, words.query_line(each)) for each in told.asked.others[:20]],
        "stations": Station.objects.all(),
        "remedies": [
            (each, each.words(told))
            for each in remedies.of(told)
            if request.user.has_perm(each.permission)
        ],
        "advice": remedies.advice(told),
        "support": "\n".join(text.lines(told, is_for_others=True)),
        "can_take_back": _taken_back(request, station) is not None,
    }
    if query is not None and told.plan is not None and run in ("same", "narrow"):
        data |= explain_query.again(request, query, told.caller.rules, step=told.step)
    return render(request, "explain/explain.html", data)


def _key(verdict: KeyVerdict) -> dict[str, str]:
    return {"held": words.held_words(verdict.held), "verdict": words.verdict_words(verdict)}


def _choose(request: HttpRequest, station: Station | None) -> HttpResponse:
    """Which scanner? Of one that never asked there is nothing to tell but of an exam."""
    data = {"stations": Station.objects.all(), "silent": station}
    return render(request, "explain/choose.html", data)


# --- what was asked for ---------------------------------------------------------------------------


def _number(request: HttpRequest, name: str) -> int | None:
    wanted = request.GET.get(name, "")
    if not wanted:
        return None
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 18):
        raise Http404
    return int(wanted)


def _step(request: HttpRequest) -> ScheduledProcedureStep | None:
    pk = _number(request, "step")
    steps_ = ScheduledProcedureStep.objects.select_related("requested_procedure__request__patient")
    return None if pk is None else get_object_or_404(steps_, pk=pk)


def _query(request: HttpRequest) -> Query | None:
    pk = _number(request, "query")
    queries = Query.objects.select_related("association")
    return None if pk is None else get_object_or_404(queries, pk=pk)


def _station(request: HttpRequest) -> Station | None:
    pk = _number(request, "station")
    return None if pk is None else get_object_or_404(Station, pk=pk)


def _likely(step: ScheduledProcedureStep) -> Station | None:
    """The first scanner of the exam; of one without, any of its modality."""
    mine = held.stations_of(step)
    if mine:
        return mine[0]
    every = Station.objects.order_by("name", "ae_title")
    return every.filter(modality=step.modality).first() or every.first()


# --- what helps -----------------------------------------------------------------------------------


def _help(request: HttpRequest, told: Explanation) -> HttpResponse:
    back = _back(told)
    if "take-back" in request.POST:
        return _take_back(request, told, back)
    wanted = request.POST.get("remedy", "")
    remedy = next((each for each in remedies.of(told) if each.key == wanted), None)
    if remedy is None:
        notices.failed(request, _("That would not help any more: look at what is told now."))
        return back
    if not request.user.has_perm(remedy.permission):
        raise PermissionDenied(remedy.permission)
    if remedy.kind is RemedyKind.BOOK:
        return _book(request, told, remedy, back)
    return _set_up(request, told, remedy, back)


def _back(told: Explanation) -> HttpResponseRedirect:
    shown: dict[str, int] = {"step": told.step.pk}
    if told.caller.station is not None:
        shown["station"] = told.caller.station.pk
    if told.asked.is_chosen and told.asked.query is not None:
        shown["query"] = told.asked.query.pk
    return HttpResponseRedirect(f"{reverse('explain')}?{urlencode(shown)}")


def _set_up(
    request: HttpRequest, told: Explanation, remedy: Remedy, back: HttpResponse
) -> HttpResponse:
    station = told.caller.station
    assert station is not None
    before = _settings(station, told.caller.rules)
    seen = record.version_of(request.POST)
    try:
        saved = remedies.apply(told, remedy, by=actor(request), seen=seen)
    except catalogue.StaleError:
        notices.failed(request, _("The scanner was changed meanwhile: look at what is told now."))
    except ValidationError as error:
        notices.failed(request, " ".join(error.messages))
    else:
        request.session[_UNDO] = {**before, "station": saved.pk, "version": saved.version}
        said = {"what": remedy.words(told)}
        notices.done(request, _("Done: %(what)s.") % said)
    return back


def _settings(station: Station, rules: Rules) -> dict[str, Any]:
    """What of a station's settings a remedy may change, as a session keeps it."""
    return {
        "columns": {name: getattr(station, name) for name in _COLUMNS},
        "titles": list(rules.titles),
        "modality_aliases": [list(pair) for pair in rules.aliases],
        # Those that are usual are not stored.
        "shown_statuses": [str(each) for each in station.shown_statuses.all()],
    }


def _taken_back(request: HttpRequest, station: Station | None) -> dict[str, Any] | None:
    """What stood there before the last remedy, as long as nothing was changed after it."""
    before: dict[str, Any] | None = request.session.get(_UNDO)
    if before is None or station is None:
        return None
    is_last = (before["station"], before["version"]) == (station.pk, station.version)
    return before if is_last else None


def _take_back(request: HttpRequest, told: Explanation, back: HttpResponse) -> HttpResponse:
    station = told.caller.station
    before = _taken_back(request, station)
    if not request.user.has_perm(remedies.STATIONS):
        raise PermissionDenied(remedies.STATIONS)
    if before is None or station is None:
        notices.failed(request, _("It was changed again since and cannot be taken back."))
        return back
    for name, value in before["columns"].items():
        setattr(station, name, value)
    try:
        catalogue.save_station(
            station,
            titles=before["titles"],
            modality_aliases=[(asked, held) for asked, held in before["modality_aliases"]],
            shown_statuses=before["shown_statuses"],
            seen=before["version"],
            by=actor(request),
        )
    except (catalogue.StaleError, ValidationError):
        notices.failed(request, _("It was changed again since and cannot be taken back."))
        return back
    del request.session[_UNDO]
    notices.done(request, _("Taken back."))
    return back


def _book(
    request: HttpRequest, told: Explanation, remedy: Remedy, back: HttpResponse
) -> HttpResponse:
    former = Former.of(told.step)
    posted = {"version": request.POST.get("step-version", "")}
    try:
        saved = remedies.book(told, by=actor(request), version=record.version_of(posted))
    except StaleVersion:
        notices.failed(request, _("The exam was changed meanwhile: look at what is told now."))
    except ConflictsFound:
        notices.failed(request, _("Something is in the way there: move the exam on its page."))
        return redirect("exam-move", pk=told.step.pk)
    except ValidationError as error:
        notices.failed(request, " ".join(error.messages))
    else:
        said = _("Done: %(what)s.") % {"what": remedy.words(told)}
        notices.done(request, said, undo=undo.of("move", [(former, saved)]))
    return back
