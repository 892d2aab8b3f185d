"""Patients who have had their time become pseudonyms; all of one patient is told to who asks."""

from __future__ import annotations

import datetime as dt
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from django.test import Client
from django.utils import timezone

from dicomscp.models import Query
from tests.cast import actor, patient, step
from worklist import privacy, scheduling
from worklist.audit import looks, seals, trail
from worklist.audit.models import AuditEvent
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    PatientMerge,
    RequestedProcedure,
    ScheduledProcedureStep,
    User,
)

pytestmark = pytest.mark.django_db
ROWS: tuple[type[models.Model], ...] = (
    Patient,
    ImagingServiceRequest,
    RequestedProcedure,
    ScheduledProcedureStep,
    PatientMerge,
)
LONG_AGO = dt.date(2009, 3, 2)
OLD = timezone.make_aware(dt.datetime(2009, 3, 3))


def of_old(patient_id: str = "P1", **more: Any) -> ScheduledProcedureStep:
    """An exam of long ago, of a patient whom nobody has touched since, full of the sentinel."""
    made = step(
        **{
            "PatientID": patient_id,
            "PatientName": "Sentinel^Anna",
            "OtherPatientIDs": "SENTINEL-7",
            "PatientBirthDate": dt.date(1931, 5, 1),
            "PatientSex": "F",
            "PatientAddress": "Sentinel street 1",
            "PatientComments": "sister of Sentinel^Eva",
            "MedicalAlerts": "SENTINEL",
            "AdmissionID": "SENTINEL-A",
            "ImagingServiceRequestComments": "call Mr Sentinel",
            "ReasonForTheRequestedProcedure": "Sentinel fell",
            "NamesOfIntendedRecipientsOfResults": "Sentinel^Doctor",
            "CommentsOnTheScheduledProcedureStep": "ask Sentinel",
            "ScheduledProcedureStepStartDate": LONG_AGO,
            **more,
        }
    )
    Patient.objects.filter(patient_id=patient_id).update(changed_at=OLD)
    return made


def anonymise(days: int = 3650, **options: Any) -> str:
    told = io.StringIO()
    call_command("anonymise", days=days, stdout=told, **options)
    return told.getvalue().strip()


def held_of(word: str) -> list[str]:
    """Each column of the worklist's rows that holds the word, in whichever case."""
    return [
        f"{model.__name__}.{name}"
        for model in ROWS
        for row in model._default_manager.values()
        for name, value in row.items()
        if word.lower() in str(value).lower()
    ]


@pytest.mark.parametrize("model", ROWS[:4])
def test_what_becomes_of_each_column_is_decided(model: type[models.Model]) -> None:
    decided = (
        *privacy.CLEARED.get(model, ()),
        *privacy.REPLACED.get(model, ()),
        *privacy.KEPT.get(model, ()),
    )
    columns = [
        field.name
        for field in model._meta.concrete_fields
        if field.editable and not field.primary_key
    ]
    assert sorted(decided) == sorted(columns)


# --- pseudonyms -----------------------------------------------------------------------------------


def test_nothing_that_tells_who_it_was_is_left_and_the_way_to_the_images_is() -> None:
    made = of_old(AccessionNumber="A17", StudyInstanceUID="1.2.3.17")
    assert held_of("sentinel")
    assert anonymise().startswith("1 patients without exam or change since ")
    assert held_of("sentinel") == []
    assert held_of("1931") == []
    person = Patient.objects.get()
    assert person.patient_id.startswith("ANON-")
    assert person.name.removeprefix("Anonymous^") in person.patient_id
    assert "anonymous" in person.search
    assert person.sex == "F"
    procedure = RequestedProcedure.objects.get()
    assert (procedure.request.accession_number, procedure.study_instance_uid) == ("A17", "1.2.3.17")
    assert ScheduledProcedureStep.objects.get() == made


def test_who_was_merged_goes_with_the_one_whom_she_became() -> None:
    of_old("P1")
    of_old("P2", PatientName="Sentinel^Ann")
    survivor, merged = Patient.objects.order_by("pk")
    scheduling.merge(survivor, merged, by=actor)
    assert anonymise().startswith("0 ")  # the merge was a change
    Patient.objects.update(changed_at=OLD)
    assert anonymise().startswith("1 ")
    assert held_of("sentinel") == []
    assert Patient.objects.get(merged_into=survivor).patient_id.startswith("ANON-")


@pytest.mark.parametrize(
    "still_here",
    [
        {"ScheduledProcedureStepStartDate": dt.date.today()},
        {"ScheduledProcedureStepStartDate": dt.date.today() + dt.timedelta(days=90)},
        {"ScheduledProcedureStepStartDate": dt.date.today() - dt.timedelta(days=3650)},
    ],
)
def test_who_has_an_exam_since_stays(still_here: dict[str, Any]) -> None:
    of_old()
    of_old(**still_here)
    assert anonymise().startswith("0 ")
    assert held_of("sentinel")


def test_who_was_changed_since_or_is_a_pseudonym_already_stays() -> None:
    of_old()
    person = Patient.objects.get()
    person.telephone_numbers = "17"
    trail.save(person, by=actor)
    assert anonymise().startswith("0 ")
    Patient.objects.update(changed_at=OLD)
    assert anonymise().startswith("1 ")
    Patient.objects.update(changed_at=OLD)
    assert anonymise().startswith("0 ")


