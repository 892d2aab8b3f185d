"""Who calls while a scanner is set up: itself, who is like it, its address, and strangers."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, OuterRef, Q

from dicomscp import asked
from dicomscp.access import Reason
from dicomscp.models import Association, Query
from worklist.models import Station, StationTitle
from worklist.models.stations import read_networks

_Network = IPv4Network | IPv6Network

# Calls that are shown, and queries of all of them.
_MOST = 20
_MOST_QUERIES = 40
# What people mistake for one another in an AE title, or leave out.
_PUNCTUATION = str.maketrans("", "", "-_ .")


class Who(enum.StrEnum):
    """Whose call it is, as far as can be told."""

    OWN = "own"
    # Its AE title but for capital letters, hyphens and underscores.
    NEAR = "near"
    # Another AE title, from its address; or none, since TLS came to nothing.
    HERE = "here"
    # Nobody that is set up.
    STRANGER = "stranger"


@dataclass(frozen=True)
class Heard:
    """A call, what was asked on it (the last first), and what of it can be taken over."""

    association: Association
    who: Who
    queries: tuple[Query, ...]
    count: int
    can_take_title: bool
    can_take_address: bool
    can_trust: bool

    @property
    def reason(self) -> Reason:
        return Reason(self.association.reason)


def heard(station: Station, since: dt.datetime) -> list[Heard]:
    """The calls since then that are the scanner's or may be, the last first; four statements."""
    titles = asked.titles_of(station)
    networks = _networks(station)
    alone = [str(each.network_address) for each in networks if each.num_addresses == 1]
    first = Station.objects.filter(ae_title=OuterRef("calling"))
    further = StationTitle.objects.filter(ae_title=OuterRef("calling"))
    is_set_up = ExpressionWrapper(Exists(first) | Exists(further), output_field=BooleanField())
    found = list(
        Association.objects.filter(opened__gte=since)
        .annotate(is_set_up=is_set_up)
        .filter(Q(is_set_up=False) | Q(calling__in=titles) | Q(address__in=alone))
        .order_by("-opened", "pk")[:_MOST]
    )
    queries, counts = _queries(found)
    bound = station.certificates.split()
    return [
        Heard(
            call,
            who := _who(call, titles, networks),
            tuple(queries[call.pk]),
            counts.get(call.pk, 0),
            # With a backslash it is an escape: of what no AE title may have.
            can_take_title=call.calling != ""
            and "\\" not in call.calling
            and not getattr(call, "is_set_up", True),
            can_take_address=who is Who.OWN
            and call.address != ""
            and not _is_within(call.address, read_networks(station.networks)),
            can_trust=who is Who.OWN and bool(call.certificate) and call.certificate not in bound,
        )
        for call in found
    ]


def fingerprint(calls: Sequence[Heard], station: Station) -> str:
    """What differs as soon as there is something new to show."""
    said = [(str(call.association.pk), call.association.ended, call.count) for call in calls]
    return hashlib.sha256(repr((station.version, said)).encode()).hexdigest()[:16]


def _queries(
    calls: Sequence[Association],
) -> tuple[dict[uuid.UUID, list[Query]], dict[uuid.UUID, int]]:
    """The last queries of these calls, and how many each had."""
    theirs = Query.objects.filter(association__in=calls)
    queries: dict[uuid.UUID, list[Query]] = defaultdict(list)
    for query in theirs.order_by("-at", "-pk")[:_MOST_QUERIES]:
        assert query.association_id is not None
        queries[query.association_id].append(query)
    counted = theirs.order_by().values("association").annotate(n=Count("pk"))
    return queries, dict(counted.values_list("association", "n"))


def _who(call: Association, titles: Sequence[str], networks: Sequence[_Network]) -> Who:
    if call.calling in titles:
        return Who.OWN
    if call.calling and _bare(call.calling) in {_bare(title) for title in titles}:
        return Who.NEAR
    return Who.HERE if _is_within(call.address, networks) else Who.STRANGER


def _bare(title: str) -> str:
    return title.casefold().translate(_PUNCTUATION)


def _networks(station: Station) -> tuple[_Network, ...]:
    """Where it may be expected to call from: its addresses, and the one at which it is tested."""
    networks = read_networks(station.networks)
    try:
        return (*networks, *read_networks(station.test_host))
    except ValidationError:
        return networks  # a name


def _is_within(address: str, networks: Sequence[_Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)
