"""import_wl: files as sites have them become rows, once."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from pydicom import config, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests import tools
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepProtocolCode,
    StepStation,
)

pytestmark = pytest.mark.django_db

CLERK = Actor("ines")


def step_item(**given: Any) -> Dataset:
    item = Dataset()
    values = {
        "ScheduledStationAETitle": "CT1",
        "ScheduledProcedureStepStartDate": "20260706",
        "ScheduledProcedureStepStartTime": "0930",
        "Modality": "CT",
        "ScheduledProcedureStepDescription": "CT Thorax",
        "ScheduledProcedureStepID": "SPS1",
        **given,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(item, keyword, value)
    return item


def data_set(step: dict[str, Any] | None = None, **given: Any) -> Dataset:
    ds = Dataset()
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Müller^Anna",
        "PatientID": "PAT1",
        "PatientSex": "F",
        "AccessionNumber": "ACC1",
        "StudyInstanceUID": "1.2.3.1",
        "RequestedProcedureID": "RP1",
        "RequestedProcedureDescription": "Thorax",
        "ScheduledProcedureStepSequence": [step_item(**(step or {}))],
        **given,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def code(value: str, meaning: str, **given: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99SITE", meaning
    for keyword, text in given.items():
        setattr(item, keyword, text)
    return item


def write(path: Path, ds: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.31")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5")
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)
    return path


def write_bare(path: Path, ds: Dataset, *, is_implicit: bool) -> Path:
    dcmwrite(path, ds, implicit_vr=is_implicit, little_endian=True)
    return path


def run(*paths: Path, dry_run: bool = False, fails: bool = False) -> str:
    told = io.StringIO()
    status: Any = 0
    try:
        call_command("import_wl", *map(str, paths), dry_run=dry_run, stdout=told)
    except SystemExit as stop:
        status = stop.code
    assert status == (1 if fails else 0), told.getvalue()
    return told.getvalue()


def everything() -> dict[str, list[dict[str, Any]]]:
    ours = apps.get_app_config("worklist").get_models(include_auto_created=True)
    models: list[Any] = [*ours, AuditEvent]
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models
    }


def test_a_file_becomes_rows_of_every_kind(tmp_path: Path) -> None:
    ds = data_set(
        {
            "ScheduledStationAETitle": ["CT1", "CT2"],
            "ScheduledStationName": ["CT_ONE", "CT_TWO"],
            "ScheduledProcedureStepLocation": "Room 3",
            "ScheduledProtocolCodeSequence": [code("B", "second"), code("A", "first")],
        },
        RequestedProcedureCodeSequence=[code("RP", "Thorax")],
        Allergies=["Latex", "Jod"],
        PatientBirthDate="19700203",
        PregnancyStatus=1,
        PatientWeight="70.50",
    )
    told = run(write(tmp_path / "a.wl", ds))
    assert "1 data sets in 1 files: 1 went in with 1 steps, 0 did not." in told
    step = ScheduledProcedureStep.objects.get()
    patient = step.requested_procedure.request.patient
    assert patient.name == "Müller^Anna"
    assert patient.name_folded == "müller^anna"
    assert (patient.allergies, patient.weight, patient.pregnancy_status) == (
        "Latex\\Jod",
        "70.50",
        1,
    )
    assert step.status == "SCHEDULED"
    assert step.station_names == "CT_ONE\\CT_TWO"
    assert [row.station.ae_title for row in StepStation.objects.all()] == ["CT1", "CT2"]
    assert [row.code.value for row in StepProtocolCode.objects.all()] == ["B", "A"]
    assert step.requested_procedure.code is not None
    assert step.requested_procedure.code.meaning == "Thorax"
    station = Station.objects.get(ae_title="CT2")
    assert (station.name, station.modality, station.location) == ("CT_TWO", "CT", "Room 3")
    event = AuditEvent.objects.get(model="worklist.scheduledprocedurestep")
    assert (event.actor, event.action) == ("import_wl", "create")
    assert event.after["stations"] == ["CT1 CT_ONE", "CT2 CT_TWO"]
    assert len(event.after["protocol_codes"]) == 2


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Anna"),
        ("ISO_IR 144", "Иванов^Иван"),
        ("ISO_IR 126", "Καρράς^Γιώργος"),
        ("ISO_IR 101", "Łukasz^Żółć"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ],
)
def test_every_script_is_read(tmp_path: Path, character_set: Any, name: str) -> None:
    run(write(tmp_path / "a.wl", data_set(SpecificCharacterSet=character_set, PatientName=name)))
    assert Patient.objects.get().name == name


def test_gb2312_escapes_are_read_and_not_kept(tmp_path: Path) -> None:
    ds = data_set(SpecificCharacterSet=["", "ISO 2022 IR 58"], PatientName="Zhang")
    path = write(tmp_path / "a.wl", ds)
    content = path.read_bytes()
    name = b"Zhang^XiaoDong=\x1b$)A" + "张".encode("gb2312") + b"^\x1b$)A" + "小东".encode("gb2312")
    name += b" " * (len(name) % 2)
    old = b"\x10\x00\x10\x00PN\x06\x00Zhang "
    assert old in content
    path.write_bytes(
        content.replace(old, b"\x10\x00\x10\x00PN" + len(name).to_bytes(2, "little") + name)
    )
    run(path)
    assert Patient.objects.get().name == "Zhang^XiaoDong=张^小东"


WRITERS: dict[str, Callable[[Path, Dataset], Path]] = {
    "part 10 explicit": lambda path, ds: write(path, ds, ExplicitVRLittleEndian),
    "part 10 implicit": lambda path, ds: write(path, ds, ImplicitVRLittleEndian),
    "part 10 big endian": lambda path, ds: write(path, ds, ExplicitVRBigEndian),
    "part 10 deflated": lambda path, ds: write(path, ds, DeflatedExplicitVRLittleEndian),
    "bare implicit": lambda path, ds: write_bare(path, ds, is_implicit=True),
    "bare explicit": lambda path, ds: write_bare(path, ds, is_implicit=False),
    "json": lambda path, ds: _write_json(path, ds.to_json_dict()),
    "json array": lambda path, ds: _write_json(path, [ds.to_json_dict()]),
}


def _write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_every_format_gives_the_same_rows(
    tmp_path: Path, writer: Callable[[Path, Dataset], Path]
) -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    ds = data_set(PatientName=name, PatientWeight="70.5", PregnancyStatus=3, OtherPatientIDs=["A"])
    run(writer(tmp_path / "a.json" if "json" in str(writer) else tmp_path / "a.wl", ds))
    patient = Patient.objects.get()
    assert (patient.name, patient.weight, patient.pregnancy_status) == (name, "70.5", 3)
    assert patient.other_ids == "A"
    step = ScheduledProcedureStep.objects.get()
    assert (str(step.start_date), str(step.start_time)) == ("2026-07-06", "09:30:00")


def test_folders_are_searched_and_other_files_left_alone(tmp_path: Path) -> None:
    below = tmp_path / "ae" / "deep"
    below.mkdir(parents=True)
    write(below / "A.WL", data_set())
    write(below / "b.dcm", data_set({"ScheduledProcedureStepID": "SPS2"}))
    (below / "lockfile").touch()
    (below / "readme.txt").write_text("not a data set")
    assert "2 data sets in 2 files: 2 went in" in run(tmp_path)


def test_the_blanks_and_tabs_of_a_long_text_are_kept(tmp_path: Path) -> None:
    comments = "  1\tdeaf\r\n  2\tblind"
    run(write(tmp_path / "a.wl", data_set(PatientComments=f"{comments}  ")))
    assert Patient.objects.get().comments == comments


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    write(
        tmp_path / "full.wl",
        data_set(
            {"ScheduledProtocolCodeSequence": [code("B", "b"), code("A", "a")]},
            RequestedProcedureCodeSequence=[code("RP", "Thorax")],
        ),
    )
    unnamed = {"ScheduledProcedureStepID": None}
    write(
        tmp_path / "bare.wl",
        data_set(unnamed, StudyInstanceUID=None, RequestedProcedureID=None, AccessionNumber=""),
    )
    later = {**unnamed, "ScheduledProcedureStepStartTime": "1100"}
    write(
        tmp_path / "later.wl",
        data_set(later, StudyInstanceUID=None, RequestedProcedureID=None, AccessionNumber=""),
    )
    run(tmp_path)
    assert ScheduledProcedureStep.objects.count() == 3
    made = RequestedProcedure.objects.exclude(study_instance_uid="1.2.3.1")
    assert all(procedure.study_instance_uid.startswith("2.25.") for procedure in made)
    assert all(len(procedure.procedure_id) == 16 for procedure in made)
    assert ImagingServiceRequest.objects.filter(accession_number="").count() == 2
    before = everything()
    assert "scheduled procedure steps: 0 new, 0 changed" in run(tmp_path)
    assert everything() == before


def test_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.wl", data_set(StudyDescription="old"))
    (tmp_path / "b.wl").write_text("nonsense")
    before = everything()
    dry = run(tmp_path, dry_run=True, fails=True)
    assert everything() == before
    wet = run(tmp_path, fails=True)
    assert dry.replace(" (dry run: nothing was written)", "") == wet
    assert ScheduledProcedureStep.objects.count() == 1


def test_a_later_run_updates_signed_and_erases_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.wl"
    run(write(path, data_set(PatientWeight="70", Allergies=["Latex"])))
    step = ScheduledProcedureStep.objects.get()
    step.status = "ARRIVED"
    step.save()
    changed = {"ScheduledStationAETitle": ["CT2", "CT1"], "ScheduledProcedureStepStartTime": "1015"}
    told = run(write(path, data_set(changed, PatientName="Maier^Anna", PatientWeight="")))
    assert "scheduled procedure steps: 0 new, 1 changed" in told
    patient = Patient.objects.get()
    assert (patient.name, patient.weight, patient.allergies) == ("Maier^Anna", "70", "Latex")
    step.refresh_from_db()
    assert (step.status, str(step.start_time)) == ("ARRIVED", "10:15:00")
    assert [row.station.ae_title for row in StepStation.objects.all()] == ["CT2", "CT1"]
    changes = AuditEvent.objects.filter(action="change", actor="import_wl")
    assert {event.model for event in changes} == {
        "worklist.patient",
        "worklist.scheduledprocedurestep",
    }


def test_several_items_are_several_steps(tmp_path: Path) -> None:
    items = [step_item(), step_item(ScheduledProcedureStepID="SPS2", Modality="MR")]
    run(write(tmp_path / "a.wl", data_set(ScheduledProcedureStepSequence=items)))
    assert RequestedProcedure.objects.get().steps.count() == 2


def test_a_station_that_is_named_twice_is_kept_once_and_counted(tmp_path: Path) -> None:
    told = run(
        write(tmp_path / "a.wl", data_set({"ScheduledStationAETitle": ["CT1", "CT2", "CT1"]}))
    )
    assert "1  Scheduled Station AE Title (0040,0001): repeated value" in told
    assert [row.station.ae_title for row in StepStation.objects.all()] == ["CT1", "CT2"]


def test_what_the_model_does_not_hold_is_listed(tmp_path: Path) -> None:
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.3", "1.2.3.9"
    ds = data_set(
        {"AnatomicalOrientationType": "BIPED"},
        StudyDescription="old",
        ReferencedStudySequence=[study, study],
        RequestedProcedureCodeSequence=[code("A", "a"), code("B", "b")],
        ReasonForRequestedProcedureCodeSequence=[code("", "no value")],
        EthnicGroup="",
        StudyID="",
    )
    ds.add_new(0x00090010, "LO", "ACME")
    told = run(write(tmp_path / "a.wl", ds))
    for line in (
        "1  Study Description (0008,1030)",
        "1  Anatomical Orientation Type (0010,2210)",
        "1  Referenced Study Sequence (0008,1110): item",
        "1  Requested Procedure Code Sequence (0032,1064): item",
        "1  Reason for Requested Procedure Code Sequence (0040,100A): item",
        "1  Private attribute (0009,0010)",
    ):
        assert line in told
    assert "Study ID" not in told
    assert "Specific Character Set" not in told
    assert Code.objects.get().value == "A"


BAD: dict[str, tuple[Callable[[], Dataset], str]] = {
    "no name": (lambda: data_set(PatientName=""), "Patient's Name (0010,0010): it has no value"),
    "no step": (
        lambda: data_set(ScheduledProcedureStepSequence=[]),
        "Scheduled Procedure Step Sequence (0040,0100): it has no item",
    ),
    "no AE title": (
        lambda: data_set({"ScheduledStationAETitle": None}),
        "Scheduled Station AE Title (0040,0001): it has no value",
    ),
    "no time": (
        lambda: data_set({"ScheduledProcedureStepStartTime": ""}),
        "Scheduled Procedure Step Start Time (0040,0003): it has no value",
    ),
    "sex": (
        lambda: data_set(PatientSex="X"),
        "Patient's Sex (0010,0040): 'X' is not one of M, F, O",
    ),
    "pregnancy": (
        lambda: data_set(PregnancyStatus=7),
        "Pregnancy Status (0010,21C0): '7' is not one of 1, 2, 3, 4",
    ),
    "status": (
        lambda: data_set({"ScheduledProcedureStepStatus": "GONE"}),
        "Scheduled Procedure Step Status (0040,0020): 'GONE' is not one of SCHEDULED, ARRIVED",
    ),
    "date": (
        lambda: data_set({"ScheduledProcedureStepStartDate": "20261301"}),
        "Scheduled Procedure Step Start Date (0040,0002): not a date: '20261301'",
    ),
    "long": (
        lambda: data_set(AccessionNumber="A" * 17),
        "Accession Number (0008,0050): 17 characters; the limit is 16",
    ),
    "backslash": (lambda: data_set(PatientID=["A", "B"]), "Patient ID (0010,0020): a backslash"),
    "two code values": (
        lambda: data_set(RequestedProcedureCodeSequence=[code("A", "a", LongCodeValue="A" * 20)]),
        "Requested Procedure Code Sequence (0032,1064) > Long Code Value (0008,0119): ",
    ),
    "one id twice": (
        lambda: data_set(ScheduledProcedureStepSequence=[step_item(), step_item()]),
        "Scheduled Procedure Step ID (0040,0009): 'SPS1' stands in two items",
    ),
}


@pytest.mark.parametrize(("made", "reason"), BAD.values(), ids=BAD)
def test_a_bad_file_tells_why_and_the_others_go_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[], Dataset],
    reason: str,
) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    bad = write(tmp_path / "bad.wl", made())
    good = data_set(PatientID="PAT2", StudyInstanceUID="1.2.3.2", AccessionNumber="ACC2")
    write(tmp_path / "good.wl", good)
    told = run(tmp_path, fails=True)
    assert f"{bad}: {reason}" in told
    assert [patient.patient_id for patient in Patient.objects.all()] == ["PAT2"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.wl", b""),
        ("a.wl", b"This is a text, and no data set at all.\n"),
        ("a.wl", b"\0" * 200),
        ("a.dcm", b"\x89PNG\r\n\x1a\n" + b"\1" * 300),
        ("a.wl", b"\0" * 128 + b"DICM" + b"garbage that is no data set"),
        ("a.json", b"{nonsense"),
        ("a.json", b"[]"),
        ("a.json", b"[1]"),
        ("a.json", b'{"PatientName": "X"}'),
        ("a.json", b'{"00100010": {"vr": "PN", "Value": "X"}}'),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    told = run(path, fails=True)
    assert told.startswith(str(path))
    assert Patient.objects.count() == 0


@pytest.mark.parametrize("is_implicit", [True, False])
def test_a_cut_file_is_refused(tmp_path: Path, *, is_implicit: bool) -> None:
    # Behind the step nothing may stand: a cut between two elements there cannot be seen.
    ds = data_set(RequestedProcedureID=None)
    path = write_bare(tmp_path / "a.wl", ds, is_implicit=is_implicit)
    content = path.read_bytes()
    for end in range(len(content) - 1, 0, -1):
        path.write_bytes(content[:end])
        run(path, dry_run=True, fails=True)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian]
)
@pytest.mark.parametrize("junk", [b"\0", b"\0\0\0\0", b"junk behind the data set"])
def test_what_stands_behind_a_data_set_is_refused(tmp_path: Path, syntax: UID, junk: bytes) -> None:
    path = write(tmp_path / "a.wl", data_set(PregnancyStatus=3), syntax)
    run(path)
    assert Patient.objects.get().pregnancy_status == 3
    path.write_bytes(path.read_bytes() + junk)
    assert "not a DICOM data set" in run(path, fails=True)


def test_undecodable_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wl", data_set())
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xfe"))
    told = run(path, fails=True)
    assert "Patient's Name (0010,0010): b'M\\xff\\xfe" in told


def test_a_missing_file_is_a_bad_file(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in run(tmp_path / "nowhere.wl", fails=True)


CONTRADICTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "name": (
        {"PatientName": "Maier^Anna"},
        {"StudyInstanceUID": "1.2.3.2", "AccessionNumber": "ACC2"},
        "Patient's Name (0010,0010): 'Maier^Anna' contradicts 'Müller^Anna' in",
    ),
    "birth date": (
        {"PatientBirthDate": "19700101"},
        {"StudyInstanceUID": "1.2.3.2", "AccessionNumber": "A", "PatientBirthDate": "19700102"},
        "Patient's Birth Date (0010,0030): '19700101' contradicts '19700102' in",
    ),
    "study of two patients": (
        {"PatientID": "PAT2"},
        {},
        "Patient ID (0010,0020): 'PAT2' contradicts 'PAT1' in",
    ),
    "study of two issuers": (
        {"IssuerOfPatientID": "G"},
        {"IssuerOfPatientID": "H"},
        "Issuer of Patient ID (0010,0021): 'G' contradicts 'H' in",
    ),
    "study of two orders": (
        {"AccessionNumber": "ACC2"},
        {},
        "Accession Number (0008,0050): 'ACC2' contradicts 'ACC1' in",
    ),
}


@pytest.mark.parametrize(("first", "last", "reason"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
@pytest.mark.parametrize("batch", [1, 500])
def test_of_two_files_about_different_things_the_last_goes_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: dict[str, Any],
    last: dict[str, Any],
    reason: str,
    batch: int,
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    a = write(tmp_path / "a.wl", data_set(**first))
    b = write(tmp_path / "b.wl", data_set({"ScheduledProcedureStepID": "SPS2"}, **last))
    for dry_run in (True, False):
        told = run(tmp_path, fails=True, dry_run=dry_run)
        assert f"{a}: {reason} {b}" in told
    assert ScheduledProcedureStep.objects.get().step_id == "SPS2"


DIFFERENCES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "patient": (
        {"PatientWeight": "70", "PatientName": "MÜLLER^ANNA"},
        {"StudyInstanceUID": "1.2.3.2", "AccessionNumber": "ACC2", "PatientWeight": "72"},
        "Patient's Weight (0010,1030): '70' is not kept; {b} says '72'",
    ),
    "name without its other groups": (
        {"PatientName": "Yamada^Tarou"},
        {"PatientName": "Yamada^Tarou=山田^太郎"},
        "Patient's Name (0010,0010): 'Yamada^Tarou' is not kept; {b} says 'Yamada^Tarou=山田^太郎'",
    ),
    "order": (
        {"ReferringPhysicianName": "A"},
        {"StudyInstanceUID": "1.2.3.2", "ReferringPhysicianName": "B"},
        "Referring Physician's Name (0008,0090): 'A' is not kept; {b} says 'B'",
    ),
    "procedure": (
        {"RequestedProcedureDescription": "Abdomen"},
        {},
        "Requested Procedure Description (0032,1060): 'Abdomen' is not kept; {b} says 'Thorax'",
    ),
}


@pytest.mark.parametrize(("first", "last", "note"), DIFFERENCES.values(), ids=DIFFERENCES)
@pytest.mark.parametrize("batch", [1, 500])
def test_files_that_differ_go_in_and_the_last_one_holds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: dict[str, Any],
    last: dict[str, Any],
    note: str,
    batch: int,
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    a = write(tmp_path / "a.wl", data_set(**first))
    b = write(tmp_path / "b.wl", data_set({"ScheduledProcedureStepID": "SPS2"}, **last))
    dry = run(tmp_path, dry_run=True)
    told = run(tmp_path)
    assert dry.replace(" (dry run: nothing was written)", "") == told
    assert f"  {a}: {note.format(b=b)}" in told
    assert ScheduledProcedureStep.objects.count() == 2
    patient = Patient.objects.get()
    assert patient.weight == last.get("PatientWeight", "")
    assert patient.name == last.get("PatientName", "Müller^Anna")
    before = everything()
    assert "patients: 0 new, 0 changed" in run(tmp_path)
    assert everything() == before


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parametrize("names", [("a.wl", "b.wl"), ("b.wl", "a.wl")])
@pytest.mark.parametrize("runs", [1, 2])
def test_an_issuer_that_comes_later_is_adopted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, str],
    batch: int,
    runs: int,
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    without = write(tmp_path / names[0], data_set())
    if runs == 2:
        run(without)
    write(
        tmp_path / names[1],
        data_set({"ScheduledProcedureStepID": "SPS2"}, IssuerOfPatientID="H"),
    )
    # Of another study and under the same issuer: the same patient in any order.
    write(
        tmp_path / "0.wl",
        data_set(StudyInstanceUID="1.2.3.2", AccessionNumber="ACC2", IssuerOfPatientID="H"),
    )
    dry = run(tmp_path, dry_run=True)
    assert dry.replace(" (dry run: nothing was written)", "") == run(tmp_path)
    assert Patient.objects.get().issuer == "H"
    assert ScheduledProcedureStep.objects.count() == 3
    before = everything()
    run(tmp_path)
    assert everything() == before


def test_an_issuer_that_another_patient_has_is_not_adopted(tmp_path: Path) -> None:
    run(write(tmp_path / "a.wl", data_set()))
    other = data_set(StudyInstanceUID="1.2.3.2", AccessionNumber="ACC2", IssuerOfPatientID="H")
    run(write(tmp_path / "b.wl", other))
    assert Patient.objects.count() == 2
    told = run(write(tmp_path / "a.wl", data_set(IssuerOfPatientID="H")))
    assert "Issuer of Patient ID (0010,0021): 'H' is not kept; another patient 'PAT1' has" in told
    assert sorted(patient.issuer for patient in Patient.objects.all()) == ["", "H"]


def test_an_end_before_the_start_is_left_out_and_counted(tmp_path: Path) -> None:
    ends = {"ScheduledProcedureStepEndDate": "20260706", "ScheduledProcedureStepEndTime": "0900"}
    told = run(write(tmp_path / "a.wl", data_set(ends)))
    assert "1  Scheduled Procedure Step End Date (0040,0004): before the start" in told
    assert "1  Scheduled Procedure Step End Time (0040,0005): before the start" in told
    step = ScheduledProcedureStep.objects.get()
    assert (step.end_date, step.end_time) == (None, None)


def test_a_step_that_moves_past_its_end_loses_it(tmp_path: Path) -> None:
    ends = {"ScheduledProcedureStepEndDate": "20260706", "ScheduledProcedureStepEndTime": "1000"}
    run(write(tmp_path / "a.wl", data_set(ends)))
    assert str(ScheduledProcedureStep.objects.get().end_date) == "2026-07-06"
    path = write(tmp_path / "a.wl", data_set({"ScheduledProcedureStepStartDate": "20260707"}))
    run(path, dry_run=True)
    run(path)
    step = ScheduledProcedureStep.objects.get()
    assert (str(step.start_date), step.end_date, step.end_time) == ("2026-07-07", None, None)
    before = everything()
    run(path)
    assert everything() == before


@pytest.mark.parametrize("batch", [1, 500])
def test_empty_values_contradict_nothing_and_are_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    write(tmp_path / "a.wl", data_set(AccessionNumber="", PatientSex=""))
    write(tmp_path / "b.wl", data_set({"ScheduledProcedureStepID": "SPS2"}))
    write(
        tmp_path / "c.wl",
        data_set({"ScheduledProcedureStepID": "SPS3"}, AccessionNumber="", PatientSex=""),
    )
    dry = run(tmp_path, dry_run=True)
    assert dry.replace(" (dry run: nothing was written)", "") == run(tmp_path)
    request = ImagingServiceRequest.objects.get()
    assert (request.accession_number, request.patient.sex) == ("ACC1", "F")
    assert request.procedures.get().steps.count() == 3


def test_studies_of_one_order_share_its_request(tmp_path: Path) -> None:
    write(tmp_path / "a.wl", data_set())
    write(tmp_path / "b.wl", data_set(StudyInstanceUID="1.2.3.2"))
    run(tmp_path / "a.wl")
    run(tmp_path / "b.wl")
    assert ImagingServiceRequest.objects.get().procedures.count() == 2


@tools.needs("postgres")
@pytest.mark.parametrize("batch", [1, 500])
def test_what_the_database_refuses_does_not_keep_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    # A character that NFC makes three of: the form in which names are compared does not fit.
    long = "\\".join(["\U0001d160" * 64] * 60)
    for name, patient, other_names in (("a", "1", ""), ("b", "2", long), ("c", "3", "")):
        ds = data_set(
            PatientID=patient,
            StudyInstanceUID=f"1.2.3.{patient}",
            AccessionNumber=f"ACC{patient}",
            OtherPatientNames=other_names,
        )
        write(tmp_path / f"{name}.wl", ds)
    told = run(tmp_path, fails=True)
    assert f"{tmp_path / 'b.wl'}: the database refuses it: value too long" in told
    assert "3 data sets in 3 files: 2 went in with 2 steps, 1 did not." in told
    assert "patients: 2 new, 0 changed" in told
    assert sorted(patient.patient_id for patient in Patient.objects.all()) == ["1", "3"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("batch", [5, 500])
def test_two_imports_at_once_are_as_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("dicomscp.wl_import.BATCH", batch)
    for number in range(40):
        patient = f"PAT{number % 7}"
        ds = data_set(
            {"ScheduledStationAETitle": f"CT{number % 5}"},
            PatientID=patient,
            StudyInstanceUID=f"1.2.3.{number}",
            AccessionNumber=f"ACC{number}",
        )
        write(tmp_path / f"{number}.wl", ds)
    together = threading.Barrier(2, timeout=30)

    def one(_: int) -> str:
        together.wait()
        try:
            return run(tmp_path)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        told = [*pool.map(one, range(2))]
    assert all("40 went in with 40 steps, 0 did not." in each for each in told)
    assert (Patient.objects.count(), ScheduledProcedureStep.objects.count()) == (7, 40)
    created = AuditEvent.objects.filter(action="create", model="worklist.scheduledprocedurestep")
    assert created.count() == 40
    assert not AuditEvent.objects.exclude(action="create").exists()


def test_a_stored_study_is_not_moved_to_another_patient(tmp_path: Path) -> None:
    run(write(tmp_path / "a.wl", data_set()))
    told = run(write(tmp_path / "a.wl", data_set(PatientID="PAT2")), fails=True)
    assert "'PAT2', but study 1.2.3.1 is stored under 'PAT1'" in told


def test_stations_that_are_there_are_left_as_they_are(tmp_path: Path) -> None:
    Station.objects.create(ae_title="CT1", name="OURS", modality="CT")
    run(write(tmp_path / "a.wl", data_set({"ScheduledStationName": "THEIRS"})))
    assert Station.objects.get().name == "OURS"
    assert ScheduledProcedureStep.objects.get().station_names == "THEIRS"
