"""Migrations that write: what they make of rows from before."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests import cast
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
)

pytestmark = pytest.mark.django_db

exam_search = import_module("worklist.migrations.0013_fill_exam_search")
respelling = import_module("worklist.migrations.0022_respell_search_words")
names = import_module("worklist.migrations.0009_fold_names_by_character")


def test_names_from_before_are_folded_by_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_BATCH", 2)
    for number in range(5):
        cast.step(
            PatientName="Weiß^Anna",
            OtherPatientNames="Groß^A\\Klein",
            RequestingPhysician="Strauß",
            NamesOfIntendedRecipientsOfResults="Voß\\Maß",
            PatientID=f"P{number}",
        )
    Patient.objects.update(name_folded="weiss^anna", other_names_folded="gross^a\\klein")
    ImagingServiceRequest.objects.update(requesting_physician_folded="strauss")
    RequestedProcedure.objects.update(result_recipients_folded="voss\\mass")
    editor = SimpleNamespace(connection=connection)
    names.fold(apps, editor)
    folded = Patient.objects.values_list("name_folded", "other_names_folded")
    assert set(folded) == {("weiß^anna", "groß^a\\klein")}
    physicians = ImagingServiceRequest.objects.values_list("requesting_physician_folded", flat=True)
    assert set(physicians) == {"strauß"}
    recipients = RequestedProcedure.objects.values_list("result_recipients_folded", flat=True)
    assert set(recipients) == {"voß\\maß"}
    with CaptureQueriesContext(connection) as statements:
        names.fold(apps, editor)
    assert not [one for one in statements if one["sql"].startswith("UPDATE")]


@pytest.mark.parametrize("batch", [2, 50])
def test_exams_from_before_get_the_words_that_they_are_searched_by(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(exam_search, "_BATCH", batch)
    for number in range(5):
        cast.step(
            PatientID=f"P{number}",
            AccessionNumber=f"Ä{number}",
            RequestedProcedureDescription="CT Schädel",
            ScheduledProcedureStepDescription=f"Kopf, {number}",
        )
    for model in (ImagingServiceRequest, RequestedProcedure, ScheduledProcedureStep):
        model.objects.update(search="")
    editor = SimpleNamespace(connection=connection)
    exam_search.fill(apps, editor)
    requests = ImagingServiceRequest.objects.values_list("search", flat=True)
    assert set(requests) == {f"a{number}" for number in range(5)}
    assert set(RequestedProcedure.objects.values_list("search", flat=True)) == {"ct schadel"}
    steps = ScheduledProcedureStep.objects.values_list("search", flat=True)
    assert set(steps) == {f"kopf {number}" for number in range(5)}
    with CaptureQueriesContext(connection) as statements:
        exam_search.fill(apps, editor)
    assert not [one for one in statements if one["sql"].startswith("UPDATE")]


@pytest.mark.parametrize("batch", [2, 50])
def test_rows_from_before_are_searched_by_both_spellings(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(respelling, "_BATCH", batch)
    for number in range(3):
        cast.step(
            PatientName="Müller^Anna",
            PatientID=f"P{number}",
            RequestedProcedureDescription="CT Schädel",
        )
    Patient.objects.update(search="")
    RequestedProcedure.objects.update(search="ct schadel")
    editor = SimpleNamespace(connection=connection)
    respelling.respell(apps, editor)
    words = Patient.objects.values_list("search", flat=True)
    assert set(words) == {f"p{number} muller anna mueller" for number in range(3)}
    procedures = RequestedProcedure.objects.values_list("search", flat=True)
    assert set(procedures) == {"ct schadel schaedel"}
    with CaptureQueriesContext(connection) as statements:
        respelling.respell(apps, editor)
    assert not [one for one in statements if one["sql"].startswith("UPDATE")]