def test_an_exam_that_is_booked_meanwhile_is_seen() -> None:
    of_old()
    person = Patient.objects.get()
    before = dt.date.today() - dt.timedelta(days=3650)
    assert list(privacy.inactive(before)) == [person]
    step(PatientID="P1", ScheduledProcedureStepStartDate=dt.date.today())
    assert not privacy.anonymise(person.pk, before=before, by=actor, reason="")
    assert held_of("sentinel")


def test_it_is_signed_without_what_was_there_and_the_trail_stays_whole() -> None:
    person = patient("P1", "Sentinel^Anna")
    Patient.objects.update(changed_at=OLD)
    seals.seal()
    anonymise()
    event = AuditEvent.objects.filter(actor="anonymise").get()
    assert (event.action, event.object_id) == ("change", str(person.pk))
    assert event.reason == "no exam and no change for 3650 days"
    assert set(event.before.values()) == {"(hidden)"}
    assert {"name", "patient_id"} <= event.before.keys()
    assert "sentinel" not in f"{event.object_label} {event.before} {event.after}".lower()
    # What was told before was told: it is sealed.
    assert AuditEvent.objects.filter(object_label__contains="SENTINEL").exists()
    assert seals.verify().faults == []


def test_its_pages_can_be_seen_afterwards() -> None:
    made = of_old()
    anonymise()
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="quiet-lake-19"))
    for path in (f"/patients/{Patient.objects.get().pk}/", f"/exams/{made.pk}/", "/audit/"):
        page = client.get(path)
        assert page.status_code == 200, path
        assert "anon" in page.content.decode().lower(), path


def test_a_dry_run_changes_nothing() -> None:
    of_old()
    assert anonymise(dry_run=True).endswith("(dry run)")
    assert held_of("sentinel")
    assert not AuditEvent.objects.filter(actor="anonymise").exists()


def test_less_than_the_journal_keeps_is_refused(settings: Any) -> None:
    settings.JOURNAL_DAYS = 30
    with pytest.raises(CommandError, match=r"less than JOURNAL_DAYS \(30\)"):
        anonymise(29)


# --- all of one patient ---------------------------------------------------------------------------


def export(patient_id: str = "P1", *more: str, **options: Any) -> Any:
    path = Path(options.pop("folder")) / "patient.json"
    call_command("export_patient", patient_id, str(path), *more, stderr=io.StringIO(), **options)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return json.loads(path.read_text("utf-8"))


def asked(*steps: ScheduledProcedureStep, calling: str = "CT1") -> Query:
    return Query.objects.create(
        at=timezone.now(),
        calling=calling,
        address="10.0.0.5",
        identifier=b"",
        keys=1,
        sent=len(steps),
        steps=[each.pk for each in steps],
        milliseconds=1,
    )


def test_all_that_is_held_of_a_patient_is_told(tmp_path: Path) -> None:
    mine, others = of_old("P1"), of_old("P2", PatientName="Other^Olga")
    asked(mine, others)
    asked(others, calling="MR1")
    person, other = Patient.objects.order_by("pk")
    person.occupation = "Pilot"
    trail.save(person, by=actor)
    looks.seen([other.pk, person.pk], by=actor, label="Board")
    trail.note("view", other, by=actor)
    told = export(folder=tmp_path, reason="request 17")
    assert [each["name"] for each in told["patients"]] == ["Sentinel^Anna"]
    assert [each["comments"] for each in told["orders"]] == ["call Mr Sentinel"]
    assert [each["reason"] for each in told["procedures"]] == ["Sentinel fell"]
    assert [each["stations"] for each in told["steps"]] == [["CT1"]]
    assert [(each["calling"], each["steps"]) for each in told["queries"]] == [("CT1", [mine.pk])]
    changed, seen = told["audit_events"]
    assert changed["after"]["occupation"] == "Pilot"
    # Whom else the list has shown is not this patient's.
    assert seen["after"]["patients"] == [person.pk]
    assert "Olga" not in json.dumps(told)
    signed = AuditEvent.objects.get(action="export")
    assert (signed.actor, signed.object_id, signed.reason) == (
        "export_patient",
        str(person.pk),
        "request 17",
    )


def test_an_id_that_was_merged_leads_to_all_of_the_patient(tmp_path: Path) -> None:
    of_old("P1")
    of_old("P2")
    survivor, merged = Patient.objects.order_by("pk")
    scheduling.merge(survivor, merged, by=actor)
    told = export("P2", folder=tmp_path)
    assert [each["patient_id"] for each in told["patients"]] == ["P1", "P2"]
    assert len(told["steps"]) == 2
    assert len(told["merges"]) == 1


def test_an_id_of_nobody_or_of_several_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no patient with this ID"):
        export("P9", folder=tmp_path)
    for issuer in ("", "CLINIC"):
        patient("P1", issuer=issuer)
    with pytest.raises(CommandError, match="--issuer, one of '', 'CLINIC'"):
        export("P1", folder=tmp_path)
    (told,) = export("P1", "--issuer=CLINIC", folder=tmp_path)["patients"]
    assert told["issuer"] == "CLINIC"


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    patient()
    (tmp_path / "patient.json").write_text("mine")
    with pytest.raises(CommandError, match="File exists"):
        export(folder=tmp_path)
    assert (tmp_path / "patient.json").read_text() == "mine"
