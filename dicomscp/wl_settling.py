"""Does a data set agree with the run's others and with what is stored? What does not is noted.

Only the data set's own places are changed. No file is read here and nothing is written.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from dicomscp.wl_files import BadDataSetError, label
from dicomscp.wl_places import ATTRIBUTE, LEVELS, Level, PatientKey, Place, Values, bad
from dicomscp.wl_rows import Rows
from worklist import values
from worklist.attributes import Attribute
from worklist.models import (
    FINAL,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    StepStatus,
)
from worklist.scheduling.steps import UNDER_WAY

# What a merged patient's file adds to the survivor's.
_ADDED = ("allergies", "medical_alerts")
# From the first to the last.
_WAY = tuple(StepStatus.values)
_ENDS = ("end_date", "end_time")
# What says who or what a row is: files of one run that differ in it are not about the same.
_IDENTIFYING: dict[type[models.Model], tuple[str, ...]] = {
    Patient: ("name", "birth_date"),
    ImagingServiceRequest: ("accession_number",),
}


@dataclass
class Run:
    """What the files of a run have said so far."""

    # By model, key and column: the value, and the file that said it.
    said: dict[tuple[Level, Any, str], tuple[Any, str]] = field(default_factory=dict)
    patient_of: dict[str, tuple[PatientKey, str]] = field(default_factory=dict)
    request_of: dict[str, Any] = field(default_factory=dict)
    request_by_accession: dict[tuple[PatientKey, str], Any] = field(default_factory=dict)
    # A patient whose issuer this run has brought goes on under the key without one.
    without_issuer: dict[PatientKey, PatientKey] = field(default_factory=dict)

    # What files of merged patients have brought to the survivor, by its key and column.
    filled: dict[tuple[PatientKey, str], Any] = field(default_factory=dict)

    def copy(self) -> Run:
        return Run(
            dict(self.said),
            dict(self.patient_of),
            dict(self.request_of),
            dict(self.request_by_accession),
            dict(self.without_issuer),
            dict(self.filled),
        )

    def key_of(self, patient: PatientKey) -> PatientKey:
        return self.without_issuer.get(patient, patient)

    def with_added(self, patient: PatientKey, said: Values) -> Values:
        """What a file says of a patient, with what files of merged ones have added in this run."""
        added = {name: self.filled.get((patient, name), "") for name in _ADDED if name in said}
        return said | {name: _both(said[name], more) for name, more in added.items() if more}


class Settler:
    """Settles the data sets of a batch, in the light of what the run has said so far."""

    def __init__(self, run: Run, rows: Rows) -> None:
        self._run = run
        self._rows = rows

    def settle(self, places: Sequence[Place], notes: list[str], not_held: Counter[str]) -> None:
        steps = set()
        for place in places:
            self._settle_patient(place, notes)
            place.keys[RequestedProcedure] = place.study_uid
            place.keys[ImagingServiceRequest] = self._settle_request(place)
            step_id = place.said[ScheduledProcedureStep]["step_id"]
            place.keys[ScheduledProcedureStep] = (place.study_uid, step_id)
            if step_id in steps:
                raise bad(
                    ATTRIBUTE[ScheduledProcedureStep, "step_id"],
                    f"{step_id!r} stands in two items of this file",
                )
            steps.add(step_id)
            # What is said of a survivor is settled already.
            for level in LEVELS[1:] if place.is_merged else LEVELS:
                self._settle_values(level, place.keys[level], place.said[level], notes)
            self._settle_status(place, notes)
            self._settle_end(place, not_held)

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

    def _settle_patient(self, place: Place, notes: list[str]) -> None:
        uid, key = place.study_uid, self._run.key_of(place.patient)
        source = ""
        stored = self._rows.objects[RequestedProcedure].get(uid)
        if uid in self._run.patient_of:
            known, source = self._run.patient_of[uid]
        elif stored:
            patient = stored.request.patient
            known = self._run.key_of((patient.patient_id, patient.issuer))
        else:
            known = self._rows.survivors.get(place.patient, key)
        if self._was_merged_into(known, place.patient):
            self._spare_survivor(place, known, notes)
            place.keys[Patient] = known
            return
        if key[0] == known[0] and not key[1]:
            key = known  # no issuer contradicts none
            place.said[Patient].pop("issuer", None)
        elif key[0] == known[0] and not known[1]:
            key = self._adopt_issuer(place, known, notes)
        for name, own, other in zip(("patient_id", "issuer"), key, known, strict=True):
            if own != other:
                if not source:
                    raise bad(
                        ATTRIBUTE[Patient, name],
                        f"{own!r}, but study {uid} is stored under {other!r}",
                    )
                raise _contradiction(ATTRIBUTE[Patient, name], own, other, source)
        place.keys[Patient] = key

    def _was_merged_into(self, survivor: PatientKey, patient: PatientKey) -> bool:
        """As anywhere, no issuer contradicts none."""
        if patient[0] == survivor[0] and patient[1] in ("", survivor[1]):
            return False  # the survivor's own
        return any(
            patient[0] == merged[0]
            and (patient[1] == merged[1] or not (patient[1] and merged[1]))
            and into == survivor
            for merged, into in self._rows.survivors.items()
        )

    def _spare_survivor(self, place: Place, survivor: PatientKey, notes: list[str]) -> None:
        """A merged patient's file fills in what is unknown of the survivor and overwrites nothing.

        Its allergies and alerts are added to the survivor's, as the merge did with the row's.
        """
        place.is_merged = True
        said, row = place.said[Patient], self._rows.objects[Patient].get(survivor)
        patient_id = said.pop("patient_id")
        said.pop("issuer", None)
        for name, value in list(said.items()):
            held, _ = self._run.said.get((Patient, survivor, name), (None, ""))
            held = held or self._run.filled.get((survivor, name)) or getattr(row, name, None)
            if name in _ADDED:
                said[name] = _both(held or "", value)
            elif held not in (None, ""):
                del said[name]
                if held != value:
                    notes.append(
                        f"{label(ATTRIBUTE[Patient, name])}: {_spell(value)!r} is not kept; "
                        f"{patient_id!r} was merged into {survivor[0]!r}"
                    )

    def _adopt_issuer(self, place: Place, known: PatientKey, notes: list[str]) -> PatientKey:
        """A patient who was known without an issuer gets the file's, unless another has it."""
        own = place.patient
        is_taken = (
            own in self._rows.objects[Patient]
            or own in self._rows.survivors
            or (Patient, own, "patient_id") in self._run.said
        )
        if is_taken:
            issuer = label(ATTRIBUTE[Patient, "issuer"])
            notes.append(f"{issuer}: {own[1]!r} is not kept; another patient {own[0]!r} has it")
            del place.said[Patient]["issuer"]
        else:
            place.adopts_issuer = True
        return known

    def _settle_request(self, place: Place) -> Any:
        uid, patient = place.study_uid, place.keys[Patient]
        accession = place.said[ImagingServiceRequest].get("accession_number", "")
        named = self._named_request(patient, accession) if accession else None
        key = self._run.request_of.get(uid) or self._rows.request_of.get(uid)
        if key is None:
            return named or (("accession", patient, accession) if accession else ("study", uid))
        request = self._rows.objects[ImagingServiceRequest].get(key)
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

    def _named_request(self, patient: PatientKey, accession: str) -> Any:
        """The key of the patient's request with this accession number, None when there is none."""
        named = (patient, accession)
        key = self._run.request_by_accession.get(named, ("accession", *named))
        is_known = (
            key in self._rows.objects[ImagingServiceRequest]
            or named in self._run.request_by_accession
        )
        return key if is_known else None

    def name_requests(self) -> None:
        """Give each stored request the key by which this run knows it."""
        requests = self._rows.objects[ImagingServiceRequest]
        for request in self._rows.requests.values():
            requests[self._key_of(request)] = request
        for uid, procedure in self._rows.objects[RequestedProcedure].items():
            if uid in self._run.request_of:
                requests[self._run.request_of[uid]] = procedure.request
            else:
                self._rows.request_of[uid] = self._key_of(procedure.request)

    def _key_of(self, request: ImagingServiceRequest) -> Any:
        patient = self._run.key_of((request.patient.patient_id, request.patient.issuer))
        if request.accession_number:
            named = (patient, request.accession_number)
            return self._run.request_by_accession.get(named, ("accession", *named))
        return ("row", request.pk)

    def _settle_status(self, place: Place, notes: list[str]) -> None:
        """A step that people have moved on is not put back: at best a file knows how it was."""
        said = place.said[ScheduledProcedureStep]
        stored = self._rows.objects[ScheduledProcedureStep].get(place.keys[ScheduledProcedureStep])
        status = said.get("status")
        if stored is None or status is None or _may_follow(status, stored.status):
            return
        place.outrun = said.pop("status")
        notes.append(
            f"{label(ATTRIBUTE[ScheduledProcedureStep, 'status'])}: {status!r} is not kept; "
            f"the step is {stored.status!r}"
        )

    def _settle_end(self, place: Place, not_held: Counter[str]) -> None:
        """An end before the start is not kept: both its attributes are of type 3."""
        key, said = place.keys[ScheduledProcedureStep], place.said[ScheduledProcedureStep]
        stored = self._rows.objects[ScheduledProcedureStep].get(key)

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


def _may_follow(status: str, before: str) -> bool:
    """Whether a step may go from one status to the other; an exam that has started may end."""
    if before in FINAL or (before in UNDER_WAY and status == StepStatus.CANCELED):
        return status == before
    return _WAY.index(status) >= _WAY.index(before)


def _contradiction(attribute: Attribute, own: Any, other: Any, source: str) -> BadDataSetError:
    return bad(attribute, f"{_spell(own)!r} contradicts {_spell(other)!r} in {source}")


def _is_same_person(name: str, other: str) -> bool:
    """Whether two names differ in case or in which component groups they have at most."""
    groups = zip(
        values.fold_name(name).split("="), values.fold_name(other).split("="), strict=False
    )
    pairs = [(one, two) for one, two in groups if one and two]
    return bool(pairs) and all(one == two for one, two in pairs)


def _both(several: str, more: str) -> str:
    return values.join(list(dict.fromkeys((*values.split(several), *values.split(more)))))


def _spell(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_spell(one) for one in value if one)
    return values.spell(value) if isinstance(value, dt.date | dt.time | int) else str(value)
