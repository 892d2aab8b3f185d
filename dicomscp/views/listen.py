"""Who calls while a scanner is added, live; and what a call showed is taken over."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from dicomscp import asked, certificates, heard_words, listening
from dicomscp.listening import Heard
from dicomscp.models import Association, Query
from dicomscp.views import queries
from worklist import catalogue
from worklist.actor import actor
from worklist.audit import trail
from worklist.models import Station
from worklist.roles import needs
from worklist.views import notices

PERMISSION = "worklist.manage_stations"
# How long a page asks for new calls by itself.
LISTENS = dt.timedelta(minutes=5)
# Of one call, the queries that are shown.
_MOST_QUERIES = 3


@dataclass(frozen=True)
class Asked:
    """A query as a line of the page; `words` are () of one that asks for every exam."""

    query: Query
    words: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A call as the page shows it."""

    call: Heard
    advice: str
    asked: tuple[Asked, ...]

    @property
    def more(self) -> int:
        return self.call.count - len(self.asked)


@require_safe
@needs(PERMISSION)
def listen(request: HttpRequest, pk: int) -> HttpResponse:
    """The calls since `from`, as they come: the page asks again until `until`.

    Both are milliseconds since 1970. With htmx a part comes back, or 204 as long as nothing is new.
    """
    station = get_object_or_404(Station, pk=pk)
    now = timezone.now()
    since = _moment(request.GET.get("from", "")) or now
    until = _moment(request.GET.get("until", "")) or now + LISTENS
    calls = listening.heard(station, since)
    is_live = now < until
    token = f"{listening.fingerprint(calls, station)}{'' if is_live else '-over'}"
    is_part = request.headers.get("HX-Request") == "true"
    if is_part and request.GET.get("seen") == token:
        return HttpResponse(status=204)
    may_see = all(request.user.has_perm(name) for name in queries.PERMISSIONS)
    rows = [_row(call, station, may_see) for call in calls]
    if shown := [each.query.pk for row in rows for each in row.asked]:
        details = {"queries": shown}
        trail.note("view", by=actor(request), label="queries of a scanner", details=details)
    data = {
        "station": station,
        "rows": rows,
        "since": since,
        "is_live": is_live,
        "may_see": may_see,
        "next": address(station, since, until, seen=token),
        "stop": address(station, since, now),
        "again": address(station, since),
        "from_": _milliseconds(since),
        "minutes": LISTENS // dt.timedelta(minutes=1),
        "ours": settings.AE_TITLE.strip(),
    }
    answer = render(request, "setup/_heard.html" if is_part else "setup/listen.html", data)
    patch_vary_headers(answer, ("HX-Request",))
    return answer


@require_POST
@needs(PERMISSION)
def take(request: HttpRequest, pk: int) -> HttpResponse:
    """Take over what a call showed: its AE title, its address, its certificate."""
    station = get_object_or_404(Station, pk=pk)
    call = _call(request.POST.get("call", ""))
    told = _("This call is not known any longer: nothing was changed.")
    if call is not None:
        try:
            done = _taken(request, station, call)
        except ValidationError as error:
            told, done = " ".join(error.messages), ""
        if done:
            notices.done(request, done)
            told = ""
    if told:
        notices.failed(request, told)
    return redirect(address(station, _moment(request.POST.get("from", ""))))


def _taken(request: HttpRequest, station: Station, call: Association) -> str:
    """Take it over, and say so; "" when the call has no such thing."""
    by = actor(request)
    named = {"scanner": station.friendly_name, "title": call.calling, "address": call.address}
    is_own = call.calling in asked.titles_of(station)
    shown = {one.fingerprint for one in certificates.seen(station)}
    ways: dict[str, tuple[bool, Callable[[], object], str]] = {
        "title": (
            bool(call.calling) and not is_own,
            lambda: catalogue.take_ae_title(station, call.calling, by=by),
            _("The AE title of %(scanner)s is %(title)s now."),
        ),
        "further": (
            bool(call.calling) and not is_own,
            lambda: catalogue.add_ae_title(station, call.calling, by=by),
            _("%(scanner)s is answered as %(title)s, too."),
        ),
        "address": (
            is_own and bool(call.address),
            lambda: catalogue.take_address(station, call.address, by=by),
            _("%(scanner)s is answered from %(address)s."),
        ),
        "certificate": (
            is_own and call.certificate in shown,
            lambda: catalogue.trust_certificate(station, call.certificate, by=by),
            _("The certificate is trusted."),
        ),
    }
    may, do, told = ways.get(request.POST.get("take", ""), (False, lambda: None, ""))
    if not may:
        return ""
    do()
    return told % named


def _row(call: Heard, station: Station, may_see: bool) -> Row:
    theirs = call.queries[:_MOST_QUERIES] if may_see else ()
    words = [(each, [key.words for key in asked.keys_of(each) if key.words]) for each in theirs]
    return Row(
        call,
        heard_words.advice(call, station),
        tuple(Asked(query, tuple(said)) for query, said in words),
    )


def _call(number: str) -> Association | None:
    try:
        return Association.objects.filter(pk=uuid.UUID(number)).first()
    except ValueError:
        return None


def _moment(text: str) -> dt.datetime | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        return None
    return dt.datetime.fromtimestamp(int(text) / 1000, dt.UTC)


def _milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def address(
    station: Station,
    since: dt.datetime | None,
    until: dt.datetime | None = None,
    **more: str,
) -> str:
    """Where the calls since then are listened to."""
    moments = {"from": since, "until": until}
    told = {name: str(_milliseconds(each)) for name, each in moments.items() if each} | more
    return f"{reverse('setup-scanner-listen', args=[station.pk])}?{urlencode(told)}"
