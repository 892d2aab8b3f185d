"""Records of worklist files become rows: in bulk, signed, and the same again on a second run.

A run is given its files from the last to the first: what the last one says holds, and what another
says otherwise is noted. Files that contradict each other in who or what they are about are refused.
Across runs a file changes what is stored. An empty value never erases one. No file is read here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import DataError, IntegrityError, connection, models, transaction

from dicomscp import wl_files
from dicomscp.wl_files import BadDataSetError, DataSet, Record, label
from worklist import attributes, values
from worklist.attributes import Attribute
from worklist.audit import trail
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepProtocolCode,
    StepStation,
)

# Data sets that go into one transaction.
BATCH = 500

# From the top down, the order in which rows are written; the path is that of the table's columns.
_PATH_OF: dict[type[models.Model], str] = {
    Patient: "requested_procedure__request__patient__",
    ImagingServiceRequest: "requested_procedure__request__",
    RequestedProcedure: "requested_procedure__",
    ScheduledProcedureStep: "",
}
_LEVELS = tuple(_PATH_OF)
_STATIONS, _PROTOCOL_CODES = "stations", "protocol_codes"
_ENDS = ("end_date", "end_time")
# What says who or what a row is: files of one run that differ in it are not about the same.
_IDENTIFYING: dict[type[models.Model], tuple[str, ...]] = {
    Patient: ("name", "birth_date"),
    ImagingServiceRequest: ("accession_number",),
}
# Held by an import while it looks rows up and writes what is missing.
_LOCK = 0x776C5F696D70
_CODE_COLUMNS = tuple(
    item.column for item in next(a for a in attributes.walk() if a.column == _PROTOCOL_CODES).items
)

Level = type[models.Model]
Values = dict[str, Any]
PatientKey = tuple[str, str]


@dataclass(frozen=True)
class _Column:
    """Where an attribute is kept: the model, the field's name, and its rules."""

    attribute: Attribute
    level: Level
    name: str
    max_length: int | None = None
    choices: tuple[Any, ...] = ()

    def check(self, value: Any) -> None:
        if self.choices and value not in self.choices:
            terms = ", ".join(str(choice) for choice in self.choices)
            raise _bad(self.attribute, f"{values.spell(value)!r} is not one of {terms}")
        if self.max_length and isinstance(value, str) and len(value) > self.max_length:
            raise _bad(self.attribute, f"{len(value)} characters; the limit is {self.max_length}")


def _bad(attribute: Attribute, rule: str) -> BadDataSetError:
    return BadDataSetError(f"{label(attribute)}: {rule}")


def _columns() -> dict[Attribute, _Column]:
    found = {}
    for attribute in attributes.walk():
        is_code_item = attribute.parent is not None and bool(attribute.parent.column)
        if not attribute.column or is_code_item:
            continue
        level = next(one for one in _LEVELS if attribute.column.startswith(_PATH_OF[one]))
        name = attribute.column.removeprefix(_PATH_OF[level]).split("__")[0]
        column: Any = level._meta.get_field(name)
        choices = tuple(value for value, _ in column.choices or ())
        found[attribute] = _Column(
            attribute, level, name, getattr(column, "max_length", None), choices
        )
    return found


_COLUMN = _columns()
_ATTRIBUTE = {(column.level, column.name): attribute for attribute, column in _COLUMN.items()}


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


# --- one record as columns ------------------------------------------------------------------------


@dataclass
class _Place:
    """One record: what it says of each of the four, and which four they are."""

    said: dict[Level, Values]
    keys: dict[Level, Any] = field(default_factory=dict)
    adopts_issuer: bool = False

    @property
    def study_uid(self) -> str:
        return str(self.said[RequestedProcedure]["study_instance_uid"])

    @property
    def patient(self) -> PatientKey:
        patient = self.said[Patient]
        return patient["patient_id"], patient.get("issuer", "")


def _place(record: Record, not_held: Counter[str]) -> _Place:
    said: dict[Level, Values] = {level: {} for level in _LEVELS}
    for attribute, value in record.values.items():
        column = _COLUMN[attribute]
        if isinstance(value, tuple) and column.name != _STATIONS:
            value = values.join(value)
        column.check(value)
        said[column.level][column.name] = value
    for attribute, codes in record.codes.items():
        column = _COLUMN[attribute]
        if column.name == _PROTOCOL_CODES:
            said[column.level][column.name] = codes
        else:
            said[column.level][column.name] = codes[0]
            if len(codes) > 1:
                not_held[f"{label(attribute)}: item"] += len(codes) - 1
    _identify(said)
    return _Place(said)


