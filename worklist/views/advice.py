"""What the booking form advises: free slots, another time than one in conflict, other letters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worklist import clock, legible
from worklist.forms.booking import PlaceForm, fitting_stations
from worklist.models import Station
from worklist.scheduling import booking, slots
from worklist.scheduling.booking import Visit
from worklist.scheduling.conflicts import Conflict

# Free slots that are offered a scanner, and scanners that are offered.
_SLOTS = 4
_SCANNERS = 4
# Fields of the form whose text may be spelt in plainer letters.
_SPELT = {
    **dict.fromkeys(("family", "given", "middle", "name_prefix", "name_suffix", "referring"), "PN"),
    **dict.fromkeys(("reason", "contrast_agent"), "LO"),
    "history": "LT",
}


@dataclass(frozen=True)
class Offer:
    """The free slots of a scanner for one of the places."""

    station: Station
    starts: tuple[dt.datetime, ...]


@dataclass(frozen=True)
class FreeSlots:
    """What is free for one of the places on its day, and the day after."""

    number: int
    day: dt.date
    exam: str
    offers: tuple[Offer, ...]
    next_day: dt.date


def free_slots(places: Sequence[PlaceForm], stations: Sequence[Station]) -> list[FreeSlots]:
    """Free slots for each place on its day, on its scanner first."""
    made = []
    for number, form in enumerate(places):
        form.is_valid()
        data = form.cleaned_data
        day, minutes = data.get("day"), data.get("minutes")
        if day is None or minutes is None:
            continue
        mine: Station | None = data.get("station")
        fitting = fitting_stations(form.kind, stations)
        fitting.sort(key=lambda station: mine is None or station.pk != mine.pk)
        found = slots.free_starts(
            fitting[:_SCANNERS], day, minutes, after=_earliest(form), count=_SLOTS
        )
        made.append(
            FreeSlots(
                number=number,
                day=day,
                exam=form.kind.description,
                offers=tuple(Offer(station, tuple(starts)) for station, starts in found),
                next_day=day + dt.timedelta(days=1),
            )
        )
    return made


def _earliest(form: PlaceForm) -> dt.datetime:
    """The slots around the time that was typed are more use than those of the morning."""
    time, day = form.cleaned_data.get("time"), form.cleaned_data["day"]
    now = clock.now()
    if time is None:
        return now
    return max(now, dt.datetime.combine(day, time) - dt.timedelta(hours=1))


def instead(
    places: Sequence[PlaceForm], conflicts: Iterable[Conflict]
) -> tuple[int, Station, dt.datetime] | None:
    """The nearest free slot for a place that is in conflict with another booking."""
    codes = {conflict.code for conflict in conflicts}
    if not codes & {"overlap", "closed", "past", "elsewhere"}:
        return None
    for number, form in enumerate(places):
        if not form.is_valid():
            continue
        station = form.cleaned_data["station"]
        start = max(form.start, clock.now())
        later = slots.next_free(station, start, form.cleaned_data["minutes"])
        if later and later[0] != form.start:
            return number, station, later[0]
    return None


def spellings(visit: Visit, data: Mapping[str, str]) -> dict[str, str]:
    """Texts of the form that a scanner of the visit cannot show, as it could."""
    found = {}
    for name, vr in _SPELT.items():
        text = data.get(name, "")
        lacking = any(
            legible.missing(text, legible.terms_of(exam.station.character_set), vr=vr)
            for exam in visit.exams
        )
        if lacking and (spelt := booking.spelt_for(visit, text, vr=vr)):
            found[name] = spelt
    return found
