"""What is asked: seven queries, each with the number of matches that the database has for it.

The numbers come from plain SQL, not from what is measured.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What a modality asks back, about forty attributes.
RETURNED = _words("""
    AccessionNumber ReferringPhysicianName PatientName PatientID IssuerOfPatientID PatientBirthDate
    PatientSex OtherPatientIDs PatientSize PatientWeight PatientAddress MedicalAlerts Allergies
    PregnancyStatus SmokingStatus SpecialNeeds PatientState StudyInstanceUID RequestingPhysician
    RequestingService RequestedProcedureDescription AdmissionID CurrentPatientLocation
    RequestedProcedureID ReasonForTheRequestedProcedure RequestedProcedurePriority
    PatientTransportArrangements RequestedProcedureLocation ReasonForTheImagingServiceRequest
    PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest
    IssueDateOfImagingServiceRequest InstitutionName
""")
RETURNED_OF_STEP = _words("""
    Modality RequestedContrastAgent ScheduledStationAETitle ScheduledProcedureStepStartDate
    ScheduledProcedureStepStartTime ScheduledPerformingPhysicianName
    ScheduledProcedureStepDescription ScheduledProcedureStepID ScheduledStationName
    ScheduledProcedureStepLocation
""")
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")

# By default stations see what is yet to be done; a peer serves whatever is in its folder.
_OPEN = "('SCHEDULED', 'ARRIVED', 'READY', 'STARTED')"
_FROM = f"""
    FROM worklist_scheduledprocedurestep step
    JOIN worklist_requestedprocedure procedure ON procedure.id = step.requested_procedure_id
    JOIN worklist_imagingservicerequest request ON request.id = procedure.request_id
    JOIN worklist_patient patient ON patient.id = request.patient_id
    JOIN worklist_stepstation at ON at.step_id = step.id
    JOIN worklist_station station ON station.id = at.station_id
    WHERE step.status IN {_OPEN}
"""
# Queries that name a person match few.
_FEW = 20
_MANY = 1000


class Connection(Protocol):
    """One of psycopg or of sqlite3."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...


@dataclass(frozen=True)
class Query:
    """One query as it is measured: its name, its request Identifier, and how many match."""

    name: str
    label: str
    identifier: bytes
    matches: int


@dataclass(frozen=True)
class Questions:
    """What there is to ask of one database, and the AE title that asks."""

    calling: str
    queries: tuple[Query, ...]

    def named(self, name: str) -> Query:
        return next(query for query in self.queries if query.name == name)


def choose(connection: Connection, *, today: dt.date) -> Questions:
    """The queries of a CT scanner, about the last day up to `today` on which it has work."""
    database = _Database(connection)
    (day,) = database.first(
        "SELECT max(start_date) FROM worklist_scheduledprocedurestep "
        f"WHERE start_date <= ? AND status IN {_OPEN} AND modality = 'CT'",
        today.isoformat(),
    )
    if day is None:
        raise LookupError("the database has no step for a CT that is yet to be done")
    day = dt.date.fromisoformat(str(day))
    station, own = database.first(
        f"SELECT station.ae_title, count(*) {_FROM} AND step.start_date = ? AND "
        "step.modality = 'CT' GROUP BY station.ae_title ORDER BY 2 DESC, 1 LIMIT 1",
        day.isoformat(),
    )
    on_day = {"ScheduledProcedureStepStartDate": f"{day:%Y%m%d}"}
    mine = {"ScheduledStationAETitle": station, **on_day}
    its_day = "step.start_date = ?"
    found = [
        _query("Q1", "my station, today", own, step=mine),
        _query(
            "Q2",
            "modality, today",
            database.count(f"{its_day} AND step.modality = 'CT'", day.isoformat()),
            step={"Modality": "CT", **on_day},
        ),
    ]
    accession, name = _somebody(database, day)
    few = _prefix(database, name)
    fragment = few[1:]
    last, many = _many(database, day)
    found += [
        _query(
            "Q3",
            "accession number",
            database.count("request.accession_number = ?", accession),
            top={"AccessionNumber": accession},
        ),
        _query(
            "Q4",
            "up to 1,000 at once",
            many,
            step={"ScheduledProcedureStepStartDate": f"{day:%Y%m%d}-{last:%Y%m%d}"},
        ),
        _query(
            "Q5",
            "name prefix",
            database.count("lower(patient.name) LIKE ?", f"{few}%".lower()),
            top={"PatientName": f"{few}*"},
        ),
        _query(
            "Q6",
            "*son*, today",
            database.count(f"{its_day} AND lower(patient.name) LIKE ?", day.isoformat(), "%son%"),
            top={"PatientName": "*son*"},
            step=on_day,
        ),
        _query(
            "Q7",
            "name fragment",
            database.count("lower(patient.name) LIKE ?", f"%{fragment}%".lower()),
            top={"PatientName": f"*{fragment}*"},
        ),
    ]
    return Questions(station, tuple(found))


