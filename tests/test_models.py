from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.forms import modelform_factory

from tests.cast import DAY, actor, book, new_step, patient, station
from worklist import attributes, checks
from worklist.attributes import Attribute
from worklist.audit import trail
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    fields,
)

pytestmark = pytest.mark.django_db

# --- what cannot enter ----------------------------------------------------------------------------


def a_patient(**more: Any) -> Patient:
    return Patient(**{"name": "Müller^Anna", "patient_id": "P1", **more})


def a_request(**more: Any) -> ImagingServiceRequest:
    return ImagingServiceRequest(patient=patient(), **more)


def a_procedure(**more: Any) -> RequestedProcedure:
    known = book(patient()).requested_procedure
    usual = {"request": known.request, "procedure_id": "R1", "study_instance_uid": "1.2.3"}
    return RequestedProcedure(**{**usual, **more})


def a_step(**more: Any) -> ScheduledProcedureStep:
    usual = {"requested_procedure": book(patient()).requested_procedure, "step_id": "S1"}
    return new_step(**{**usual, **more})


def a_code(**more: Any) -> Code:
    return Code(**{"value": "CTTH", "scheme": "99SITE", "meaning": "Thorax", **more})


Make = Callable[..., models.Model]


def test_spaces_that_are_part_of_a_text_are_kept() -> None:
    row = Patient(patient_id="  P1 ", name="A", comments="  deaf \r\n")
    row.full_clean()
    assert (row.patient_id, row.comments) == ("P1", "  deaf \r\n")
    form = modelform_factory(Patient, fields=["comments"])({"comments": "  deaf "}, instance=row)
    assert form.is_valid()
    assert row.comments == "  deaf"


@pytest.mark.parametrize(
    ("make", "column", "value", "why"),
    [
        (a_patient, "name", "x" * 65, "65 characters with its parts; the limit is 64"),
        (a_patient, "name", "A=" + "x" * 65, "65 characters with its parts; the limit is 64"),
        (a_patient, "name", "A^B^C^D^E^F", "6 components; a person name has at most 5"),
        (a_patient, "name", "A=B=C=D", "4 component groups; a person name has at most 3"),
        (a_patient, "name", "A\\B", "a backslash separates values"),
        (a_patient, "name", "A\x1b$B", "control character U+001B is not allowed"),
        (a_patient, "name", "A\ud800", "U+D800 is not a character"),
        (a_patient, "name", "", "This field cannot be blank"),
        (a_patient, "name", "   ", "This field cannot be blank"),
        (a_patient, "patient_id", "x" * 65, "characters; the limit is 64"),
        (a_patient, "patient_id", "P\n1", "control character U+000A"),
        (a_patient, "other_ids", "ok\\" + "x" * 65, "65 characters; the limit is 64"),
        (a_patient, "other_names", "A^B\\A=B=C=D", "4 component groups"),
        (a_patient, "sex", "X", "not a valid choice"),
        (a_patient, "pregnancy_status", 5, "not a valid choice"),
        (a_patient, "weight", "heavy", "not a decimal number"),
        (a_patient, "smoking_status", "yes", "capital letters"),
        (a_patient, "history", "a\x07b", "control character U+0007"),
        (a_request, "accession_number", "x" * 17, "17 characters; the limit is 16"),
        (a_request, "accession_number", "A\\1", "a backslash separates values"),
        (a_request, "referring_physician", "A^B^C^D^E^F", "6 components"),
        (a_procedure, "study_instance_uid", "1.02", "is not a UID"),
        (a_procedure, "study_instance_uid", "1." + "2" * 63, "characters; the limit is 64"),
        (a_procedure, "study_instance_uid", "", "This field cannot be blank"),
        (a_step, "modality", "ct", "'ct' contains 'c'"),
        (a_step, "modality", "", "This field cannot be blank"),
        (a_step, "step_id", "x" * 17, "17 characters; the limit is 16"),
        (a_step, "status", "DONE", "not a valid choice"),
        (a_step, "end_date", dt.date(2024, 7, 4), "The step ends before it starts"),
        (a_step, "start_date", None, "cannot be null"),
        (a_code, "value", "x" * 17, "17 characters; the limit is 16"),
        (a_code, "value", "", "exactly one of Code Value"),
        (a_code, "long_value", "another", "exactly one of Code Value"),
        (Station, "ae_title", "A" * 17, "17 characters; the limit is 16"),
        (Station, "ae_title", "CTÄ", "an AE title has ASCII letters"),
        (Station, "ae_title", " ", "This field cannot be blank"),
    ],
)
def test_what_dicom_cannot_hold_is_refused_with_the_reason(
    make: Make, column: str, value: Any, why: str
) -> None:
    row = make(**{column: value})
    with pytest.raises(ValidationError) as refusal:
        row.full_clean()
    assert why in " ".join(refusal.value.messages)
    assert set(refusal.value.message_dict) <= {column, "__all__"}


