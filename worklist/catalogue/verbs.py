"""Rows of the set-up are saved: checked against the version that was seen, whole, signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.translation import gettext as _

from worklist import values
from worklist.audit import trail
from worklist.audit.trail import Actor, Snapshot
from worklist.models import (
    ClosedDay,
    Code,
    ModalityAlias,
    OpeningHours,
    OpeningTime,
    OrderSet,
    ProcedureType,
    ShownStatus,
    Station,
    StationTitle,
)
from worklist.models.versions import Versioned


class StaleError(Exception):
    """Somebody else has saved the row since it was seen: what stands there, and what was to be."""

    def __init__(self, stored: Versioned, there: Snapshot, wanted: Snapshot) -> None:
        super().__init__("changed by somebody else meanwhile")
        self.stored = stored
        self.there = there
        self.wanted = wanted


@dataclass(frozen=True)
class CodedText:
    """A code as people type it (PS3.3 8.8): value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str

    @classmethod
    def of(cls, code: Code) -> CodedText:
        """What this code says; the version of its scheme is left out."""
        return cls(code.value or code.long_value or code.urn_value, code.scheme, code.meaning)

    @property
    def columns(self) -> dict[str, str]:
        """Where Code keeps it: the length of the value says which of its kinds it is."""
        is_urn = self.value.startswith(("urn:", "http:", "https:"))
        is_long = len(self.value) > values.MAX_LENGTH["SH"]
        column = "urn_value" if is_urn else "long_value" if is_long else "value"
        kinds = {"value": "", "long_value": "", "urn_value": ""}
        return {**kinds, column: self.value, "scheme": self.scheme, "meaning": self.meaning}


_Row = TypeVar("_Row", bound=Versioned)
Lists = Mapping[str, Sequence[models.Model]]


def save_station(
    station: Station,
    *,
    titles: Sequence[str] | None = None,
    modality_aliases: Sequence[tuple[str, str]] | None = None,
    shown_statuses: Sequence[str] | None = None,
    seen: int | None,
    by: Actor,
) -> Station:
    """Set a scanner up, or change one; `seen` is the version that the change began from.

    `titles` are its further AE titles, `modality_aliases` pairs of a modality that is asked for and
    one that counts as it; what is None stays.
    """
    lists: dict[str, Sequence[models.Model]] = {}
    if titles is not None:
        lists["titles"] = _titles(station, titles)
    if modality_aliases is not None:
        pairs = sorted(set(modality_aliases))
        lists["modality_aliases"] = [ModalityAlias(asked=asked, held=held) for asked, held in pairs]
    if shown_statuses is not None:
        statuses = sorted(set(shown_statuses))
        lists["shown_statuses"] = [ShownStatus(status=status) for status in statuses]
    for name, parts in lists.items():
        for part in parts:
            try:
                part.clean_fields(exclude=["station"])
            except ValidationError as error:
                told = [f"{part}: {message}" for message in error.messages]
                raise ValidationError({name: told}) from None
    if any(asked == held for asked, held in modality_aliases or ()):
        raise ValidationError({"modality_aliases": _("These are two modalities.")})
    return _save(station, seen=seen, by=by, lists=lists)


def _titles(station: Station, titles: Sequence[str]) -> list[StationTitle]:
    wanted = sorted({values.strip(title, "AE") for title in titles} - {station.ae_title, ""})
    main = Station.objects.filter(ae_title__in=wanted).exclude(pk=station.pk)
    further = StationTitle.objects.filter(ae_title__in=wanted).exclude(station=station.pk)
    owners = {other.ae_title: other for other in main}
    owners |= {each.ae_title: each.station for each in further.select_related("station")}
    if owners:
        told = [f"{title}: {owners[title].has_title}" for title in sorted(owners)]
        raise ValidationError({"titles": told})
    return [StationTitle(ae_title=title) for title in wanted]


def trust_certificate(station: Station, fingerprint: str, *, by: Actor) -> Station:
    """Bind a certificate to a scanner: from then on it is answered with one of its own alone."""
    return _set_certificates(station, lambda bound: [*bound, fingerprint], by=by)


