"""By whichever way a name reaches a step, the step is found by it; and by no other."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from tests import cast, waiting
from worklist import copies, scheduling
from worklist.audit import trail
from worklist.models import ImagingServiceRequest, ScheduledProcedureStep, StepStation

pytestmark = pytest.mark.django_db


@pytest.fixture
def step() -> ScheduledProcedureStep:
    return cast.book(cast.patient(), stations=[cast.station()])


def names() -> list[str]:
    assert copies.differing("default") == 0
    steps = ScheduledProcedureStep.objects.order_by("pk")
    return list(steps.values_list("patient_name_folded", flat=True))


def execute(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def other_order() -> ScheduledProcedureStep:
    return cast.book(cast.patient("P2", "Rossi^Paolo"))


# --- ways to another name -------------------------------------------------------------------------


def rename_the_patient(step: ScheduledProcedureStep) -> None:
    patient = step.requested_procedure.request.patient
    patient.name = "Rossi^Paolo"
    trail.save(patient, by=cast.actor)


def merge_the_patient(step: ScheduledProcedureStep) -> None:
    survivor = cast.patient("P2", "Rossi^Paolo")
    scheduling.merge(survivor, step.requested_procedure.request.patient, by=cast.actor)


def rename_past_the_trail(step: ScheduledProcedureStep) -> None:
    execute("UPDATE worklist_patient SET name = 'Rossi^Paolo', name_folded = 'rossi^paolo'")


def move_the_order(step: ScheduledProcedureStep) -> None:
    other = cast.patient("P2", "Rossi^Paolo")
    execute("UPDATE worklist_imagingservicerequest SET patient_id = %s", other.pk)


def move_the_procedure(step: ScheduledProcedureStep) -> None:
    request = ImagingServiceRequest(patient=cast.patient("P2", "Rossi^Paolo"))
    trail.save(request, by=cast.actor)
    execute("UPDATE worklist_requestedprocedure SET request_id = %s", request.pk)


def move_the_step(step: ScheduledProcedureStep) -> None:
    other = other_order()
    step.requested_procedure = other.requested_procedure
    trail.save(step, by=cast.actor)
    trail.delete(other, by=cast.actor)


WAYS = (
    rename_the_patient,
    merge_the_patient,
    rename_past_the_trail,
    move_the_order,
    move_the_procedure,
    move_the_step,
)


@pytest.mark.parametrize("way", WAYS)
def test_a_step_is_found_by_the_name_that_is_its_patients_now(
    step: ScheduledProcedureStep, way: Callable[[ScheduledProcedureStep], None]
) -> None:
    assert names() == ["müller^anna"]
    way(step)
    assert names() == ["rossi^paolo"]


def test_a_merge_that_is_taken_back_gives_the_name_back(step: ScheduledProcedureStep) -> None:
    survivor = cast.patient("P2", "Rossi^Paolo")
    merge = scheduling.merge(survivor, step.requested_procedure.request.patient, by=cast.actor)
    scheduling.unmerge(merge, by=cast.actor)
    assert names() == ["müller^anna"]


def test_other_patients_steps_keep_their_names(step: ScheduledProcedureStep) -> None:
    other_order()
    rename_the_patient(step)
    execute("UPDATE worklist_patient SET name_folded = 'berg^eva' WHERE patient_id = 'P2'")
    assert names() == ["rossi^paolo", "berg^eva"]


def test_who_saves_a_step_read_before_does_not_bring_the_name_back(
    step: ScheduledProcedureStep,
) -> None:
    read = ScheduledProcedureStep.objects.get()
    rename_the_patient(step)
    read.comments = "fasting"
    read.save()
    assert names() == ["rossi^paolo"]


def test_nobody_gives_a_step_another_name(step: ScheduledProcedureStep) -> None:
    execute("UPDATE worklist_scheduledprocedurestep SET patient_name_folded = 'nobody'")
    assert names() == ["müller^anna"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_a_step_that_is_added_while_its_patient_is_renamed_has_the_new_name(
    step: ScheduledProcedureStep,
) -> None:
    def add() -> None:
        execute(
            "INSERT INTO worklist_scheduledprocedurestep SELECT (jsonb_populate_record(step, "
            'to_jsonb(step) || \'{"id": 999999, "step_id": "OTHER"}\')).* '
            "FROM worklist_scheduledprocedurestep AS step"
        )
        connection.close()

    adding = threading.Thread(target=add)
    with transaction.atomic():
        rename_past_the_trail(step)
        adding.start()
        waiting.until(somebody_waits)
    adding.join(20)
    assert names() == ["rossi^paolo", "rossi^paolo"]


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


# --- a station's day ------------------------------------------------------------------------------

on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'")


def days() -> list[tuple[dt.date | None, str]]:
    assert copies.differing("default") == 0
    return list(StepStation.objects.order_by("pk").values_list("start_date", "status"))


@on_postgres
def test_with_a_station_stand_the_day_and_the_status_of_its_step(
    step: ScheduledProcedureStep,
) -> None:
    step.start_date, step.end_date = dt.date(2024, 7, 8), None
    trail.save(step, by=cast.actor)
    assert days() == [(dt.date(2024, 7, 8), "SCHEDULED")]
    step.status = "STARTED"
    others = [cast.station("MR1"), cast.station("CT1")]
    trail.save(step, by=cast.actor, lists={"stations": others})
    assert days() == [(dt.date(2024, 7, 8), "STARTED")] * 2
    execute("UPDATE worklist_scheduledprocedurestep SET start_date = '2024-07-09', end_date = NULL")
    assert days() == [(dt.date(2024, 7, 9), "STARTED")] * 2
    execute("UPDATE worklist_stepstation SET start_date = '2000-01-01', status = 'NONE'")
    assert days() == [(dt.date(2024, 7, 9), "STARTED")] * 2


@on_postgres
def test_a_station_that_is_moved_to_another_step_takes_its_day(
    step: ScheduledProcedureStep,
) -> None:
    other = cast.step(PatientID="P2", ScheduledProcedureStepStartDate=dt.date(2024, 7, 8))
    StepStation.objects.filter(step=other).delete()
    execute("UPDATE worklist_stepstation SET step_id = %s", other.pk)
    assert days() == [(dt.date(2024, 7, 8), "SCHEDULED")]


@on_postgres
def test_a_day_that_was_missed_is_mended(step: ScheduledProcedureStep) -> None:
    execute(
        "DROP TRIGGER worklist_scheduledprocedurestep_redates ON worklist_scheduledprocedurestep"
    )
    execute("UPDATE worklist_scheduledprocedurestep SET status = 'ARRIVED'")
    assert copies.differing("default") == 1
    copies.after_migrating("default")
    assert days() == [(cast.DAY, "ARRIVED")]


# --- without triggers -----------------------------------------------------------------------------


def without_trigger() -> None:
    on = " ON worklist_patient" if connection.vendor == "postgresql" else ""
    execute(f"DROP TRIGGER worklist_patient_renames{on}")


def found() -> str:
    return str(ScheduledProcedureStep.objects.values_list("patient_name_folded", flat=True).get())


def test_a_trigger_that_is_lost_is_put_up_by_the_next_migration_and_what_it_missed_is_mended(
    step: ScheduledProcedureStep,
) -> None:
    without_trigger()
    rename_past_the_trail(step)
    assert found() == "müller^anna"
    copies.after_migrating("default")
    assert names() == ["rossi^paolo"]
    execute("UPDATE worklist_patient SET name_folded = 'berg^eva'")
    assert names() == ["berg^eva"]


def test_a_command_tells_and_mends(step: ScheduledProcedureStep, capsys: Any) -> None:
    call_command("copies", "--check")
    without_trigger()
    rename_past_the_trail(step)
    with pytest.raises(CommandError, match="1 rows differ"):
        call_command("copies", "--check")
    call_command("copies")
    call_command("copies", "--check")
    assert names() == ["rossi^paolo"]
    assert "1 rows were written anew." in capsys.readouterr().out
