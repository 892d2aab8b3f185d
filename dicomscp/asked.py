"""Queries of the journal, understood again: the plan of one, and what a station asked last."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from pydicom.uid import ImplicitVRLittleEndian

from dicomscp import identifier, plan
from dicomscp.identifier import Element
from dicomscp.models import Query
from dicomscp.plan import QueryPlan
from worklist.models import Station


def elements(query: Query) -> tuple[Element, ...]:
    """What was asked, element by element. Raises Refusal as the SCP did."""
    is_implicit = query.transfer_syntax == ImplicitVRLittleEndian
    return identifier.read(bytes(query.identifier), implicit_vr=is_implicit)


def plan_of(query: Query) -> QueryPlan:
    """The plan that the SCP made of it. Raises Refusal as the SCP did."""
    return plan.make(elements(query))


def titles_of(station: Station) -> Sequence[str]:
    """Every AE title under which the station may call."""
    return [station.ae_title, *(title.ae_title for title in station.titles.all())]


def queries_of(station: Station) -> QuerySet[Query]:
    """What a station asked, the last query first."""
    return Query.objects.filter(calling__in=titles_of(station)).order_by("-at", "-pk")


def last_of(station: Station) -> Query | None:
    """The station's last query that was understood."""
    return queries_of(station).filter(status=0).first()
