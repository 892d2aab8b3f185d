"""Whoever changes what the board shows changes its tag, by whichever verb."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models, transaction

from tests import cast, tools
from tests.pages import at_once
from tests.test_import_wl import data_set, run, write
from worklist import board, clock, scheduling
from worklist.audit import trail
from worklist.board.shown import COLUMNS
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    StepStatus,
)
from worklist.scheduling import bulk, patients, undo
from worklist.scheduling.bulk import Afternoon
from worklist.scheduling.conflicts import ConflictsFound

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2024, 7, 5, 8, 2)


@pytest.fixture(autouse=True)
def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def step() -> ScheduledProcedureStep:
    return cast.book(cast.patient(), stations=[cast.station()])


def tag() -> str:
    return board.etag(board.Filters.of({}))


def content() -> object:
    return board.read(board.Filters.of({}))


# --- every column of every row --------------------------------------------------------------------


def fields() -> list[Any]:
    return [
        pytest.param(field, id=f"{model.__name__}.{field.name}")
        for model in (Patient, ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep)
        for field in model._meta.concrete_fields
        if field.editable and not field.primary_key
    ]


def another(field: Any) -> object:
    """A value that the row does not hold."""
    match field:
        case models.ForeignKey():
            return _another_row(field.related_model)
        case models.BooleanField():
            return True
        case models.IntegerField():
            return 3
        case models.DateField():
            return cast.DAY + dt.timedelta(days=1)
        case models.TimeField():
            return dt.time(23, 30)
    return "1"


def _another_row(model: Any) -> models.Model:
    if model is Code:
        return cast.code()
    if model is Patient:
        return cast.patient("P2")
    other = cast.book(cast.patient("P3"), start_date=dt.date(2024, 7, 8)).requested_procedure
    return other if model is RequestedProcedure else other.request


@pytest.mark.parametrize("field", fields())
def test_each_column_of_what_a_step_hangs_from_changes_the_tag(
    step: ScheduledProcedureStep, field: Any
) -> None:
    procedure = step.requested_procedure
    rows = (step, procedure, procedure.request, procedure.request.patient)
    value = another(field)
    row = next(row for row in rows if isinstance(row, field.model))
    before = tag()
    setattr(row, field.name, value)
    trail.save(row, by=cast.actor)
    assert tag() != before


@pytest.mark.parametrize("path", COLUMNS)
def test_board_shows_nothing_whose_changes_the_step_does_not_count(path: str) -> None:
    # Whoever shows a column of another row must have it counted: see `below` of the models.
    model: Any = ScheduledProcedureStep
    for name in path.split("__")[:-1]:
        above = model._meta.get_field(name)
        assert above.related_model.below == above.remote_field.get_accessor_name()
        model = above.related_model


def test_every_step_below_is_counted_and_no_other(step: ScheduledProcedureStep) -> None:
    patient = step.requested_procedure.request.patient
    second = cast.step(order=step)
    third = cast.book(patient, start_date=dt.date(2024, 7, 8))
    stranger = cast.book(cast.patient("P2"))
    patient.comments = "Hard of hearing"
    scheduling.save_patient(patient, by=cast.actor)

    def revisions() -> list[int]:
        rows = ScheduledProcedureStep.objects.in_bulk()
        return [rows[each.pk].revision for each in (step, second, third, stranger)]

    assert revisions() == [1, 1, 1, 0]
    scheduling.save_patient(patient, by=cast.actor)
    assert revisions() == [1, 1, 1, 0]
    # The step in hand was read before that, and is saved on what is stored.
    scheduling.set_status(step, StepStatus.ARRIVED, by=cast.actor)
    step.description = "CT"
    scheduling.save_step(step, by=cast.actor)
    assert revisions() == [1, 1, 1, 0]


# --- every verb -----------------------------------------------------------------------------------


def amend(step: ScheduledProcedureStep) -> None:
    procedure = step.requested_procedure
    procedure.request.accession_number = "A77"
    versions = (step.version, procedure.version, procedure.request.version)
    scheduling.amend(step, procedure, versions=versions, by=cast.actor)


def amend_patient(step: ScheduledProcedureStep) -> None:
    patient = step.requested_procedure.request.patient
    patient.birth_date = dt.date(1980, 1, 1)
    patients.amend(patient, version=patient.version, by=cast.actor)


def merge(step: ScheduledProcedureStep) -> None:
    scheduling.merge(
        cast.patient("P2", "Rossi^Paolo"), step.requested_procedure.request.patient, by=cast.actor
    )


def unmerge(step: ScheduledProcedureStep) -> None:
    merge = patients.newest_merge(step.requested_procedure.request.patient)
    assert merge
    patients.unmerge(merge, by=cast.actor)


def book(step: ScheduledProcedureStep) -> None:
    cast.book(cast.patient("P4"), stations=[cast.station()], start_time=dt.time(10))


def move_the_afternoon(step: ScheduledProcedureStep) -> None:
    what = Afternoon(cast.station(), cast.DAY, dt.time(8), minutes=30)
    found = bulk.selected(what)
    accepted = [each.fingerprint for each in bulk.find(found, what, may_override=True)]
    bulk.carry_out(
        what,
        seen=bulk.digest(found),
        accepted=accepted,
        reason="Scanner was down",
        by=cast.actor,
        may_override=True,
    )


def take_back(step: ScheduledProcedureStep) -> None:
    step.refresh_from_db()
    undo.take_back(undo.of_booking([step]), by=cast.actor)


def import_file(step: ScheduledProcedureStep, folder: Path) -> None:
    procedure = step.requested_procedure
    told = data_set(
        {
            "ScheduledProcedureStepID": step.step_id,
            "ScheduledProcedureStepStartDate": "20240705",
            "ScheduledProcedureStepStartTime": "0900",
        },
        PatientID="P1",
        PatientName="Müller-Rossi^Anna",
        StudyInstanceUID=procedure.study_instance_uid,
        RequestedProcedureID=procedure.procedure_id,
        AccessionNumber=procedure.request.accession_number,
    )
    run(write(folder / "a.wl", told))


VERBS: tuple[Callable[[ScheduledProcedureStep], None], ...] = (
    *(amend, amend_patient, book, move_the_afternoon, merge, unmerge, take_back),
)


def test_each_verb_that_changes_the_board_changes_its_tag(
    step: ScheduledProcedureStep, tmp_path: Path
) -> None:
    seen = [(content(), tag())]
    for verb in (lambda each: import_file(each, tmp_path), *VERBS):
        verb(ScheduledProcedureStep.objects.get(pk=step.pk))
        seen.append((content(), tag()))
    shown = [each for each, _ in seen]
    assert all(one != other for one, other in pairwise(shown))
    assert len({each for _, each in seen}) == len(seen)


# --- at the same time -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@tools.needs("postgres")
def test_step_that_is_hung_below_while_the_patient_is_changed_is_seen_as_it_is() -> None:
    first = cast.book(cast.patient(), start_date=dt.date(2024, 7, 8))
    patient = first.requested_procedure.request.patient

    def hang() -> None:
        # As a door might: nothing above the procedure is held.
        step = cast.new_step(requested_procedure=first.requested_procedure, step_id="S2")
        trail.save(step, by=cast.actor)
        connection.close()

    def look() -> tuple[str, object]:
        (seen,) = at_once(lambda: (tag(), content()))
        return seen

    hanging = threading.Thread(target=hang)
    with transaction.atomic():
        patient.name = "Rossi^Paolo"
        scheduling.save_patient(patient, by=cast.actor)
        hanging.start()
        until = time.monotonic() + 20
        while not _somebody_waits() and hanging.is_alive() and time.monotonic() < until:
            pass
        seen = look()
    hanging.join(timeout=20)
    then = look()
    assert seen[0] != then[0] or seen[1] == then[1]
    assert "Rossi" in str(then[1])


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone() is not None


@pytest.mark.django_db(transaction=True)
@tools.needs("postgres")
def test_nobody_waits_in_a_circle_for_the_steps_of_a_patient() -> None:
    anna, paolo = cast.patient(), cast.patient("P2", "Rossi^Paolo")
    # What hangs below the two lies across each other.
    booked = [
        cast.book(of, stations=[cast.station()], start_time=dt.time(9 + n))
        for n, of in enumerate((anna, paolo, anna, paolo, anna))
    ]
    cast.step(order=booked[0]), cast.step(order=booked[1])

    def rename(of: Patient, number: int) -> None:
        mine = Patient.objects.get(pk=of.pk)
        mine.comments = f"{number}"
        scheduling.save_patient(mine, by=cast.actor)

    def amend_order(number: int) -> None:
        # Of the patient who is renamed: neither makes the other's version old.
        step = ScheduledProcedureStep.objects.get(pk=booked[2].pk)
        step.description = step.requested_procedure.request.comments = f"{number}"
        procedure = step.requested_procedure
        versions = (step.version, procedure.version, procedure.request.version)
        scheduling.amend(step, procedure, versions=versions, by=cast.actor)

    def move() -> None:
        with suppress(bulk.SelectionChanged, ConflictsFound):
            move_the_afternoon(booked[0])

    def merge_and_back() -> None:
        merge = scheduling.merge(paolo, anna, by=cast.actor)
        patients.unmerge(merge, by=cast.actor)

    for number in range(8):
        renames = [partial(rename, each, number) for each in (anna, paolo)]
        assert len(at_once(*renames, move, merge_and_back)) == 4
    for number in range(8, 28):
        assert len(at_once(partial(rename, anna, number), partial(amend_order, number))) == 2
