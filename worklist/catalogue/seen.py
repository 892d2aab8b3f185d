"""What a scanner was seen to call with becomes what is set of it: one click, signed."""

from __future__ import annotations

from django.db import transaction

from worklist.audit.trail import Actor
from worklist.catalogue.verbs import save_station
from worklist.models import Station


def take_ae_title(station: Station, title: str, *, by: Actor) -> Station:
    """Have it called by this AE title in place of the one that was set."""
    with transaction.atomic():
        stored = _locked(station)
        further = [each for each in _titles(stored) if each != title]
        stored.ae_title = title
        return save_station(stored, titles=further, seen=None, by=by)


def add_ae_title(station: Station, title: str, *, by: Actor) -> Station:
    """Answer it under this AE title, too."""
    with transaction.atomic():
        stored = _locked(station)
        return save_station(stored, titles=[*_titles(stored), title], seen=None, by=by)


def take_address(station: Station, address: str, *, by: Actor) -> Station:
    """Answer it from this address: beside those that are set, or from this one alone."""
    with transaction.atomic():
        stored = _locked(station)
        stored.networks = ", ".join(filter(None, (stored.networks, address)))
        return save_station(stored, seen=None, by=by)


def _locked(station: Station) -> Station:
    return Station.objects.select_for_update().get(pk=station.pk)


def _titles(station: Station) -> list[str]:
    return [title.ae_title for title in station.titles.all()]