def _identify(said: Mapping[Level, Values]) -> None:
    """Make the identifiers that a file lacks, out of what names its content, the same each time."""
    patient, request = said[Patient], said[ImagingServiceRequest]
    procedure, step = said[RequestedProcedure], said[ScheduledProcedureStep]
    what = [
        str(step.get(name, ""))
        for name in ("modality", _STATIONS, "start_date", "start_time", "description")
    ] + [str(step.get(_PROTOCOL_CODES, ""))]
    if "study_instance_uid" not in procedure:
        identity = [
            patient["patient_id"],
            patient.get("issuer", ""),
            request.get("accession_number", ""),
            procedure.get("procedure_id", ""),
        ]
        if "procedure_id" not in procedure:
            identity += [procedure.get("description", ""), str(procedure.get("code", ""))]
            if "accession_number" not in request:
                # Nothing names the procedure: it is as good as its step.
                identity += [step["step_id"]] if "step_id" in step else what
        procedure["study_instance_uid"] = wl_files.made_uid("study", *identity)
    uid = procedure["study_instance_uid"]
    procedure.setdefault("procedure_id", wl_files.made_id("P", uid))
    step.setdefault("step_id", wl_files.made_id("S", uid, *what))


# --- the run --------------------------------------------------------------------------------------


@dataclass
class _Rows:
    """The rows that a batch touches, stored and new, by key; and what is to be written."""

    objects: dict[Level, dict[Any, Any]] = field(
        default_factory=lambda: {level: {} for level in _LEVELS}
    )
    codes: dict[wl_files.Code, Code] = field(default_factory=dict)
    stations: dict[str, Station] = field(default_factory=dict)
    new: dict[Level, list[Any]] = field(default_factory=dict)
    changed: dict[Level, dict[int, Any]] = field(default_factory=dict)
    # The lists of steps by key: AE titles, and codes.
    titles: dict[Any, tuple[str, ...]] = field(default_factory=dict)
    protocols: dict[Any, tuple[wl_files.Code, ...]] = field(default_factory=dict)
    requests: dict[int, ImagingServiceRequest] = field(default_factory=dict)
    # The key of a stored study's request.
    request_of: dict[str, Any] = field(default_factory=dict)


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

    def copy(self) -> _Run:
        return _Run(
            dict(self.said),
            dict(self.patient_of),
            dict(self.request_of),
            dict(self.request_by_accession),
            dict(self.without_issuer),
        )

    def key_of(self, patient: PatientKey) -> PatientKey:
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
        placed: list[tuple[DataSet, list[_Place]]] = []
        for data_set in batch:
            self.report.data_sets += 1
            try:
                if data_set.reason:
                    raise BadDataSetError(data_set.reason)
                not_held = Counter(data_set.not_held)
                places = [_place(record, not_held) for record in data_set.records]
                placed.append((DataSet(data_set.name, data_set.records, not_held=not_held), places))
            except BadDataSetError as error:
                self.report.bad.append((data_set.name, str(error)))
        with nullcontext() if self._is_dry_run else transaction.atomic():
            if not self._is_dry_run:
                _wait_for_others()
            rows = _look_up([place for _, places in placed for place in places], self._run)
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
                _write(rows, by=self._by)

    # Does the data set agree with the run's others and with what is stored? What does not hold is
    # taken out of its places and noted.

    def _settle(
        self, places: Sequence[_Place], rows: _Rows, notes: list[str], not_held: Counter[str]
    ) -> None:
        steps = set()
        for place in places:
            self._settle_patient(place, rows, notes)
            place.keys[RequestedProcedure] = place.study_uid
            place.keys[ImagingServiceRequest] = self._settle_request(place, rows)
            step_id = place.said[ScheduledProcedureStep]["step_id"]
            place.keys[ScheduledProcedureStep] = (place.study_uid, step_id)
            if step_id in steps:
                raise _bad(
                    _ATTRIBUTE[ScheduledProcedureStep, "step_id"],
                    f"{step_id!r} stands in two items of this file",
                )
            steps.add(step_id)
            for level in _LEVELS:
                self._settle_values(level, place.keys[level], place.said[level], notes)
            self._settle_end(place, rows, not_held)

    def _settle_values(self, level: Level, key: Any, said: Values, notes: list[str]) -> None:
        for name, value in list(said.items()):
            held, source = self._run.said.get((level, key, name), (value, ""))
            if held == value:
                continue
            attribute = _ATTRIBUTE[level, name]
            if name in _IDENTIFYING.get(level, ()) and not (
                attribute.vr == "PN" and _is_same_person(value, held)
            ):
                raise _contradiction(attribute, value, held, source)
            del said[name]
            notes.append(
                f"{label(attribute)}: {_spell(value)!r} is not kept; {source} says {_spell(held)!r}"
            )

    def _settle_patient(self, place: _Place, rows: _Rows, notes: list[str]) -> None:
        uid, key = place.study_uid, self._run.key_of(place.patient)
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
                    raise _bad(
                        _ATTRIBUTE[Patient, name],
                        f"{own!r}, but study {uid} is stored under {other!r}",
                    )
                raise _contradiction(_ATTRIBUTE[Patient, name], own, other, source)
        place.keys[Patient] = key

    def _adopt_issuer(
        self, place: _Place, known: PatientKey, rows: _Rows, notes: list[str]
    ) -> PatientKey:
        """A patient who was known without an issuer gets the file's, unless another has it."""
        own = place.patient
        is_taken = own in rows.objects[Patient] or (Patient, own, "patient_id") in self._run.said
        if is_taken:
            issuer = label(_ATTRIBUTE[Patient, "issuer"])
            notes.append(f"{issuer}: {own[1]!r} is not kept; another patient {own[0]!r} has it")
            del place.said[Patient]["issuer"]
        else:
            place.adopts_issuer = True
        return known

    def _settle_request(self, place: _Place, rows: _Rows) -> Any:
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
        attribute = _ATTRIBUTE[ImagingServiceRequest, "accession_number"]
        if named is not None and named != key:
            raise _bad(
                attribute, f"{accession!r} names another request of the patient than study {uid}'s"
            )
        if stored and request is not None and request.procedures.count() > 1:
            raise _bad(
                attribute,
                f"{accession!r}, but study {uid} is stored under {stored!r} with other procedures",
            )
        return key

    def _named_request(self, patient: PatientKey, accession: str, rows: _Rows) -> Any:
        """The key of the patient's request with this accession number, None when there is none."""
        named = (patient, accession)
        key = self._run.request_by_accession.get(named, ("accession", *named))
        is_known = (
            key in rows.objects[ImagingServiceRequest] or named in self._run.request_by_accession
        )
        return key if is_known else None

    def _name_requests(self, rows: _Rows) -> None:
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

    def _settle_end(self, place: _Place, rows: _Rows, not_held: Counter[str]) -> None:
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
                not_held[
                    f"{label(_ATTRIBUTE[ScheduledProcedureStep, name])}: before the start"
                ] += 1
        if is_before_the_start():
            # The one that was known is that of another day: the step has moved past it.
            said.update(dict.fromkeys(_ENDS))

    # It goes in.

    def _apply(self, place: _Place, rows: _Rows, source: str) -> None:
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
        for level in _LEVELS:
            key, said = place.keys[level], place.said[level]
            for name, value in said.items():
                if value is not None:
                    self._run.said.setdefault((level, key, name), (value, source))
            above = self._put(level, key, said, rows, above)

    def _put(self, level: Level, key: Any, said: Values, rows: _Rows, above: Any) -> Any:
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
            if name == _STATIONS:
                is_changed |= rows.titles.get(key) != value
                rows.titles[key] = value
                self._make_stations(said, rows, modality=said.get("modality") or row.modality)
            elif name == _PROTOCOL_CODES:
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

    def _make_code(self, values_: wl_files.Code, rows: _Rows) -> Code:
        if values_ not in rows.codes:
            code = Code(**dict(zip(_CODE_COLUMNS, values_, strict=True)))
            rows.codes[values_] = code
            rows.new.setdefault(Code, []).append(code)
            self.report.count(Code, values_, is_new=True)
        return rows.codes[values_]

    def _make_stations(self, said: Values, rows: _Rows, *, modality: str) -> None:
        titles, names = said[_STATIONS], values.split(said.get("station_names", ""))
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
    return _bad(attribute, f"{_spell(own)!r} contradicts {_spell(other)!r} in {source}")


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