def _somebody(database: _Database, day: dt.date) -> tuple[str, str]:
    """An accession number of the day, and the patient's name.

    Of the names in plain letters, which every server folds alike, the longest: few begin so.
    """
    rows = database.all(
        f"SELECT request.accession_number, patient.name {_FROM} AND step.start_date = ?",
        day.isoformat(),
    )
    plain = [row for row in rows if row[1].isascii() and row[1].replace("^", "").isalpha()]
    accession, name = max(plain, key=lambda row: (row[1].count("^"), len(row[1]), row[0]))
    return str(accession), str(name)


def _prefix(database: _Database, name: str) -> str:
    """The shortest beginning of a name that few begin with."""
    for length in range(name.index("^"), len(name)):
        prefix = name[:length]
        if database.count("lower(patient.name) LIKE ?", f"{prefix}%".lower()) <= _FEW:
            return prefix
    return name


def _many(database: _Database, day: dt.date) -> tuple[dt.date, int]:
    """The last of the days from this one on that have many steps together, and how many."""
    total, last = 0, day
    for each, count in database.all(
        f"SELECT step.start_date, count(*) {_FROM} AND step.start_date >= ? "
        "GROUP BY step.start_date ORDER BY step.start_date LIMIT 30",
        day.isoformat(),
    ):
        total, last = total + count, dt.date.fromisoformat(str(each))
        if total >= _MANY:
            break
    return last, total


class _Database:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._placeholder = "?" if isinstance(connection, sqlite3.Connection) else "%s"

    def all(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        prepared = sql.replace("?", self._placeholder)
        return list(self._connection.execute(prepared, values).fetchall())

    def first(self, sql: str, *values: str) -> tuple[Any, ...]:
        return self.all(sql, *values)[0]

    def count(self, where: str, *values: str) -> int:
        (count,) = self.first(f"SELECT count(*) {_FROM} AND {where}", *values)
        return int(count)


# --- encoding -------------------------------------------------------------------------------------


def _query(
    name: str,
    label: str,
    matches: int,
    *,
    top: Mapping[str, str] = MappingProxyType({}),
    step: Mapping[str, str] = MappingProxyType({}),
) -> Query:
    return Query(name, label, identifier(top, step), matches)


def identifier(top: Mapping[str, str], step: Mapping[str, str]) -> bytes:
    """A request Identifier in Implicit VR Little Endian: these keys, all else universal."""
    dataset, of_step = Dataset(), Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for part, returned, keys in ((dataset, RETURNED, top), (of_step, RETURNED_OF_STEP, step)):
        for keyword in returned:
            setattr(part, keyword, keys.get(keyword))
    dataset.RequestedProcedureCodeSequence = [_code()]
    of_step.ScheduledProtocolCodeSequence = [_code()]
    dataset.ScheduledProcedureStepSequence = [of_step]
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    encoded: bytes = buffer.getvalue()
    return encoded


def _code() -> Dataset:
    code = Dataset()
    for keyword in _CODE:
        setattr(code, keyword, None)
    return code