@pytest.mark.parametrize("make", [a_patient, a_request, a_procedure, a_step, a_code])
def test_usual_rows_are_clean(make: Make) -> None:
    make().full_clean()


def test_backslash_cannot_hide_in_a_single_value() -> None:
    # A station's name is one value of an attribute that may have several.
    with pytest.raises(ValidationError, match="backslash"):
        Station(ae_title="CT1", name="A\\B").full_clean()


# --- what the database holds ----------------------------------------------------------------------


def refused(change: Callable[[], object], constraint: str) -> None:
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        change()
    if connection.vendor == "postgresql":
        assert constraint in str(refusal.value)


def test_database_holds_what_identifies_a_row() -> None:
    step = book(patient(), stations=[station()])
    procedure = step.requested_procedure
    request = procedure.request
    anna = request.patient
    kind = ProcedureType(code="K", description="CT", modality="CT")
    trail.save(kind, by=actor)
    trail.save(a_code(), by=actor)

    def update(row: models.Model, **columns: Any) -> Callable[[], object]:
        return lambda: type(row)._default_manager.filter(pk=row.pk).update(**columns)

    refused(update(anna, name=""), "worklist_patient_is_identified")
    refused(update(anna, patient_id=""), "worklist_patient_is_identified")
    refused(update(procedure, study_instance_uid=""), "worklist_procedure_is_identified")
    refused(update(procedure, procedure_id=""), "worklist_procedure_is_identified")
    for column in ("step_id", "modality", "status"):
        refused(update(step, **{column: ""}), "worklist_step_is_identified")
    for end in ({"end_date": DAY - dt.timedelta(1)}, {"end_date": DAY, "end_time": dt.time(8, 59)}):
        refused(update(step, **end), "worklist_step_ends_after_start")
    refused(update(Station.objects.get(), ae_title=""), "worklist_station_ae_title")
    refused(update(kind, minutes=0), "worklist_proceduretype_minutes")
    refused(update(Code.objects.get(), value=""), "worklist_code_one_value")
    refused(update(Code.objects.get(), urn_value="urn:x"), "worklist_code_one_value")


def test_database_holds_what_is_unique() -> None:
    step = book(patient(), stations=[station()])
    procedure, anna = step.requested_procedure, step.requested_procedure.request.patient
    trail.save(a_code(), by=actor)
    number = procedure.request.accession_number
    twins: list[tuple[models.Model, str]] = [
        (a_patient(), "worklist_patient_id_once_per_issuer"),
        (
            ImagingServiceRequest(patient=anna, accession_number=number),
            "worklist_request_accession_once_per_patient",
        ),
        (
            new_step(requested_procedure=procedure, step_id=step.step_id),
            "worklist_step_id_once_per_procedure",
        ),
        (a_code(), "worklist_code_once"),
        (Station(ae_title="CT1"), "ae_title"),
        (
            RequestedProcedure(
                request=procedure.request,
                procedure_id="R",
                study_instance_uid=procedure.study_instance_uid,
            ),
            "study_instance_uid",
        ),
    ]
    for twin, constraint in twins:
        refused(twin.save, constraint)
        with pytest.raises(ValidationError):
            twin.full_clean()


def test_patients_of_two_issuers_may_share_an_id_and_requests_may_lack_a_number() -> None:
    anna = patient()
    patient(issuer="OTHER")
    for _ in range(2):
        trail.save(ImagingServiceRequest(patient=anna), by=actor)
    assert ImagingServiceRequest.objects.filter(accession_number="").count() == 2


# --- what is kept ---------------------------------------------------------------------------------


def test_name_keeps_its_three_groups_and_has_a_folded_form() -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    key = patient(name=name, other_names="MÜLLER^Anna^\\Meier^ANNA").pk
    kept = Patient.objects.get(pk=key)
    assert kept.name == name
    assert kept.name_folded == "yamada^tarou=山田^太郎=やまだ^たろう"
    assert kept.other_names_folded == "müller^anna\\meier^anna"


