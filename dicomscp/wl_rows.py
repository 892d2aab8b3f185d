"""The rows that a batch of worklist files touches: looked up together, written together, signed.

What they are to hold is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connection, models, transaction

from dicomscp import wl_files
from dicomscp.wl_places import (
    CODE_COLUMNS,
    LEVELS,
    PROTOCOL_CODES,
    STATIONS,
    Level,
    PatientKey,
    Place,
)
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

# Held by an import while it looks rows up and writes what is missing.
_LOCK = 0x776C5F696D70


@dataclass
class Rows:
    """The rows that a batch touches, stored and new, by key; and what is to be written."""

    objects: dict[Level, dict[Any, Any]] = field(
        default_factory=lambda: {level: {} for level in LEVELS}
    )
    # Whose a merged patient's orders are.
    survivors: dict[PatientKey, PatientKey] = field(default_factory=dict)
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


def wait_for_others() -> None:
    """Wait for the other imports that are writing: each sees all that the last one has written.

    On SQLite a transaction that may write is alone from its start.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def look_up(
    places: Sequence[Place], *, key_of: Callable[[PatientKey], PatientKey], lock: bool
) -> Rows:
    """The stored rows that these records name, each kind by one query.

    `key_of` answers the key under which the run knows a patient. With `lock` the rows are read as
    they stand and are ours until the transaction ends. Stations come first, then patients, as when
    booking; then requests, procedures and steps, as when amending; each in the order of their keys.
    So nobody waits for us who has what we wait for.
    """
    rows = Rows()
    uids = {place.study_uid for place in places}
    titles = {title for place in places for title in place.said[ScheduledProcedureStep][STATIONS]}
    stations = Station.objects.filter(ae_title__in=titles).order_by("pk")
    # Their keys stay as they are: new steps may name them meanwhile.
    rows.stations = {
        station.ae_title: station
        for station in (stations.select_for_update(no_key=True) if lock else stations)
    }
    patients = _look_up_patients(places, uids, lock=lock)
    for patient in patients.values():
        survivor = patient
        while survivor.merged_into_id:
            survivor = patients[survivor.merged_into_id]
        key = key_of((survivor.patient_id, survivor.issuer))
        if survivor is patient:
            rows.objects[Patient][key] = patient
        else:
            rows.survivors[patient.patient_id, patient.issuer] = key
    studies = RequestedProcedure.objects.filter(study_instance_uid__in=uids)
    accessions = {
        place.said[ImagingServiceRequest].get("accession_number", "") for place in places
    } - {""}
    for request in _held(
        ImagingServiceRequest.objects.filter(
            models.Q(pk__in=set(studies.values_list("request", flat=True)))
            | models.Q(accession_number__in=accessions, patient__in=patients)
        ).select_related("institution_code"),
        lock=lock,
    ):
        request.patient = patients[request.patient_id]
        rows.requests[request.pk] = request
    procedures = list(
        _held(
            studies.filter(request__in=rows.requests).select_related("code", "reason_code"),
            lock=lock,
        )
    )
    steps = list(
        _held(ScheduledProcedureStep.objects.filter(requested_procedure__in=procedures), lock=lock)
    )
    for procedure in procedures:
        procedure.request = rows.requests[procedure.request_id]
        rows.objects[RequestedProcedure][procedure.study_instance_uid] = procedure
    _place_steps(rows, steps)
    _look_up_codes(rows, places)
    return rows


_Model = TypeVar("_Model", bound=models.Model)


def _held(rows: models.QuerySet[_Model], *, lock: bool) -> models.QuerySet[_Model]:
    rows = rows.order_by("pk")
    return rows.select_for_update(of=("self",)) if lock else rows


def _look_up_patients(
    places: Sequence[Place], uids: Collection[str], *, lock: bool
) -> dict[int, Patient]:
    """The patients that are named or have these studies, and those they were merged into, by key.

    Who they are is read before they are locked. When a merge comes between, they are given back,
    since whoever is locked later must have a later key, and all are locked anew.
    """
    while True:
        keys = _patient_keys(places, uids)
        held = _held(Patient.objects.filter(pk__in=keys), lock=lock)
        if not lock:
            return held.in_bulk()
        before = transaction.savepoint()
        patients = held.in_bulk()
        if _patient_keys(places, uids) <= keys:
            return patients
        transaction.savepoint_rollback(before)


def _patient_keys(places: Sequence[Place], uids: Collection[str]) -> set[int]:
    named = Patient.objects.filter(
        patient_id__in={place.said[Patient]["patient_id"] for place in places}
    )
    studied = RequestedProcedure.objects.filter(study_instance_uid__in=uids)
    keys: set[int] = set()
    newest: set[Any] = {
        *named.values_list("pk", flat=True),
        *studied.values_list("request__patient", flat=True),
    }
    while newest:
        keys |= newest
        merged = Patient.objects.filter(pk__in=newest).exclude(merged_into=None)
        newest = set(merged.values_list("merged_into", flat=True)) - keys
    return keys


def _place_steps(rows: Rows, steps: Iterable[ScheduledProcedureStep]) -> None:
    """Put steps under their procedures, and read their lists."""
    procedures = rows.objects[RequestedProcedure]
    by_pk = {procedure.pk: uid for uid, procedure in procedures.items()}
    if not by_pk:
        return
    keys: dict[int, Any] = {}
    for step in steps:
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
    links = StepProtocolCode.objects.filter(**in_procedures).order_by("step", "position")
    for link in links.select_related("code"):
        if link.step_id in keys:
            code = tuple(str(getattr(link.code, name)) for name in CODE_COLUMNS)
            key = keys[link.step_id]
            rows.protocols[key] = (*rows.protocols.get(key, ()), code)
            # A file need not name them to leave them where they are.
            rows.codes[code] = link.code


def _look_up_codes(rows: Rows, places: Sequence[Place]) -> None:
    wanted: set[wl_files.Code] = set()
    for place in places:
        for said in place.said.values():
            for name, value in said.items():
                if name == PROTOCOL_CODES:
                    wanted.update(value)
                elif name != STATIONS and isinstance(value, tuple):
                    wanted.add(value)
    if not wanted:
        return
    condition = models.Q()
    for position, name in enumerate(CODE_COLUMNS):
        if name in ("value", "long_value", "urn_value"):
            given = {code[position] for code in wanted} - {""}
            if given:
                condition |= models.Q(**{f"{name}__in": given})
    for code in Code.objects.filter(condition):
        key = tuple(str(getattr(code, name)) for name in CODE_COLUMNS)
        if key in wanted:
            rows.codes[key] = code


def write(rows: Rows, *, by: trail.Actor) -> None:
    for model in (Code, Station):
        trail.insert_many(rows.new.get(model, []), by=by)
    step_keys = {id(step): key for key, step in rows.objects[ScheduledProcedureStep].items()}

    def lists(step: Any) -> dict[str, list[models.Model]]:
        key = step_keys[id(step)]
        return {
            STATIONS: [rows.stations[title] for title in rows.titles.get(key, ())],
            PROTOCOL_CODES: [rows.codes[code] for code in rows.protocols.get(key, ())],
        }

    for level in LEVELS:
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


_LISTS = (STATIONS, PROTOCOL_CODES)