def distrust_certificate(station: Station, fingerprint: str, *, by: Actor) -> Station:
    """Answer a scanner with this certificate no longer; after the last one, it needs none."""
    return _set_certificates(
        station, lambda bound: [one for one in bound if one != fingerprint], by=by
    )


def _set_certificates(
    station: Station, change: Callable[[list[str]], list[str]], *, by: Actor
) -> Station:
    with transaction.atomic():
        stored = Station.objects.select_for_update().get(pk=station.pk)
        stored.certificates = " ".join(change(stored.certificates.split()))
        return _save(stored, seen=None, by=by)


def save_opening_hours(
    hours: OpeningHours, times: Sequence[OpeningTime], *, seen: int | None, by: Actor
) -> OpeningHours:
    """Save a week of opening times, in place of those that were there."""
    ordered = sorted(times, key=lambda time: (time.weekday, time.opens))
    return _save(hours, seen=seen, by=by, lists={"times": ordered})


def save_closed_day(closed: ClosedDay, *, seen: int | None, by: Actor) -> ClosedDay:
    """Close one scanner, or all of them, for a day."""
    return _save(closed, seen=seen, by=by)


def delete_closed_day(closed: ClosedDay, *, seen: int | None, by: Actor) -> None:
    """Work on that day after all."""
    with transaction.atomic():
        _refuse_if_stale(closed, seen, {})
        trail.delete(closed, by=by)


def save_procedure_type(
    kind: ProcedureType,
    *,
    allowed_stations: Sequence[Station],
    requested_code: CodedText | None,
    protocol_codes: Sequence[CodedText],
    seen: int | None,
    by: Actor,
) -> ProcedureType:
    """Save a line of the catalogue with its codes, which are made when they are not there yet."""
    with transaction.atomic():
        present = tuple(kind.protocol_codes.all()) if kind.pk else ()
        if kind.requested_procedure_code:
            present += (kind.requested_procedure_code,)
        kind.requested_procedure_code = (
            _code(requested_code, present, by=by) if requested_code else None
        )
        lists: dict[str, Sequence[models.Model]] = {
            "allowed_stations": sorted(allowed_stations, key=lambda station: station.pk),
            "protocol_codes": [_code(text, present, by=by) for text in protocol_codes],
        }
        return _save(kind, seen=seen, by=by, lists=lists)


def set_procedure_type_active(
    kind: ProcedureType, active: bool, *, seen: int | None, by: Actor
) -> ProcedureType:
    """Offer a procedure for booking, or offer it no longer."""
    kind.is_active = active
    return _save(kind, seen=seen, by=by)


def save_order_set(
    order_set: OrderSet,
    procedure_types: Sequence[ProcedureType],
    *,
    seen: int | None,
    by: Actor,
) -> OrderSet:
    """Save an order set and what it books, in this order."""
    return _save(order_set, seen=seen, by=by, lists={"procedure_types": procedure_types})


def _code(text: CodedText, present: Sequence[Code], *, by: Actor) -> Code:
    """The code that says this: one of those present, else any there is, else a new one."""
    for code in present:
        if CodedText.of(code) == text:
            return code
    found = Code.objects.filter(**text.columns).order_by("scheme_version", "id").first()
    if found is None:
        found = Code(**text.columns)
        found.full_clean()
        trail.save(found, by=by)
    return found


def _save(row: _Row, *, seen: int | None, by: Actor, lists: Lists | None = None) -> _Row:
    with transaction.atomic():
        _refuse_if_stale(row, seen, lists or {})
        row.full_clean()
        trail.save(row, by=by, lists=lists)
    return row


def _refuse_if_stale(row: Versioned, seen: int | None, lists: Lists) -> None:
    """Raise StaleError unless the row is still the version that was seen; None: any version."""
    if row.pk is None or seen is None:
        return
    stored = type(row)._base_manager.select_for_update().get(pk=row.pk)
    if stored.version != seen:
        labels = {name: [str(each) for each in related] for name, related in lists.items()}
        wanted = trail.snapshot(row, lists=False) | labels
        raise StaleError(stored, trail.snapshot(stored), wanted)