def test_longest_name_of_three_groups_is_kept_whole() -> None:
    name = "x" * 64 + "=" + "山" * 64 + "=" + "や" * 64
    assert Patient.objects.get(pk=patient(name=name).pk).name == name


def test_search_column_follows_the_row() -> None:
    anna = patient(other_ids="X7\\X8")
    assert anna.search == "p1 muller anna x7 x8 mueller"
    anna.name = "Łukasiewicz^Jan"
    trail.save(anna, by=actor)
    assert Patient.objects.get(search="p1 lukasiewicz jan x7 x8").name_folded == "łukasiewicz^jan"


def test_spaces_around_a_value_are_not_kept() -> None:
    assert Patient.objects.get(pk=patient("  P1 ", " Müller^Anna  ").pk).patient_id == "P1"
    assert Patient.objects.get().name == "Müller^Anna"


def test_every_pn_column_folds() -> None:
    step = book(patient(), performing_physician="RÖNTGEN^W^")
    assert step.performing_physician_folded == "röntgen^w"


# --- system checks --------------------------------------------------------------------------------


def line(path: str, **other: Any) -> Attribute:
    return dataclasses.replace(attributes.find(*path.split(".")), **other)


def ids(*table: Attribute) -> set[str]:
    return {str(fault.id) for fault in checks.table_faults(table)}


def test_own_table_has_no_fault() -> None:
    assert not list(checks.table_faults(attributes.TABLE))


@pytest.mark.parametrize(
    ("fault", "attribute"),
    [
        ("worklist.E001", line("PatientID", keyword="PatientIdentity")),
        ("worklist.E002", line("PatientID", matching="O")),
        ("worklist.E002", line("PatientSex", matching="R")),
        ("worklist.E002", line("PatientSex", returned="4")),
        ("worklist.E003", line("ReferencedStudySequence", items=[])),
        ("worklist.E004", line("PatientSex", column="requested_procedure__gender")),
        ("worklist.E004", line("PatientSex", column="step_id__more")),
        ("worklist.E005", line("PatientSex", column="modality")),
        ("worklist.E005", line("PatientSex", column="id")),
    ],
)
def test_fault_in_the_table_is_found(fault: str, attribute: Attribute) -> None:
    assert ids(attribute) == {fault}


def test_column_of_the_wrong_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    column = Patient._meta.get_field("birth_date")
    monkeypatch.setattr(column, "keyword", "PatientSex")
    path = "requested_procedure__request__patient__birth_date"
    assert ids(line("PatientSex", column=path)) == {"worklist.E006"}


def test_name_without_a_folded_column_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patient._meta.get_field("name_folded"), "of", "another")
    assert ids(line("PatientName")) == {"worklist.E007"}


@pytest.mark.parametrize(
    ("fault", "name", "value"),
    [
        ("worklist.E010", "AE_TITLE", ""),
        ("worklist.E010", "AE_TITLE", "  "),
        ("worklist.E010", "AE_TITLE", "A" * 17),
        ("worklist.E010", "AE_TITLE", "Ä"),
        ("worklist.E011", "DICOM_MATCH_LIMIT", 0),
        ("worklist.E011", "DICOM_MATCH_LIMIT", 30_001),
        ("worklist.E012", "DICOM_MAX_ASSOCIATIONS", 0),
        ("worklist.E012", "DICOM_DATABASE_CONNECTIONS", 0),
        ("worklist.E013", "DICOM_PORT", -1),
        ("worklist.E013", "DICOM_PORT", 65536),
    ],
)
def test_setting_that_cannot_work_is_found(
    settings: Any, fault: str, name: str, value: object
) -> None:
    assert not checks.dicom_settings(None)
    setattr(settings, name, value)
    assert [found.id for found in checks.dicom_settings(None)] == [fault]


def test_what_is_wrong_with_a_text_is_told_in_the_language_of_the_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    german = {
        "%(length)d characters; the limit is %(limit)d": "%(length)d Zeichen, erlaubt %(limit)d"
    }
    monkeypatch.setattr(fields, "gettext", lambda sentence: german.get(sentence, sentence))
    column = ScheduledProcedureStep._meta.get_field("step_id")
    with pytest.raises(ValidationError) as caught:
        column.validate("x" * 17, None)
    assert caught.value.messages == ["17 Zeichen, erlaubt 16"]