# --- the database ---------------------------------------------------------------------------------


def _wait_for_others() -> None:
    """Wait for the other imports that are writing: each sees all that the last one has written.

    On SQLite a transaction that may write is alone from its start.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _look_up(places: Sequence[_Place], run: _Run) -> _Rows:
    """The stored rows that these records name, each kind by one query."""
    rows = _Rows()
    uids = {place.study_uid for place in places}
    patients = rows.objects[Patient]

    def keep_request(request: ImagingServiceRequest) -> ImagingServiceRequest:
        """One object a row, however many ways lead to it."""
        patient = run.key_of((request.patient.patient_id, request.patient.issuer))
        request.patient = patients.setdefault(patient, request.patient)
        return rows.requests.setdefault(request.pk, request)

    for patient in Patient.objects.filter(
        patient_id__in={place.said[Patient]["patient_id"] for place in places}
    ):
        patients[run.key_of((patient.patient_id, patient.issuer))] = patient
    for procedure in RequestedProcedure.objects.filter(study_instance_uid__in=uids).select_related(
        "request__patient", "request__institution_code", "code", "reason_code"
    ):
        procedure.request = keep_request(procedure.request)
        rows.objects[RequestedProcedure][procedure.study_instance_uid] = procedure
    accessions = {
        place.said[ImagingServiceRequest].get("accession_number", "") for place in places
    } - {""}
    for request in ImagingServiceRequest.objects.filter(
        accession_number__in=accessions,
        patient__patient_id__in={place.said[Patient]["patient_id"] for place in places},
    ).select_related("patient", "institution_code"):
        keep_request(request)
    _look_up_steps(rows, uids)
    _look_up_codes(rows, places)
    titles = {title for place in places for title in place.said[ScheduledProcedureStep][_STATIONS]}
    rows.stations = {
        station.ae_title: station for station in Station.objects.filter(ae_title__in=titles)
    }
    return rows


def _look_up_steps(rows: _Rows, uids: Iterable[str]) -> None:
    procedures = rows.objects[RequestedProcedure]
    keys: dict[int, Any] = {}
    by_pk = {procedure.pk: uid for uid, procedure in procedures.items()}
    if not by_pk:
        return
    for step in ScheduledProcedureStep.objects.filter(requested_procedure__in=by_pk):
        uid = by_pk[step.requested_procedure_id]
        step.requested_procedure = procedures[uid]
        keys[step.pk] = (uid, step.step_id)
        rows.objects[ScheduledProcedureStep][keys[step.pk]] = step
    in_procedures = {"step__requested_procedure__in": by_pk}
    titles: Iterable[Any] = (
        StepStation.objects.filter(**in_procedures)
        .order_by("step", "position")
        .values_list("step", "station__ae_title")
    )
    for step_pk, title in titles:
        if step_pk in keys:
            rows.titles[keys[step_pk]] = (*rows.titles.get(keys[step_pk], ()), title)
    codes: Iterable[Any] = (
        StepProtocolCode.objects.filter(**in_procedures)
        .order_by("step", "position")
        .values_list("step", *(f"code__{name}" for name in _CODE_COLUMNS))
    )
    for step_pk, *code in codes:
        if step_pk in keys:
            known = rows.protocols.get(keys[step_pk], ())
            rows.protocols[keys[step_pk]] = (*known, tuple(code))


def _look_up_codes(rows: _Rows, places: Sequence[_Place]) -> None:
    wanted: set[wl_files.Code] = set()
    for place in places:
        for said in place.said.values():
            for name, value in said.items():
                if name == _PROTOCOL_CODES:
                    wanted.update(value)
                elif name != _STATIONS and isinstance(value, tuple):
                    wanted.add(value)
    if not wanted:
        return
    condition = models.Q()
    for position, name in enumerate(_CODE_COLUMNS):
        if name in ("value", "long_value", "urn_value"):
            given = {code[position] for code in wanted} - {""}
            if given:
                condition |= models.Q(**{f"{name}__in": given})
    for code in Code.objects.filter(condition):
        key = tuple(str(getattr(code, name)) for name in _CODE_COLUMNS)
        if key in wanted:
            rows.codes[key] = code


def _write(rows: _Rows, *, by: trail.Actor) -> None:
    for model in (Code, Station):
        trail.insert_many(rows.new.get(model, []), by=by)
    step_keys = {id(step): key for key, step in rows.objects[ScheduledProcedureStep].items()}

    def lists(step: Any) -> dict[str, list[models.Model]]:
        key = step_keys[id(step)]
        return {
            _STATIONS: [rows.stations[title] for title in rows.titles.get(key, ())],
            _PROTOCOL_CODES: [rows.codes[code] for code in rows.protocols.get(key, ())],
        }

    for level in _LEVELS:
        new, changed = rows.new.get(level, []), rows.changed.get(level, {})
        if level is ScheduledProcedureStep:
            related = [lists(step) for step in new]
            trail.insert_many(
                new, by=by, lists={name: [one[name] for one in related] for name in _LISTS}
            )
        else:
            trail.insert_many(new, by=by)
        for row in changed.values():
            is_step = level is ScheduledProcedureStep
            trail.save(row, by=by, lists=lists(row) if is_step else None)


_LISTS = (_STATIONS, _PROTOCOL_CODES)
