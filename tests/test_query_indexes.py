"""PostgreSQL reads each kind of query that scanners send by an index, not table by table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from dicomscp import find, identifier, plan
from dicomscp.scope import NO_RULES
from tests import network, tools
from tests.asking import query
from tests.strategies import Query
from worklist import clock
from worklist.models import ScheduledProcedureStep

pytestmark = [pytest.mark.django_db(transaction=True), tools.needs("postgres")]

LARGE = ("scheduledprocedurestep", "requestedprocedure", "imagingservicerequest", "patient")
STEP = "worklist_step_(start|status|open)"
STATION = "worklist_stepstation_day"
NAME = "worklist_step_name(?!_)"
TRIGRAMS = "worklist_step_name_trigrams"


@pytest.fixture
def worklist() -> Iterator[ScheduledProcedureStep]:
    """Ten days of fifty exams, some years of them; one of today's."""
    call_command("synthesize", "6000", "--today", "50", verbosity=0)
    with connection.cursor() as cursor:
        # What was loaded a moment ago stands before the index of trigrams, not in it.
        cursor.execute("VACUUM ANALYZE worklist_scheduledprocedurestep")
    found = ScheduledProcedureStep.objects.filter(start_date=clock.today(), status="SCHEDULED")
    yield found.order_by("pk")[0]


def plans_of(wanted: Query) -> list[str]:
    """How the database would read what this asks for, as EXPLAIN tells it; and the keys alone.

    Where it is read alike whatever the values are, also by the plan that is made before they are
    known: that is the one by which kept connections read it.
    """
    elements = identifier.read(network.encode(wanted, is_explicit=False), implicit_vr=True)
    reading = find.reading(plan.make(elements), NO_RULES, now=clock.now(), limit=5000)
    told = []
    with connection.cursor() as cursor:
        # A small table is read as a whole where that is allowed, whatever indexes it has.
        cursor.execute("SET enable_seqscan = off")
        for statement in (reading._statement, reading._keys[0]):
            sql, params = statement.sql_with_params
            told.append(explained(cursor, sql, params))
            if statement._is_steady:
                cursor.execute("SET plan_cache_mode = force_generic_plan")
                cursor.cursor.execute("PREPARE asked AS " + statement._spelt["postgresql"])
                values = ", ".join(["%s"] * len(params))
                told.append(explained(cursor, f"EXECUTE asked ({values})", params))
                cursor.execute("DEALLOCATE asked")
                cursor.execute("RESET plan_cache_mode")
        cursor.execute("RESET enable_seqscan")
    return told


def explained(cursor: Any, sql: str, params: tuple[Any, ...]) -> str:
    cursor.execute(f"EXPLAIN {sql}", params)
    return "\n".join(line for (line,) in cursor.fetchall())


def test_every_kind_of_query_has_its_index(worklist: ScheduledProcedureStep) -> None:
    procedure = worklist.requested_procedure
    patient = procedure.request.patient
    today = clock.today().strftime("%Y%m%d")
    beginning, fragment = patient.name[:7] + "*", "*" + patient.name[2:7] + "*"
    date = {"ScheduledProcedureStepStartDate": today}
    range_ = {"ScheduledProcedureStepStartDate": f"{today}-{today}"}
    station = {"ScheduledStationAETitle": worklist.stations.get().ae_title}
    modality = {"Modality": worklist.modality}
    asked: list[tuple[Query, str]] = [
        (query({**station, **date}), STATION),
        (query({**station, **range_}), STATION),
        (query({**station, **modality, **date}), STATION),
        (query({**modality, **date}), "worklist_step_(modality|status|open)"),
        (query({**modality, **range_}), "worklist_step_(modality|status|open)"),
        (query(station), "worklist_stepstation_(day|station)"),
        (query(), "worklist_step_(open|status)"),
        (query({"ScheduledProcedureStepStatus": "ARRIVED"}), "worklist_step_status"),
        (query({"ScheduledProcedureStepID": worklist.step_id}), "worklist_step_step_id"),
        (query(PatientID=patient.patient_id), "worklist_patient_id_"),
        (query(PatientID=patient.patient_id[:8] + "*"), "worklist_patient_id_like"),
        (query(AccessionNumber=procedure.request.accession_number), "worklist_request_accession"),
        (query(AccessionNumber="Y0000001*"), "worklist_request_accession_like"),
        (query(RequestedProcedureID=procedure.procedure_id), "worklist_procedure_id"),
        (query(StudyInstanceUID=procedure.study_instance_uid), "study_instance_uid"),
        (query(PatientName=beginning), NAME),
        (query(PatientName=patient.name), NAME),
        (query({"ScheduledProcedureStepStatus": "COMPLETED"}, PatientName=beginning), NAME),
        (query(modality, PatientName=beginning), NAME),
        (query(PatientName=fragment), TRIGRAMS),
        (query(modality, PatientName=fragment), TRIGRAMS),
        (query(date, PatientName=fragment), STEP),
        (query(range_, PatientName=fragment), STEP),
        (query(AccessionNumber="Y1", PatientName=fragment), "worklist_request_accession"),
    ]
    for wanted, index in asked:
        for told in plans_of(wanted):
            assert re.search(index, told), f"{index} is not used:\n{told}"
            for table in LARGE:
                assert f"Seq Scan on worklist_{table}" not in told, told


@pytest.mark.parametrize("day", ["", "20240705", "20240705-20240706"])
def test_a_name_is_looked_for_in_one_table(worklist: ScheduledProcedureStep, day: str) -> None:
    name = worklist.requested_procedure.request.patient.name
    when = {"ScheduledProcedureStepStartDate": day}
    for pattern in (name[:7] + "*", "*" + name[2:7] + "*"):
        for told in plans_of(query(when, PatientName=pattern)):
            patient = next(line for line in told.splitlines() if "on worklist_patient" in line)
            # Of a step that is found its patient is read, by the key.
            assert "worklist_patient_pkey" in patient, told
            assert not day or "trigrams" not in told, told
