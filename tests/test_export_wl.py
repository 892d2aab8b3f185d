"""export_wl: what was imported comes out again, and wlmscpfs serves it."""

from __future__ import annotations

import io
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pydicom
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomscp import wl_files
from tests.network import plain
from tests.strategies import one_of_each, worklists
from tests.test_import_wl import data_set, write
from tests.tools import needs
from worklist import attributes, values
from worklist.models import ScheduledProcedureStep

pytestmark = pytest.mark.django_db
SPECIFIC_CHARACTER_SET = 0x00080005


def export(folder: Path) -> str:
    told = io.StringIO()
    call_command("export_wl", str(folder), stdout=told)
    return told.getvalue()


def load(folder: Path) -> None:
    call_command("import_wl", str(folder), stdout=io.StringIO())


def as_data_set(entry: Mapping[str, Any]) -> Dataset:
    """The data set of plain values by keyword."""
    ds = Dataset()
    for keyword, value in entry.items():
        if not keyword[0].isupper():
            continue
        if dictionary_VR(keyword) == "SQ":
            setattr(ds, keyword, [as_data_set(item) for item in value])
        elif isinstance(value, tuple):
            setattr(ds, keyword, list(value))
        elif dictionary_VR(keyword) in ("DA", "TM"):
            setattr(ds, keyword, values.spell(value) if value is not None else "")
        else:
            setattr(ds, keyword, value)
    return ds


def held(found: Mapping[int, tuple[Any, ...]]) -> dict[int, tuple[Any, ...]]:
    """What has a value."""
    kept: dict[int, tuple[Any, ...]] = {}
    for tag, several in found.items():
        items = tuple(held(one) if isinstance(one, Mapping) else one for one in several)
        if any(items) and tag != SPECIFIC_CHARACTER_SET:
            kept[tag] = items
    return kept


def read(folder: Path) -> dict[str, dict[int, tuple[Any, ...]]]:
    return {path.name: held(plain(pydicom.dcmread(path))) for path in folder.glob("*.wl")}


def with_a_station(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries as files can have them: each step names a station."""
    found = []
    for entry in entries:
        (step,) = entry["ScheduledProcedureStepSequence"]
        titles = step["ScheduledStationAETitle"] or ("CT1",)
        step = {**step, "ScheduledStationAETitle": titles}
        found.append({**entry, "ScheduledProcedureStepSequence": (step,)})
    return found


def assert_comes_back(entries: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as place:
        theirs, ours = Path(place) / "theirs", Path(place) / "ours"
        theirs.mkdir()
        wanted = {}
        for number, entry in enumerate(entries):
            ds = as_data_set(entry)
            ds.SpecificCharacterSet = "ISO_IR 192"
            write(theirs / f"{number}.wl", ds)
            (step,) = ds.ScheduledProcedureStepSequence
            name = wl_files.file_name(ds.StudyInstanceUID, step.ScheduledProcedureStepID)
            wanted[name] = held(plain(pydicom.dcmread(theirs / f"{number}.wl")))
        load(theirs)
        export(ours)
        assert read(ours) == wanted
        # And once more, over what is there.
        load(ours)
        export(ours)
        assert read(ours) == wanted


@pytest.fixture(autouse=True)
def any_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)


def test_every_attribute_of_the_table_comes_back() -> None:
    entries = with_a_station(one_of_each().entries())
    filled = {tag for entry in entries for tag in held(plain(as_data_set(entry)))}
    assert {attribute.tag for attribute in attributes.TABLE} <= filled
    assert_comes_back(entries)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(worklists())
def test_whatever_goes_in_comes_out(worklist: Any) -> None:
    with transaction.atomic():
        assert_comes_back(with_a_station(worklist.entries()))
        transaction.set_rollback(True)


def test_files_are_part_10_in_explicit_vr_little_endian(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.wl", data_set(PatientName="Muller^Anna"))
    write(
        tmp_path / "in" / "b.wl",
        data_set(PatientID="PAT2", StudyInstanceUID="1.2.3.2", AccessionNumber=""),
    )
    load(tmp_path / "in")
    told = export(tmp_path / "out")
    assert told == f"2 steps written to {tmp_path / 'out'}.\n"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["1.2.3.1.SPS1.wl", "1.2.3.2.SPS1.wl", "lockfile"]
    assert (tmp_path / "out" / "lockfile").read_bytes() == b""
    ascii_only = pydicom.dcmread(tmp_path / "out" / "1.2.3.1.SPS1.wl")
    assert ascii_only.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert "SpecificCharacterSet" not in ascii_only
    other = pydicom.dcmread(tmp_path / "out" / "1.2.3.2.SPS1.wl")
    assert other.SpecificCharacterSet == "ISO_IR 192"
    assert other.PatientName == "Müller^Anna"
    assert other.AccessionNumber == ""


@given(st.text(min_size=1, max_size=16), st.text(min_size=1, max_size=16))
def test_file_names_are_safe_and_differ(one: str, other: str) -> None:
    names = [wl_files.file_name("1.2.3", step_id) for step_id in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all("/" not in name and name.isascii() and name.isprintable() for name in names)


def test_files_of_others_are_left_and_told(tmp_path: Path) -> None:
    (tmp_path / "old.wl").touch()
    assert "1 other .wl files were in the folder" in export(tmp_path)
    assert (tmp_path / "old.wl").exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="file"):
        export(tmp_path / "file")


@contextmanager
def wlmscpfs(folder: Path) -> Iterator[int]:
    """The port on which DCMTK's worklist server serves the AE folders in this folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["wlmscpfs", "--single-process", "-dfp", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "wlmscpfs does not listen"
        yield port
    finally:
        server.terminate()
        server.wait(timeout=10)


@needs("dcmtk")
def test_wlmscpfs_serves_an_exported_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.wl", data_set())
    load(tmp_path / "in")
    assert ScheduledProcedureStep.objects.count() == 1
    export(tmp_path / "out" / "WORKLIST")
    with wlmscpfs(tmp_path / "out") as port:
        answer = subprocess.run(
            [
                *("findscu", "-W", "-v", "-aec", "WORKLIST", "127.0.0.1", str(port)),
                *("-k", "PatientName", "-k", "PatientID=PAT1", "-k", "StudyInstanceUID"),
                *("-k", "ScheduledProcedureStepSequence[0].Modality=CT"),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    told = answer.stdout + answer.stderr
    assert "PAT1" in told, told
    assert "1.2.3.1" in told, told
