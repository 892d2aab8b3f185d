"""Files that meet what is there: people at work, and merged patients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from tests import tools
from tests.cast import patient as register
from tests.test_import_wl import CLERK, code, data_set, everything, run, write
from tests.waiting import until
from worklist import scheduling
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
)
from worklist.scheduling import patients

pytestmark = pytest.mark.django_db


# --- people at work -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "said", "held"),
    [
        ("SCHEDULED", "ARRIVED", "ARRIVED"),
        ("ARRIVED", "COMPLETED", "COMPLETED"),
        ("READY", "CANCELED", "CANCELED"),
        ("ARRIVED", "SCHEDULED", "ARRIVED"),
        ("STARTED", "SCHEDULED", "STARTED"),
        ("STARTED", "CANCELED", "STARTED"),
        ("COMPLETED", "SCHEDULED", "COMPLETED"),
        ("DISCONTINUED", "COMPLETED", "DISCONTINUED"),
        ("CANCELED", "SCHEDULED", "CANCELED"),
        ("CANCELED", "STARTED", "CANCELED"),
    ],
)
@pytest.mark.parametrize("batch", [1, 500])
def test_a_status_goes_forward_and_is_never_put_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: str,
    said: str,
    held: str,
    batch: int,
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    run(write(tmp_path / "a.wl", data_set({"ScheduledProcedureStepStatus": stored})))
    later = {"ScheduledProcedureStepStatus": said, "ScheduledProcedureStepStartTime": "1015"}
    path = write(tmp_path / "a.wl", data_set(later))
    dry = run(path, dry_run=True)
    told = run(path)
    assert dry.replace(" (dry run: nothing was written)", "") == told
    step = ScheduledProcedureStep.objects.get()
    assert (step.status, str(step.start_time)) == (held, "10:15:00")
    status = "Scheduled Procedure Step Status (0040,0020)"
    is_kept = stored == held
    assert (f"  {path}: {status}: {said!r} is not kept; the step is {stored!r}" in told) is is_kept
    assert ("1 keep the status that they have moved on to" in told) is is_kept


def test_a_step_that_keeps_its_status_is_counted_once_and_the_last_file_holds(
    tmp_path: Path,
) -> None:
    run(write(tmp_path / "a.wl", data_set({"ScheduledProcedureStepStatus": "STARTED"})))
    write(tmp_path / "a.wl", data_set({"ScheduledProcedureStepStatus": "COMPLETED"}))
    write(tmp_path / "b.wl", data_set({"ScheduledProcedureStepStatus": "SCHEDULED"}))
    write(tmp_path / "c.wl", data_set({"ScheduledProcedureStepStatus": "SCHEDULED"}))
    told = run(tmp_path)
    assert "1 keep the status" in told
    assert f"'COMPLETED' is not kept; {tmp_path / 'c.wl'} says 'SCHEDULED'" in told
    assert ScheduledProcedureStep.objects.get().status == "STARTED"


def test_what_a_clerk_has_written_since_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wl", data_set({"ScheduledProcedureStepStatus": "SCHEDULED"}))
    run(path)
    patient = Patient.objects.get()
    patient.allergies = "Iodine"
    scheduling.save_patient(patient, by=CLERK)
    scheduling.cancel(ScheduledProcedureStep.objects.get(), by=CLERK)
    told = run(
        write(path, data_set({"ScheduledProcedureStepStatus": "SCHEDULED"}, PatientSize="1.7"))
    )
    assert "scheduled procedure steps: 0 new, 0 changed" in told
    patient.refresh_from_db()
    assert (patient.allergies, patient.size) == ("Iodine", "1.7")
    assert ScheduledProcedureStep.objects.get().status == "CANCELED"


@tools.needs("postgres")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("batch", [1, 500])
def test_a_clerk_and_a_batch_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    path = write(tmp_path / "a.wl", data_set())
    run(path)
    scheduled = {"ScheduledProcedureStepStatus": "SCHEDULED"}
    described = {**scheduled, "ScheduledProcedureStepDescription": "CT head"}
    write(path, data_set(described, PatientWeight="70"))
    clerk: Future[None] = Future()

    def act() -> None:
        try:
            scheduling.cancel(ScheduledProcedureStep.objects.get(), by=CLERK, reason="Did not come")
            while True:
                patient = Patient.objects.get()
                seen, patient.allergies = patient.version, "Iodine"
                with suppress(scheduling.StaleVersion):
                    patients.amend(patient, version=seen, by=CLERK)
                    return
        finally:
            connection.close()

    def then_a_clerk_acts(execute: Any, sql: str, *args: Any) -> Any:
        """Before the first row is written: until the clerk is done or waits for this batch."""
        if sql.startswith("UPDATE") and not threads:
            threads.append(threading.Thread(target=succeed, args=(clerk, act)))
            threads[0].start()
            with connection.cursor() as cursor:
                until(lambda: clerk.done() or somebody_waits(cursor))
        return execute(sql, *args)

    threads: list[threading.Thread] = []
    with connection.execute_wrapper(then_a_clerk_acts):
        run(path)
    clerk.result(timeout=20)
    step, patient = ScheduledProcedureStep.objects.get(), Patient.objects.get()
    assert (step.status, step.description) == ("CANCELED", "CT head")
    assert (patient.allergies, patient.weight) == ("Iodine", "70")


@tools.needs("postgres")
@pytest.mark.django_db(transaction=True)
def test_a_batch_waits_for_a_clerk_and_sees_what_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wl", data_set())
    run(path)
    write(path, data_set({"ScheduledProcedureStepStatus": "SCHEDULED"}, PatientWeight="70"))
    told: Future[str] = Future()

    def import_it() -> str:
        try:
            return run(path)
        finally:
            connection.close()

    thread = threading.Thread(target=succeed, args=(told, import_it))
    with transaction.atomic(), connection.cursor() as cursor:
        patient = Patient.objects.get()
        patient.allergies = "Iodine"
        scheduling.save_patient(patient, by=CLERK)
        scheduling.cancel(ScheduledProcedureStep.objects.get(), by=CLERK)
        thread.start()
        until(lambda: told.done() or somebody_waits(cursor))
    assert "1 keep the status" in told.result(timeout=20)
    patient.refresh_from_db()
    assert (patient.allergies, patient.weight) == ("Iodine", "70")
    assert ScheduledProcedureStep.objects.get().status == "CANCELED"


def succeed(future: Future[Any], act: Callable[[], Any]) -> None:
    try:
        future.set_result(act())
    except BaseException as error:
        future.set_exception(error)


def somebody_waits(cursor: Any) -> bool:
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    return bool(cursor.fetchone()[0])


# --- merged patients ------------------------------------------------------------------------------


def merged(survivor: Patient, *away: str) -> Patient:
    """Merge patients with these IDs, made if need be, each into the next and all into this one."""
    for patient_id in away:
        other = Patient.objects.filter(patient_id=patient_id).first() or register(
            patient_id, "Doe^Jane"
        )
        scheduling.merge(survivor, other, by=CLERK)
        survivor.refresh_from_db()
    return survivor


@pytest.mark.parametrize("batch", [1, 500])
def test_an_order_for_a_merged_patient_goes_to_the_last_survivor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    anna = register("P1", "Müller^Anna", allergies="Iodine", weight="60")
    middle = merged(register("P2", "Mueller^Anna"), "P3")
    scheduling.merge(anna, middle, by=CLERK)
    before = {row.pk: (row.name, row.version) for row in Patient.objects.exclude(pk=anna.pk)}
    path = write(
        tmp_path / "a.wl",
        data_set(
            PatientID="P3",
            PatientName="Doe^Jane",
            PatientWeight="70",
            PatientSize="1.70",
            Allergies=["Latex", "Iodine"],
        ),
    )
    dry = run(path, dry_run=True)
    told = run(path)
    assert dry.replace(" (dry run: nothing was written)", "") == told
    assert "patients: 0 new, 1 changed" in told
    assert "Patient's Weight (0010,1030): '70' is not kept; 'P3' was merged into 'P1'" in told
    assert RequestedProcedure.objects.get().request.patient == anna
    anna.refresh_from_db()
    assert (anna.patient_id, anna.name, anna.weight) == ("P1", "Müller^Anna", "60")
    assert (anna.size, anna.allergies) == ("1.70", "Iodine\\Latex")
    after = {row.pk: (row.name, row.version) for row in Patient.objects.exclude(pk=anna.pk)}
    assert after == before
    everywhere = everything()
    assert "patients: 0 new, 0 changed" in run(path)
    assert everything() == everywhere


@pytest.mark.parametrize(
    ("issuer", "says"), [("", ""), ("H", "H"), ("H", None), ("", "H")], ids=str
)
@pytest.mark.parametrize("batch", [1, 500])
def test_a_study_that_a_merge_has_moved_is_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, issuer: str, says: str | None
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    path = write(tmp_path / "a.wl", data_set(PatientID="P2", IssuerOfPatientID=issuer))
    run(path)
    anna = merged(register("P1", "Müller^Anna", issuer="H"), "P2")
    later = {"ScheduledProcedureStepStartTime": "1015"}
    write(path, data_set(later, PatientID="P2", IssuerOfPatientID=says))
    dry = run(path, dry_run=True)
    assert dry.replace(" (dry run: nothing was written)", "") == run(path)
    step = ScheduledProcedureStep.objects.get()
    assert step.requested_procedure.request.patient == anna
    assert str(step.start_time) == "10:15:00"
    assert Patient.objects.count() == 2


@pytest.mark.parametrize("names", [("a.wl", "b.wl"), ("b.wl", "a.wl")])
@pytest.mark.parametrize("batch", [1, 500])
def test_files_under_both_ids_go_in_together_and_the_survivors_own_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, names: tuple[str, str]
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    anna = merged(register("P1", "Müller^Anna"), "P2")
    own = data_set(
        PatientID="P1", PatientBirthDate="19700203", PatientWeight="60", Allergies="Iodine"
    )
    write(tmp_path / names[0], own)
    old = data_set(
        {"ScheduledProcedureStepID": "SPS2"},
        PatientID="P2",
        PatientName="Doe^Jane",
        PatientBirthDate="19710203",
        PatientWeight="70",
        Allergies="Latex",
    )
    write(tmp_path / names[1], old)
    dry = run(tmp_path, dry_run=True)
    assert dry.replace(" (dry run: nothing was written)", "") == run(tmp_path)
    anna.refresh_from_db()
    assert (anna.name, str(anna.birth_date), anna.weight) == ("Müller^Anna", "1970-02-03", "60")
    assert sorted(anna.allergies.split("\\")) == ["Iodine", "Latex"]
    assert ImagingServiceRequest.objects.get().patient == anna
    assert ScheduledProcedureStep.objects.count() == 2


def test_a_stored_study_is_not_moved_by_the_id_of_another_merged_patient(tmp_path: Path) -> None:
    run(write(tmp_path / "a.wl", data_set(PatientID="P5")))
    merged(register("P1", "Müller^Anna"), "P2")
    told = run(write(tmp_path / "a.wl", data_set(PatientID="P2")), fails=True)
    assert "'P2', but study 1.2.3.1 is stored under 'P5'" in told


@tools.needs("postgres")
@pytest.mark.django_db(transaction=True)
def test_a_batch_that_waited_for_a_merge_follows_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wl", data_set(PatientID="P2"))
    run(path)
    anna, other = register("P1", "Müller^Anna"), Patient.objects.get(patient_id="P2")
    write(path, data_set({"ScheduledProcedureStepID": "SPS2"}, PatientID="P2"))
    told: Future[str] = Future()

    def import_it() -> str:
        try:
            return run(path)
        finally:
            connection.close()

    thread = threading.Thread(target=succeed, args=(told, import_it))
    with transaction.atomic(), connection.cursor() as cursor:
        scheduling.merge(anna, other, by=CLERK)
        thread.start()
        until(lambda: told.done() or somebody_waits(cursor))
    assert "1 went in with 1 steps, 0 did not." in told.result(timeout=20)
    steps = ScheduledProcedureStep.objects.select_related("requested_procedure__request")
    assert [step.requested_procedure.request.patient_id for step in steps] == [anna.pk] * 2


def test_a_file_that_does_not_name_the_protocol_leaves_it_and_writes_the_rest(
    tmp_path: Path,
) -> None:
    protocol = {"ScheduledProtocolCodeSequence": [code("THX", "Thorax")]}
    run(write(tmp_path / "a.wl", data_set(protocol)))
    run(write(tmp_path / "c.wl", data_set({"ScheduledProcedureStepLocation": "Room 2"})))
    step = ScheduledProcedureStep.objects.get()
    assert step.location == "Room 2"
    assert [each.value for each in step.protocol_codes.all()] == ["THX"]
