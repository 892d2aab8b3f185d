"""What is known of the station that calls, by its AE title."""

from __future__ import annotations

from worklist import character_set as sets
from worklist.character_set import CharacterSet
from worklist.models import Station


def character_set(ae_title: str) -> CharacterSet | None:
    """The set that this station is to be answered in; None leaves it to its requests."""
    chosen = Station.objects.filter(ae_title=ae_title).values_list("character_set", flat=True)
    return terms(chosen.first() or "")


def terms(stored: str) -> CharacterSet | None:
    """The terms of a station's column, which holds them as they stand on the wire."""
    return sets.read(stored.encode("ascii")) if stored else None
