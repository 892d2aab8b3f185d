from __future__ import annotations

import datetime as dt
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests import tools
from tests.cast import book, patient
from worklist import attributes, clock
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
)
from worklist.models.fields import FoldedName, SearchWords
from worklist.synthetic import MODELS

pytestmark = pytest.mark.django_db

TODAY = dt.date(2026, 11, 23)


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: dt.datetime.combine(TODAY, dt.time(10, 42)))


def synthesize(steps: int, **options: Any) -> None:
    call_command("synthesize", steps, verbosity=0, stdout=StringIO(), **options)


def test_every_row_holds_what_its_model_and_its_vrs_allow() -> None:
    synthesize(300, today=40, patients=80)
    for model in MODELS:
        rows = model._default_manager.all()
        assert rows.exists(), model
        for row in rows:
            row.full_clean()


def test_derived_columns_are_those_that_the_models_make() -> None:
    synthesize(200, today=40)
    for model in (Patient, ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep):
        derived = [f for f in model._meta.fields if isinstance(f, FoldedName | SearchWords)]
        for row in model._default_manager.all():
            for field in derived:
                stored = getattr(row, field.attname)
                assert stored == field.pre_save(row, False), (model, field.name)


def test_the_day_is_as_full_as_asked_and_days_lie_around_it() -> None:
    synthesize(1030, today=50, patients=300, stations=20)
    steps = ScheduledProcedureStep.objects
    assert steps.count() == 1030
    assert Patient.objects.count() == 300
    assert Station.objects.count() == 20
    assert steps.filter(start_date=TODAY).count() == 50
    assert steps.filter(start_date__gt=TODAY).count() == 100
    assert steps.filter(start_date__lt=TODAY).count() == 880
    statuses = set(steps.filter(start_date__gt=TODAY).values_list("status", flat=True))
    assert statuses <= {"SCHEDULED", "CANCELED"}


def test_a_worklist_of_few_modalities_with_every_step_to_be_done() -> None:
    synthesize(100, today=50, stations=5, modalities=2, to_do=True)
    steps = ScheduledProcedureStep.objects.filter(start_date=TODAY)
    assert [steps.filter(modality=modality).count() for modality in ("CT", "MR")] == [30, 20]
    assert set(ScheduledProcedureStep.objects.values_list("status", flat=True)) == {"SCHEDULED"}


def test_stations_do_what_their_modality_is_and_no_exam_of_one_overlaps() -> None:
    synthesize(200, today=100)
    last: dict[int, dt.time] = {}
    for step in ScheduledProcedureStep.objects.filter(start_date=TODAY):
        (at,) = step.stations.all()
        assert at.modality == step.modality
        assert step.end_time is not None
        assert last.get(at.pk, dt.time()) <= step.start_time
        last[at.pk] = step.end_time


def test_a_step_fills_about_forty_attributes() -> None:
    synthesize(50)
    step = ScheduledProcedureStep.objects.all()[0]
    filled = [
        attribute
        for attribute in attributes.walk()
        if attribute.column and not attribute.is_sequence and value_of(step, attribute)
    ]
    assert len(filled) >= 38


def value_of(step: ScheduledProcedureStep, attribute: attributes.Attribute) -> Any:
    path = attribute.column
    if attribute.parent and attribute.parent.column:
        path = f"{attribute.parent.column}__{path}"
    found = ScheduledProcedureStep.objects.filter(pk=step.pk).values_list(path, flat=True)
    return found[0]


def test_the_same_seed_makes_the_same_rows() -> None:
    def everything() -> list[tuple[Any, ...]]:
        return list(Patient.objects.order_by("patient_id").values_list("name", "birth_date", "sex"))

    synthesize(60, seed=7)
    first = everything()
    for model in reversed(MODELS):
        model._default_manager.all().delete()
    synthesize(60, seed=7)
    assert everything() == first
    assert len({name for name, _, _ in first}) > 15


def test_made_up_rows_come_beside_real_ones_only_by_force_and_twice_without_a_clash() -> None:
    book(patient())
    with pytest.raises(CommandError, match="not made up"):
        synthesize(10)
    assert Patient.objects.count() == 1
    synthesize(10, force=True)
    synthesize(10, force=True)
    assert ScheduledProcedureStep.objects.count() == 21
    # The numbers that the database gives next are free.
    book(patient("P2"))


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(CommandError, match="1 or more"):
        synthesize(0)


@tools.needs("postgres")
def test_the_indexes_are_those_that_were_there_before() -> None:
    def indexes() -> list[tuple[str, str]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT indexname, indexdef FROM pg_indexes ORDER BY indexname")
            return list(cursor.fetchall())

    before = indexes()
    synthesize(20)
    assert indexes() == before
