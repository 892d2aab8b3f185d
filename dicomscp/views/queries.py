"""The log of queries: what scanners asked, key by key, and were sent. Each look is signed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from dicomscp import asked
from dicomscp.access import Reason
from dicomscp.asked import Key
from dicomscp.models import Query
from dicomscp.status import CANCEL, MEANINGS, SUCCESS
from worklist import clock
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import ScheduledProcedureStep, Station, StationTitle
from worklist.roles import needs

PERMISSIONS = ("worklist.view_querylog", "worklist.view_patient")
_PER_PAGE = 50
# Of a query's keys, on the line of the list.
_MOST_KEYS = 6


class QueriesForm(forms.Form):
    """Which queries to show."""

    station = forms.ModelChoiceField(
        required=False,
        label=gettext_lazy("Scanner"),
        queryset=Station.objects.order_by("name", "ae_title"),
        empty_label=gettext_lazy("All"),
    )
    day = forms.DateField(
        required=False,
        label=gettext_lazy("Day"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    empty = forms.BooleanField(required=False, label=gettext_lazy("Only empty"))
    failed = forms.BooleanField(required=False, label=gettext_lazy("Only failed"))


@dataclass(frozen=True)
class Row:
    """A query as a line of the list."""

    query: Query
    station: Station | None
    keys: tuple[str, ...]
    more_keys: int


@require_safe
@needs(*PERMISSIONS)
def queries(request: HttpRequest) -> HttpResponse:
    """What was asked, the last query first: of today, when no day is chosen."""
    data = request.GET.copy()
    if "day" not in data:
        data["day"] = clock.today().isoformat()
    form = QueriesForm(data)
    if not form.is_valid():
        return render(request, "queries/queries.html", {"form": form}, status=422)
    found = list(_after(_chosen(form.cleaned_data), data.get("before", ""))[: _PER_PAGE + 1])
    stations = _stations()
    rows = [_row(query, stations) for query in found[:_PER_PAGE]]
    details = {"queries": [row.query.pk for row in rows]}
    trail.note("view", by=actor(request), label="queries of scanners", details=details)
    context = {
        "form": form,
        "rows": rows,
        "older": rows[-1].query.pk if len(found) > _PER_PAGE else None,
        "is_later_page": "before" in data,
    }
    return render(request, "queries/queries.html", context)


@require_safe
@needs(*PERMISSIONS)
def query(request: HttpRequest, pk: int) -> HttpResponse:
    """One query: its keys in words, its Identifier, what it was answered."""
    found = get_object_or_404(Query.objects.select_related("association"), pk=pk)
    steps = ScheduledProcedureStep.objects.select_related(
        "requested_procedure__request__patient"
    ).in_bulk(found.steps)
    answered = [steps[key] for key in found.steps if key in steps]
    details = {"query": pk, "exams": [step.pk for step in answered]}
    trail.note("view", by=actor(request), label="a query of a scanner", details=details)
    keys = asked.keys_of(found)
    association = found.association
    context = {
        "query": found,
        "station": _stations().get(found.calling),
        "keys": keys,
        "conditions": [key for key in keys if key.words],
        "answered": answered,
        "gone": len(found.steps) - len(answered),
        "not_kept": found.sent - len(found.steps),
        "status": _status(found),
        "association": association,
        "reason": Reason(association.reason).words if association else "",
    }
    return render(request, "queries/query.html", context)


def _chosen(chosen: dict[str, Any]) -> QuerySet[Query]:
    found = Query.objects.order_by("-at", "-pk")
    if chosen["station"]:
        found = found.filter(calling__in=asked.titles_of(chosen["station"]))
    if chosen["day"]:
        start = timezone.make_aware(dt.datetime.combine(chosen["day"], dt.time.min))
        end = timezone.make_aware(
            dt.datetime.combine(chosen["day"] + dt.timedelta(days=1), dt.time.min)
        )
        found = found.filter(at__gte=start, at__lt=end)
    if chosen["empty"]:
        found = found.filter(status=SUCCESS, matches=0)
    if chosen["failed"]:
        found = found.exclude(status__in=(SUCCESS, CANCEL), status__isnull=False)
    return found


def _after(found: QuerySet[Query], before: str) -> QuerySet[Query]:
    """What stands behind a query of the list."""
    if not (before.isascii() and before.isdigit()):
        return found
    last = Query.objects.filter(pk=int(before)).first()
    if last is None:
        return found
    return found.filter(Q(at__lt=last.at) | Q(at=last.at, pk__lt=last.pk))


def _stations() -> dict[str, Station]:
    """The stations by each of their AE titles."""
    further = StationTitle.objects.select_related("station")
    by_title = {title.ae_title: title.station for title in further}
    return by_title | {station.ae_title: station for station in Station.objects.all()}


def _row(query: Query, stations: dict[str, Station]) -> Row:
    said = [_short(key) for key in asked.keys_of(query) if key.words]
    keys = tuple(said[:_MOST_KEYS])
    return Row(query, stations.get(query.calling), keys, len(said) - len(keys))


def _short(key: Key) -> str:
    name = key.name.removeprefix("Scheduled Procedure Step ")
    return f"{name} = {key.text}"


def _status(query: Query) -> str:
    if query.status is None:
        return _("none: the association ended before")
    name, _meaning = MEANINGS.get(query.status, ("", ""))
    return f"0x{query.status:04X} {name}".strip()
