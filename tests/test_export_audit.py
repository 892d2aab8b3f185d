from __future__ import annotations

import datetime as dt
import io
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from django.core.management import CommandError, call_command

from tests.audit_schema import faults
from tests.cast import actor, book, patient, station
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def events() -> None:
    AuditEvent.objects.all().delete()


def export(path: Path, *options: str) -> list[bytes]:
    call_command("export_audit", str(path), *options, stderr=io.StringIO())
    return path.read_bytes().splitlines()


def test_every_event_is_one_valid_message_the_oldest_first(tmp_path: Path) -> None:
    book(patient(), stations=[station()])
    trail.note("sign-in", by=Actor("tom"))
    written = export(tmp_path / "audit.xml")
    assert [faults(line) for line in written] == [[]] * len(written)
    whens = [fromstring(line)[0].attrib["EventDateTime"] for line in written]
    assert whens == sorted(whens)
    assert len(written) == AuditEvent.objects.count() - 1
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.actor, event.object_label) == (
        "export",
        "export_audit",
        "audit trail",
    )
    assert event.after["rows"] == str(len(written))


def test_days_are_those_of_the_site_and_both_count(tmp_path: Path, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    for hour in (22, 23):
        trail.note("sign-in", by=Actor(f"at{hour}"))
        late = dt.datetime(2026, 11, 22, hour, 30, tzinfo=dt.UTC)
        AuditEvent.objects.filter(actor=f"at{hour}").update(at=late)

    def who(*options: str) -> list[str]:
        lines = export(tmp_path / "audit.xml", *options)
        return [fromstring(line)[1].attrib["UserID"] for line in lines]

    assert who("--since=2026-11-23", "--until=2026-11-23") == ["at23"]
    assert who("--since=2026-11-22", "--until=2026-11-22") == ["at22"]
    assert who("--until=2026-11-23") == ["at22", "at23"]


def test_standard_output_holds_messages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trail.note("sign-in", by=actor)
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=written))
    call_command("export_audit", stderr=io.StringIO())
    assert faults(written.getvalue()) == []


def test_a_file_is_its_owners_and_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.note("sign-in", by=actor)
    path = tmp_path / "audit.xml"
    export(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()

    def broken(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(CommandError, match="No space left on device"):
        export(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("options", [["--since=23.11.2026"], ["--since=2026-02-30"]])
def test_what_is_no_day_is_refused(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a day"):
        export(tmp_path / "audit.xml", *options)


def test_days_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="before --since"):
        export(tmp_path / "audit.xml", "--since=2026-11-23", "--until=2026-11-22")
    assert not AuditEvent.objects.exists()


def peak(path: Path) -> int:
    """Bytes that an export held at most."""
    tracemalloc.start()
    export_quietly(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def export_quietly(path: Path) -> None:
    call_command("export_audit", str(path), stderr=io.StringIO())


def test_memory_does_not_grow_with_the_trail(tmp_path: Path) -> None:
    def fill(count: int) -> None:
        noted = [trail.noted("view", by=actor, details={"text": "x" * 500}) for _ in range(count)]
        trail.sign(noted)

    path = tmp_path / "audit.xml"
    fill(1_000)
    export_quietly(path)
    small = peak(path)
    fill(3_000)
    assert peak(path) < small * 1.5
    assert path.read_bytes().count(b"\n") > 4_000
