"""Records of worklist files become rows: in bulk, signed, and the same again on a second run.

A run is given its files from the last to the first: what the last one says holds, and what another
says otherwise is noted. Files that contradict each other in who or what they are about are refused.
Across runs a file changes what is stored. An empty value never erases one. No file is read here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import DataError, IntegrityError, models, transaction

from dicomscp import wl_files
from dicomscp.wl_files import BadDataSetError, DataSet, label
from dicomscp.wl_places import (
    ATTRIBUTE,
    CODE_COLUMNS,
    LEVELS,
    PROTOCOL_CODES,
    STATIONS,
    Level,
    PatientKey,
    Place,
    Values,
    bad,
    place_of,
)
from dicomscp.wl_rows import Rows, look_up, survivors, wait_for_others, write
from worklist import values
from worklist.attributes import Attribute
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

_ENDS = ("end_date", "end_time")
# What says who or what a row is: files of one run that differ in it are not about the same.
_IDENTIFYING: dict[type[models.Model], tuple[str, ...]] = {
    Patient: ("name", "birth_date"),
    ImagingServiceRequest: ("accession_number",),
}


@dataclass
class Report:
    """What became of the data sets that were given."""

    data_sets: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    not_held: Counter[str] = field(default_factory=Counter)
    steps: set[Any] = field(default_factory=set)
    created: dict[Level, set[Any]] = field(default_factory=dict)
    changed: dict[Level, set[Any]] = field(default_factory=dict)

    def copy(self) -> Report:
        return replace(
            self,
            bad=list(self.bad),
            notes=list(self.notes),
            not_held=Counter(self.not_held),
            steps=set(self.steps),
            created={level: set(keys) for level, keys in self.created.items()},
            changed={level: set(keys) for level, keys in self.changed.items()},
        )

    def count(self, level: Level, key: Any, *, is_new: bool) -> None:
        if is_new:
            self.created.setdefault(level, set()).add(key)
        elif key not in self.created.get(level, ()):
            self.changed.setdefault(level, set()).add(key)


@dataclass
class _Run:
    """What the files of a run have said so far."""

    # By model, key and column: the value, and the file that said it.
    said: dict[tuple[Level, Any, str], tuple[Any, str]] = field(default_factory=dict)
    patient_of: dict[str, tuple[PatientKey, str]] = field(default_factory=dict)
    request_of: dict[str, Any] = field(default_factory=dict)
    request_by_accession: dict[tuple[PatientKey, str], Any] = field(default_factory=dict)
    # A patient whose issuer this run has brought goes on under the key without one.
    without_issuer: dict[PatientKey, PatientKey] = field(default_factory=dict)
    # Of this batch: where the keys of patients who were merged into another lead to.
    merged: dict[PatientKey, PatientKey] = field(default_factory=dict)

    def copy(self) -> _Run:
        return _Run(
            dict(self.said),
            dict(self.patient_of),
            dict(self.request_of),
            dict(self.request_by_accession),
            dict(self.without_issuer),
            dict(self.merged),
        )

    def key_of(self, patient: PatientKey) -> PatientKey:
        patient = self.merged.get(patient, patient)
        return self.without_issuer.get(patient, patient)


class Importer:
    """One run over files: give it batches of data sets; `report` tells what became of them."""

    def __init__(self, *, by: trail.Actor, is_dry_run: bool = False) -> None:
        self.report = Report()
        self._by = by
        self._is_dry_run = is_dry_run
        self._run = _Run()

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
            everything = [place for _, places in placed for place in places]
            self._run.merged = survivors(everything, holds=not self._is_dry_run)
            rows = look_up(everything, key_of=self._run.key_of, merged=self._run.merged)
            self._name_requests(rows)
            for data_set, places in placed:
                notes: list[str] = []
                try:
                    self._settle(places, rows, notes, data_set.not_held)
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

    # Does the data set agree with the run's others and with what is stored? What does not hold is
    # taken out of its places and noted.

    def _settle(
        self, places: Sequence[Place], rows: Rows, notes: list[str], not_held: Counter[str]
    ) -> None:
        steps = set()
        for place in places:
            self._settle_patient(place, rows, notes)
            place.keys[RequestedProcedure] = place.study_uid
            place.keys[ImagingServiceRequest] = self._settle_request(place, rows)
            step_id = place.said[ScheduledProcedureStep]["step_id"]
            place.keys[ScheduledProcedureStep] = (place.study_uid, step_id)
            if step_id in steps:
                raise bad(
                    ATTRIBUTE[ScheduledProcedureStep, "step_id"],
                    f"{step_id!r} stands in two items of this file",
                )
            steps.add(step_id)
            for level in LEVELS:
                self._settle_values(level, place.keys[level], place.said[level], notes)
            self._settle_end(place, rows, not_held)

    def _settle_values(self, level: Level, key: Any, said: Values, notes: list[str]) -> None:
        for name, value in list(said.items()):
            held, source = self._run.said.get((level, key, name), (value, ""))
            if held == value:
                continue
            attribute = ATTRIBUTE[level, name]
            if name in _IDENTIFYING.get(level, ()) and not (
                attribute.vr == "PN" and _is_same_person(value, held)
            ):
                raise _contradiction(attribute, value, held, source)
            del said[name]
            notes.append(
                f"{label(attribute)}: {_spell(value)!r} is not kept; {source} says {_spell(held)!r}"
            )

    def _settle_patient(self, place: Place, rows: Rows, notes: list[str]) -> None:
        uid, key = place.study_uid, self._run.key_of(place.patient)
        if place.patient in self._run.merged:
            attribute = ATTRIBUTE[Patient, "patient_id"]
            notes.append(
                f"{label(attribute)}: {place.patient[0]!r} was merged into {key[0]!r}, who has the "
                "entry now; what the file says of the patient is not kept"
            )
            place.said[Patient] = {}
        source = ""
        stored = rows.objects[RequestedProcedure].get(uid)
        if uid in self._run.patient_of:
            known, source = self._run.patient_of[uid]
        elif stored:
            patient = stored.request.patient
            known = self._run.key_of((patient.patient_id, patient.issuer))
        else:
            known = key
        if key[0] == known[0] and not key[1]:
            key = known  # no issuer contradicts none
            place.said[Patient].pop("issuer", None)
        elif key[0] == known[0] and not known[1]:
            key = self._adopt_issuer(place, known, rows, notes)
        for name, own, other in zip(("patient_id", "issuer"), key, known, strict=True):
            if own != other:
                if not source:
                    raise bad(
                        ATTRIBUTE[Patient, name],
                        f"{own!r}, but study {uid} is stored under {other!r}",
                    )
                raise _contradiction(ATTRIBUTE[Patient, name], own, other, source)
        place.keys[Patient] = key

    def _adopt_issuer(
        self, place: Place, known: PatientKey, rows: Rows, notes: list[str]
    ) -> PatientKey:
        """A patient who was known without an issuer gets the file's, unless another has it."""
        own = place.patient
        is_taken = own in rows.objects[Patient] or (Patient, own, "patient_id") in self._run.said
        if is_taken:
            issuer = label(ATTRIBUTE[Patient, "issuer"])
            notes.append(f"{issuer}: {own[1]!r} is not kept; another patient {own[0]!r} has it")
            del place.said[Patient]["issuer"]
        else:
            place.adopts_issuer = True
        return known

    def _settle_request(self, place: Place, rows: Rows) -> Any:
        uid, patient = place.study_uid, place.keys[Patient]
        accession = place.said[ImagingServiceRequest].get("accession_number", "")
        named = self._named_request(patient, accession, rows) if accession else None
        key = self._run.request_of.get(uid) or rows.request_of.get(uid)
        if key is None:
            return named or (("accession", patient, accession) if accession else ("study", uid))
        request = rows.objects[ImagingServiceRequest].get(key)
        stored = request.accession_number if request is not None else ""
        is_said = (ImagingServiceRequest, key, "accession_number") in self._run.said
        if is_said or not accession or accession == stored:
            return key  # what this run said is compared with all the rest
        attribute = ATTRIBUTE[ImagingServiceRequest, "accession_number"]
        if named is not None and named != key:
            raise bad(
                attribute, f"{accession!r} names another request of the patient than study {uid}'s"
            )
        if stored and request is not None and request.procedures.count() > 1:
            raise bad(
                attribute,
                f"{accession!r}, but study {uid} is stored under {stored!r} with other procedures",
            )
        return key

    def _named_request(self, patient: PatientKey, accession: str, rows: Rows) -> Any:
        """The key of the patient's request with this accession number, None when there is none."""
        named = (patient, accession)
        key = self._run.request_by_accession.get(named, ("accession", *named))
        is_known = (
            key in rows.objects[ImagingServiceRequest] or named in self._run.request_by_accession
        )
        return key if is_known else None

    def _name_requests(self, rows: Rows) -> None:
        """Give each stored request the key by which this run knows it."""
        requests = rows.objects[ImagingServiceRequest]
        for request in rows.requests.values():
            requests[self._key_of(request)] = request
        for uid, procedure in rows.objects[RequestedProcedure].items():
            if uid in self._run.request_of:
                requests[self._run.request_of[uid]] = procedure.request
            else:
                rows.request_of[uid] = self._key_of(procedure.request)

    def _key_of(self, request: ImagingServiceRequest) -> Any:
        patient = self._run.key_of((request.patient.patient_id, request.patient.issuer))
        if request.accession_number:
            named = (patient, request.accession_number)
            return self._run.request_by_accession.get(named, ("accession", *named))
        return ("row", request.pk)

    def _settle_end(self, place: Place, rows: Rows, not_held: Counter[str]) -> None:
        """An end before the start is not kept: both its attributes are of type 3."""
        key, said = place.keys[ScheduledProcedureStep], place.said[ScheduledProcedureStep]
        stored = rows.objects[ScheduledProcedureStep].get(key)

        def value(name: str) -> Any:
            if name in said:
                return said[name]
            before = self._run.said.get((ScheduledProcedureStep, key, name))
            return before[0] if before else getattr(stored, name, None)

        def is_before_the_start() -> bool:
            end, end_time = value("end_date"), value("end_time")
            start, start_time = value("start_date"), value("start_time")
            if end is None or end > start:
                return False
            return end < start or (end_time is not None and end_time < start_time)

        if not is_before_the_start():
            return
        for name in _ENDS:
            if said.pop(name, None) is not None:
                not_held[f"{label(ATTRIBUTE[ScheduledProcedureStep, name])}: before the start"] += 1
        if is_before_the_start():
            # The one that was known is that of another day: the step has moved past it.
            said.update(dict.fromkeys(_ENDS))

    # It goes in.

    def _apply(self, place: Place, rows: Rows, source: str) -> None:
        uid, patient = place.study_uid, place.keys[Patient]
        request_key = place.keys[ImagingServiceRequest]
        self._run.patient_of.setdefault(uid, (patient, source))
        self._run.request_of.setdefault(uid, request_key)
        if place.adopts_issuer:
            self._run.without_issuer[place.patient] = patient
        if accession := place.said[ImagingServiceRequest].get("accession_number"):
            self._run.request_by_accession.setdefault((patient, accession), request_key)
        self.report.steps.add(place.keys[ScheduledProcedureStep])
        above: Any = None
        for level in LEVELS:
            key, said = place.keys[level], place.said[level]
            for name, value in said.items():
                if value is not None:
                    self._run.said.setdefault((level, key, name), (value, source))
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


def _contradiction(attribute: Attribute, own: Any, other: Any, source: str) -> BadDataSetError:
    return bad(attribute, f"{_spell(own)!r} contradicts {_spell(other)!r} in {source}")


def _is_same_person(name: str, other: str) -> bool:
    """Whether two names differ in case or in which component groups they have at most."""
    groups = zip(
        values.fold_name(name).split("="), values.fold_name(other).split("="), strict=False
    )
    pairs = [(one, two) for one, two in groups if one and two]
    return bool(pairs) and all(one == two for one, two in pairs)


def _spell(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_spell(one) for one in value if one)
    return values.spell(value) if isinstance(value, dt.date | dt.time | int) else str(value)
