"""Records of worklist files become rows: in bulk, signed, and the same again on a second run.

A run is given its files from the last to the first: what the last one says holds, and what another
says otherwise is noted. Files that contradict each other in who or what they are about are refused.
Across runs a file changes what it says and nothing else; a step that has moved on keeps its status,
and an empty value never erases one. No file is read here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import DataError, IntegrityError, transaction

from dicomscp import wl_files
from dicomscp.wl_files import BadDataSetError, DataSet
from dicomscp.wl_places import (
    CODE_COLUMNS,
    LEVELS,
    PROTOCOL_CODES,
    STATIONS,
    Level,
    Place,
    Values,
    place_of,
)
from dicomscp.wl_rows import Rows, look_up, wait_for_others, write
from dicomscp.wl_settling import Run, Settler
from worklist import values
from worklist.audit import trail
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
)

# Data sets that go into one transaction.
BATCH = 500


@dataclass
class Report:
    """What became of the data sets that were given."""

    data_sets: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    not_held: Counter[str] = field(default_factory=Counter)
    steps: set[Any] = field(default_factory=set)
    # Those of the steps that have moved on: what a file says of their status is old.
    moved_on: set[Any] = field(default_factory=set)
    created: dict[Level, set[Any]] = field(default_factory=dict)
    changed: dict[Level, set[Any]] = field(default_factory=dict)

    def copy(self) -> Report:
        return replace(
            self,
            bad=list(self.bad),
            notes=list(self.notes),
            not_held=Counter(self.not_held),
            steps=set(self.steps),
            moved_on=set(self.moved_on),
            created={level: set(keys) for level, keys in self.created.items()},
            changed={level: set(keys) for level, keys in self.changed.items()},
        )

    def count(self, level: Level, key: Any, *, is_new: bool) -> None:
        if is_new:
            self.created.setdefault(level, set()).add(key)
        elif key not in self.created.get(level, ()):
            self.changed.setdefault(level, set()).add(key)


class Importer:
    """One run over files: give it batches of data sets; `report` tells what became of them."""

    def __init__(self, *, by: trail.Actor, is_dry_run: bool = False) -> None:
        self.report = Report()
        self._by = by
        self._is_dry_run = is_dry_run
        self._run = Run()

    def add(self, batch: Sequence[DataSet]) -> None:
        """Put these data sets in, in one transaction; bad ones are reported and left out.

        When the database refuses them, each goes in by itself, and the bad one is found.
        """
        before = self._run.copy(), self.report.copy()
        try:
            self._add(batch)
        except (DataError, IntegrityError) as error:
            self._run, self.report = before
            if len(batch) > 1:
                for data_set in batch:
                    self.add((data_set,))
                return
            self.report.data_sets += 1
            (data_set,) = batch
            reason = str(error).strip().partition("\n")[0]
            self.report.bad.append((data_set.name, f"the database refuses it: {reason}"))

    def _add(self, batch: Sequence[DataSet]) -> None:
        placed: list[tuple[DataSet, list[Place]]] = []
        for data_set in batch:
            self.report.data_sets += 1
            try:
                if data_set.reason:
                    raise BadDataSetError(data_set.reason)
                not_held = Counter(data_set.not_held)
                places = [place_of(record, not_held) for record in data_set.records]
                placed.append((DataSet(data_set.name, data_set.records, not_held=not_held), places))
            except BadDataSetError as error:
                self.report.bad.append((data_set.name, str(error)))
        with nullcontext() if self._is_dry_run else transaction.atomic():
            if not self._is_dry_run:
                wait_for_others()
            rows = look_up(
                [place for _, places in placed for place in places],
                key_of=self._run.key_of,
                lock=not self._is_dry_run,
            )
            settler = Settler(self._run, rows)
            settler.name_requests()
            for data_set, places in placed:
                notes: list[str] = []
                try:
                    settler.settle(places, notes, data_set.not_held)
                except BadDataSetError as error:
                    self.report.bad.append((data_set.name, str(error)))
                    continue
                self.report.not_held.update(data_set.not_held)
                # What stands above several steps is noted once.
                self.report.notes += [(data_set.name, note) for note in dict.fromkeys(notes)]
                for place in places:
                    self._apply(place, rows, data_set.name)
            if not self._is_dry_run:
                write(rows, by=self._by)

    def _apply(self, place: Place, rows: Rows, source: str) -> None:
        uid, patient = place.study_uid, place.keys[Patient]
        request_key = place.keys[ImagingServiceRequest]
        self._run.patient_of.setdefault(uid, (patient, source))
        self._run.request_of.setdefault(uid, request_key)
        if place.adopts_issuer:
            self._run.without_issuer[place.patient] = patient
        if accession := place.said[ImagingServiceRequest].get("accession_number"):
            self._run.request_by_accession.setdefault((patient, accession), request_key)
        step_key = place.keys[ScheduledProcedureStep]
        self.report.steps.add(step_key)
        if place.outrun:
            self.report.moved_on.add(step_key)
            said_it = (ScheduledProcedureStep, step_key, "status")
            self._run.said.setdefault(said_it, (place.outrun, source))
        above: Any = None
        for level in LEVELS:
            key, said = place.keys[level], place.said[level]
            for name, value in said.items():
                if level is Patient and place.is_merged:
                    self._run.filled[key, name] = value
                elif value is not None:
                    self._run.said.setdefault((level, key, name), (value, source))
            if level is Patient:
                said = self._run.with_added(key, said)
            above = self._put(level, key, said, rows, above)

    def _put(self, level: Level, key: Any, said: Values, rows: Rows, above: Any) -> Any:
        """The row of this key, holding what is said; new or changed when that is so."""
        row: Any = rows.objects[level].get(key)
        is_new = row is None
        if is_new:
            row = level(**_PARENT[level](above))
            rows.objects[level][key] = row
            rows.new.setdefault(level, []).append(row)
            if key not in self.report.created.get(level, ()):
                self.report.count(level, key, is_new=True)
        is_changed = False
        for name, value in said.items():
            if name == STATIONS:
                is_changed |= rows.titles.get(key) != value
                rows.titles[key] = value
                self._make_stations(said, rows, modality=said.get("modality") or row.modality)
            elif name == PROTOCOL_CODES:
                is_changed |= rows.protocols.get(key) != value
                rows.protocols[key] = value
                for code in value:
                    self._make_code(code, rows)
            elif isinstance(value, tuple):
                code = self._make_code(value, rows)
                if getattr(row, name) is None or getattr(row, name) != code:
                    setattr(row, name, code)
                    is_changed = True
            elif getattr(row, name) != value:
                setattr(row, name, value)
                is_changed = True
        if is_changed and not is_new and row.pk is not None:
            rows.changed.setdefault(level, {})[row.pk] = row
            self.report.count(level, key, is_new=False)
        return row

    def _make_code(self, values_: wl_files.Code, rows: Rows) -> Code:
        if values_ not in rows.codes:
            code = Code(**dict(zip(CODE_COLUMNS, values_, strict=True)))
            rows.codes[values_] = code
            rows.new.setdefault(Code, []).append(code)
            self.report.count(Code, values_, is_new=True)
        return rows.codes[values_]

    def _make_stations(self, said: Values, rows: Rows, *, modality: str) -> None:
        titles, names = said[STATIONS], values.split(said.get("station_names", ""))
        for position, title in enumerate(titles):
            if title not in rows.stations:
                station = Station(
                    ae_title=title,
                    name=names[position] if len(names) == len(titles) else "",
                    modality=modality,
                    location=said.get("location", ""),
                )
                rows.stations[title] = station
                rows.new.setdefault(Station, []).append(station)
                self.report.count(Station, title, is_new=True)


_PARENT: dict[Level, Any] = {
    Patient: lambda above: {},
    ImagingServiceRequest: lambda above: {"patient": above},
    RequestedProcedure: lambda above: {"request": above},
    ScheduledProcedureStep: lambda above: {"requested_procedure": above},
}
