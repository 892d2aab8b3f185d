"""What the journal has of one caller: its last call, its queries, and who may be it in disguise."""

from __future__ import annotations

import ipaddress

from django.db.models import Exists, Max, OuterRef

from dicomscp import access, stations
from dicomscp.access import Call, Reason, Verdict
from dicomscp.explain import nearness
from dicomscp.explain.story import Accepted, Caller, Reached, Refused
from dicomscp.models import Association, Query
from worklist.models import Station, StationTitle
from worklist.models.stations import read_networks

# Of this one's queries so many are looked through for one that sent the step.
RECENT = 50
_STRANGERS = 50
_WORKLIST = "Modality Worklist"


def of_station(station: Station) -> Caller:
    """The station as it calls."""
    known = stations.of(station)
    return Caller((known.rules.ae_title, *known.rules.titles), station, known.rules)


def of_query(query: Query) -> Caller:
    """Who asked this."""
    known = stations.known(query.calling)
    if known is None:
        return Caller((query.calling,))
    titles = (known.rules.ae_title, *known.rules.titles)
    return Caller(titles, Station.objects.get(pk=known.pk), known.rules)


def queries(caller: Caller, count: int = RECENT) -> list[Query]:
    """Its last queries, the last one first."""
    found = Query.objects.filter(calling__in=caller.titles).order_by("-at", "-id")
    return list(found.defer("identifier")[:count])


def reached(caller: Caller, *, is_running: bool | None = None) -> Reached:
    """Its last call, one for more than Verification if there is any."""
    calls = Association.objects.filter(calling__in=caller.titles).order_by("-opened", "id")
    last = calls.exclude(reason=Reason.VERIFICATION).first() or calls.first()
    last = _failed_tls(caller, last) or last
    return Reached(last, _impostor(caller, last), is_running)


def accepted(reached: Reached, query: Query | None, *, is_chosen: bool) -> Accepted:
    """Whether it may ask: as its last call was answered, unless it has asked since."""
    last = reached.last
    if query is not None:
        verdict = _now(query, last)
        if not verdict.is_accepted:
            return Accepted(query.association or last, Refused.REJECTED, verdict.reason)
    if last is None or (is_chosen and query):
        return Accepted(query.association if query else None)
    if query is not None and (query.association_id == last.pk or query.at > last.opened):
        return Accepted(query.association or last)
    if not last.is_accepted:
        return Accepted(last, Refused.REJECTED)
    if _WORKLIST in last.refused_contexts:
        return Accepted(last, Refused.CONTEXT_REFUSED)
    if query is not None:
        # It may call for other services, too.
        return Accepted(query.association or last)
    refused = Refused.SILENT if _WORKLIST in last.contexts else Refused.NO_CONTEXT
    return Accepted(last, refused)


def _now(query: Query, last: Association | None) -> Verdict:
    """How it would be answered if it asked again, with the certificate that it showed last."""
    shown = last if last and last.opened > query.at else query.association
    call = Call(query.calling, query.address, certificate=shown.certificate if shown else "")
    verdict = access.on_query(call)
    if shown is None and verdict.reason is Reason.CERTIFICATE:
        # What it showed is not known: its association's row was lost.
        return Verdict(Reason.UNDECIDED, verdict.station)
    return verdict


# --- in disguise ----------------------------------------------------------------------------------


def _impostor(caller: Caller, last: Association | None) -> Association | None:
    """The last call of one that is not set up and may be this one: by its title, or its address."""
    if caller.station is None:
        return None
    first = Station.objects.filter(ae_title=OuterRef("calling"))
    further = StationTitle.objects.filter(ae_title=OuterRef("calling"))
    strangers = Association.objects.exclude(Exists(first)).exclude(Exists(further))
    # One without an AE title has not come as far as to tell it.
    strangers = strangers.exclude(calling="")
    if last is not None:
        strangers = strangers.filter(opened__gt=last.opened)
    rows = strangers.values_list("calling", "address").annotate(at=Max("opened"))
    for calling, address, at in rows.order_by("-at")[:_STRANGERS]:
        if _is_near(caller, calling) or _is_at_home(caller.station, address, last):
            return strangers.filter(calling=calling, address=address, opened=at).first()
    return None


def _failed_tls(caller: Caller, last: Association | None) -> Association | None:
    """The connection, made since its last call, that came to nothing over TLS, as far as is known.

    It has told no AE title: its address must be this one's alone.
    """
    if caller.station is None:
        return None
    # Who connects and says nothing may only look whether the port is open.
    failed = Association.objects.filter(calling="", reason__in=access.OF_TLS - {Reason.SILENT})
    if last is not None:
        failed = failed.filter(opened__gt=last.opened)
    rows = failed.values_list("address").annotate(at=Max("opened")).order_by("-at")
    for address, at in rows[:_STRANGERS]:
        if _is_at_home(caller.station, address, last):
            return failed.filter(address=address, opened=at).first()
    return None


def _is_near(caller: Caller, calling: str) -> bool:
    return any(nearness.of_titles(calling, title) for title in caller.titles)


def _is_at_home(station: Station, address: str, last: Association | None) -> bool:
    """Whether no other scanner calls from there, and this one does."""
    networks = read_networks(station.networks) if station.networks else ()
    hosts = {network.network_address for network in networks if network.num_addresses == 1}
    try:
        is_own = ipaddress.ip_address(address) in hosts
    except ValueError:
        is_own = False
    if not is_own and (last is None or last.address != address):
        return False
    others = Association.objects.filter(address=address, calling=OuterRef("ae_title"))
    return not Station.objects.exclude(pk=station.pk).filter(Exists(others)).exists()
