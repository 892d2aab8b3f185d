"""Records of worklist files become rows: in bulk, signed, and the same again on a second run.

Files that share a patient, request or procedure must not contradict each other within a run; across
runs a file changes what is stored. An empty value never erases one. No file is read here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction

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
    not_held: Counter[str] = field(default_factory=Counter)
    steps: set[Any] = field(default_factory=set)
    created: dict[Level, set[Any]] = field(default_factory=dict)
    changed: dict[Level, set[Any]] = field(default_factory=dict)

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


class Importer:
    """One run over files: give it batches of data sets; `report` tells what became of them."""

    def __init__(self, *, by: trail.Actor, is_dry_run: bool = False) -> None:
        self.report = Report()
        self._by = by
        self._is_dry_run = is_dry_run
        # What the files of this run have said, with the file that said it first.
        self._said: dict[tuple[Level, Any], dict[str, tuple[Any, str]]] = {}
        self._patient_of: dict[str, tuple[PatientKey, str]] = {}
        self._request_of: dict[str, Any] = {}
        self._request_by_accession: dict[tuple[PatientKey, str], Any] = {}

    def add(self, batch: Sequence[DataSet]) -> None:
        """Put these data sets in, in one transaction; bad ones are reported and left out."""
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
            rows = _look_up([place for _, places in placed for place in places])
            self._name_requests(rows)
            for data_set, places in placed:
                try:
                    self._settle(places, rows, data_set.name)
                except BadDataSetError as error:
                    self.report.bad.append((data_set.name, str(error)))
                    continue
                self.report.not_held.update(data_set.not_held)
                for place in places:
                    self._apply(place, rows, data_set.name)
            if not self._is_dry_run:
                _write(rows, by=self._by)

    # Does the data set agree with the run's others and with what is stored? Changes nothing.

    def _settle(self, places: Sequence[_Place], rows: _Rows, source: str) -> None:
        steps = set()
        for place in places:
            self._settle_patient(place, rows)
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
                known = self._said.get((level, place.keys[level]), {})
                for name, value in place.said[level].items():
                    if name in known and known[name][0] != value:
                        raise _contradiction(
                            _ATTRIBUTE[level, name], value, known[name][0], known[name][1]
                        )
            self._check_end(place, rows)

    def _settle_patient(self, place: _Place, rows: _Rows) -> None:
        uid, key = place.study_uid, place.patient
        source = ""
        stored = rows.objects[RequestedProcedure].get(uid)
        if uid in self._patient_of:
            known, source = self._patient_of[uid]
        elif stored:
            known = (stored.request.patient.patient_id, stored.request.patient.issuer)
        else:
            known = key
        if key[0] == known[0] and not key[1]:
            key = known  # no issuer contradicts none
        for name, own, other in zip(("patient_id", "issuer"), key, known, strict=True):
            if own != other:
                if not source:
                    raise _bad(
                        _ATTRIBUTE[Patient, name],
                        f"{own!r}, but study {uid} is stored under {other!r}",
                    )
                raise _contradiction(_ATTRIBUTE[Patient, name], own, other, source)
        place.keys[Patient] = key
        place.said[Patient]["issuer"] = key[1]

    def _settle_request(self, place: _Place, rows: _Rows) -> Any:
        uid, patient = place.study_uid, place.keys[Patient]
        accession = place.said[ImagingServiceRequest].get("accession_number", "")
        named = self._named_request(patient, accession, rows) if accession else None
        key = self._request_of.get(uid) or rows.request_of.get(uid)
        if key is None:
            return named or (("accession", patient, accession) if accession else ("study", uid))
        request = rows.objects[ImagingServiceRequest].get(key)
        stored = request.accession_number if request is not None else ""
        said = self._said.get((ImagingServiceRequest, key), {}).get("accession_number")
        if said is not None or not accession or accession == stored:
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
        key = self._request_by_accession.get(named, ("accession", *named))
        is_known = key in rows.objects[ImagingServiceRequest] or named in self._request_by_accession
        return key if is_known else None

    def _name_requests(self, rows: _Rows) -> None:
        """Give each stored request the key by which this run knows it."""
        requests = rows.objects[ImagingServiceRequest]
        for request in rows.requests.values():
            requests[self._key_of(request)] = request
        for uid, procedure in rows.objects[RequestedProcedure].items():
            if uid in self._request_of:
                requests[self._request_of[uid]] = procedure.request
            else:
                rows.request_of[uid] = self._key_of(procedure.request)

    def _key_of(self, request: ImagingServiceRequest) -> Any:
        patient = (request.patient.patient_id, request.patient.issuer)
        if request.accession_number:
            named = (patient, request.accession_number)
            return self._request_by_accession.get(named, ("accession", *named))
        return ("row", request.pk)

    def _check_end(self, place: _Place, rows: _Rows) -> None:
        said = place.said[ScheduledProcedureStep]
        stored = rows.objects[ScheduledProcedureStep].get(place.keys[ScheduledProcedureStep])

        def value(name: str) -> Any:
            return said.get(name) or getattr(stored, name, None)

        end = value("end_date")
        if end is None:
            return
        start, start_time, end_time = value("start_date"), value("start_time"), value("end_time")
        if end < start:
            raise _bad(
                _ATTRIBUTE[ScheduledProcedureStep, "end_date"],
                f"{values.spell(end)} is before the start on {values.spell(start)}",
            )
        if end == start and end_time is not None and end_time < start_time:
            raise _bad(
                _ATTRIBUTE[ScheduledProcedureStep, "end_time"],
                f"{values.spell(end_time)} is before the start at {values.spell(start_time)}",
            )

    # It goes in.

    def _apply(self, place: _Place, rows: _Rows, source: str) -> None:
        uid, patient = place.study_uid, place.keys[Patient]
        request_key = place.keys[ImagingServiceRequest]
        self._patient_of.setdefault(uid, (patient, source))
        self._request_of.setdefault(uid, request_key)
        if accession := place.said[ImagingServiceRequest].get("accession_number"):
            self._request_by_accession.setdefault((patient, accession), request_key)
        self.report.steps.add(place.keys[ScheduledProcedureStep])
        above: Any = None
        for level in _LEVELS:
            key, said = place.keys[level], place.said[level]
            known = self._said.setdefault((level, key), {})
            for name, value in said.items():
                known.setdefault(name, (value, source))
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
                self._make_stations(said, rows)
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

    def _make_stations(self, said: Values, rows: _Rows) -> None:
        titles, names = said[_STATIONS], values.split(said.get("station_names", ""))
        for position, title in enumerate(titles):
            if title not in rows.stations:
                station = Station(
                    ae_title=title,
                    name=names[position] if len(names) == len(titles) else "",
                    modality=said["modality"],
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


def _spell(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_spell(one) for one in value if one)
    return values.spell(value) if isinstance(value, dt.date | dt.time | int) else str(value)


# --- the database ---------------------------------------------------------------------------------


def _look_up(places: Sequence[_Place]) -> _Rows:
    """The stored rows that these records name, each kind by one query."""
    rows = _Rows()
    uids = {place.study_uid for place in places}
    patients = rows.objects[Patient]

    def keep_request(request: ImagingServiceRequest) -> ImagingServiceRequest:
        """One object a row, however many ways lead to it."""
        patient = (request.patient.patient_id, request.patient.issuer)
        request.patient = patients.setdefault(patient, request.patient)
        return rows.requests.setdefault(request.pk, request)

    for patient in Patient.objects.filter(
        patient_id__in={place.said[Patient]["patient_id"] for place in places}
    ):
        patients[patient.patient_id, patient.issuer] = patient
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
