"""The chain over the audit trail: whatever is done to it behind our back is found."""

from __future__ import annotations

import datetime as dt
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from tests import tools
from worklist.audit import guard, seals, trail
from worklist.audit.models import AuditEvent, Seal
from worklist.audit.trail import Actor

pytestmark = pytest.mark.django_db

BY = Actor("anna", "2001:db8::0:1")


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Without what the migrations have signed."""
    AuditEvent.objects.all().delete()


def taken_out(event: AuditEvent) -> int:
    """The number of an event that is no more there."""
    number = event.pk
    AuditEvent.objects.filter(pk=number).delete()
    return int(number)


def noted(count: int = 1) -> list[AuditEvent]:
    return [
        trail.note("export", by=BY, label=f"Liste {number}", details={"rows": 1.5, "names": ["ä"]})
        for number in range(count)
    ]


def faults() -> list[str]:
    return seals.verify().faults


def set_in(event: AuditEvent, column: str, value: str) -> None:
    """What somebody with the database's own tools does."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE audit_auditevent SET {column} = %s WHERE id = %s", [value, event.pk]
        )


def test_a_trail_that_nobody_has_touched_is_as_it_was_written() -> None:
    noted(3)
    assert seals.verify() == seals.Report(events=3, unsealed=3)
    assert seals.seal() == 3
    noted(2)
    report = seals.verify()
    assert (report.faults, report.events, report.seals, report.unsealed) == ([], 5, 1, 2)
    assert seals.seal() == 2
    assert seals.seal() == 0
    assert seals.verify() == seals.Report(events=5, seals=2)


CHANGES = {
    "actor": "berta",
    "action": "view",
    "reason": "so",
    "object_label": "Liste",
    "address": "10.0.0.1",
    "after": '{"rows": 2}',
    "before": '{"rows": 2}',
    "outcome": "8",
    "model": "worklist.patient",
    "object_id": "1",
    "at": "2026-01-01 00:00:00+00:00",
}


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("column", CHANGES)
def test_a_change_of_any_column_is_found(column: str, is_sealed: bool) -> None:
    _first, event, _last = noted(3)
    if is_sealed:
        seals.seal()
    set_in(event, column, CHANGES[column])
    assert faults() == [f"event {event.pk} was changed"]


def test_every_column_is_marked() -> None:
    columns = {field.name for field in AuditEvent._meta.concrete_fields}
    assert columns - {"id", "mark"} == set(CHANGES)


def test_a_change_that_also_takes_the_mark_away_is_found() -> None:
    event, *_ = noted(2)
    seals.seal()
    set_in(event, "actor", "berta")
    set_in(event, "mark", "")
    (fault,) = faults()
    assert "does not fit its events" in fault


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_event_that_was_taken_out_is_named(position: int) -> None:
    events = noted(3)
    seals.seal()
    gone = taken_out(events[position])
    assert faults() == [f"event {gone} is missing (seal 1)"]


def test_a_seal_that_was_taken_out_is_named() -> None:
    for _ in range(3):
        noted()
        seals.seal()
    Seal.objects.filter(number=2).delete()
    assert "seal 2 is missing" in faults()


def test_a_trail_cut_off_at_its_end_is_found_by_a_seal_kept_elsewhere() -> None:
    noted(2)
    seals.seal()
    event, *_ = noted()
    seals.seal()
    kept = seals.last()
    assert kept is not None
    event.delete()
    kept.delete()
    assert faults() == []
    (fault,) = seals.verify([(2, kept.digest)]).faults
    assert fault.startswith("seal 2 is not the one that was kept")


def test_an_event_put_in_where_a_number_was_free_is_found() -> None:
    first, gap, _last = noted(3)
    free = taken_out(gap)
    seals.seal()
    Seal.objects.update(at=timezone.now() - dt.timedelta(hours=25))
    forged = AuditEvent(pk=free, actor="anna", action="view", at=first.at - dt.timedelta(hours=25))
    forged.save(force_insert=True)
    assert f"event {free} was put in later" in faults()


def test_an_event_of_a_transaction_that_ends_late_is_sealed_by_the_next_seal() -> None:
    _first, late, _last = noted(3)
    number = taken_out(late)
    seals.seal()
    late.save(force_insert=True)
    noted()
    assert seals.seal() == 2
    assert seals.verify() == seals.Report(events=4, seals=2)
    assert taken_out(late) == number
    assert faults() == [f"event {number} is missing (seal 2)"]


def test_events_from_before_there_were_marks_are_sealed_as_they_are() -> None:
    event, other = noted(2)
    AuditEvent.objects.update(mark="")
    seals.seal()
    assert faults() == []
    set_in(event, "actor", "berta")
    assert len(faults()) == 1
    assert other.pk


def test_more_events_than_fit_one_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "_MOST", 2)
    noted(5)
    assert seals.seal() == 5
    assert seals.verify() == seals.Report(events=5, seals=3)


def test_an_earlier_key_still_holds(settings: object) -> None:
    noted(2)
    seals.seal()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]  # type: ignore[attr-defined]
    settings.SECRET_KEY = "another one"  # type: ignore[attr-defined]
    noted()
    assert faults() == []
    settings.SECRET_KEY_FALLBACKS = []  # type: ignore[attr-defined]
    assert len(faults()) == 2


def test_bulk_writes_are_marked() -> None:
    trail.sign([trail.noted("query", by=BY), trail.noted("query", by=BY)])
    assert faults() == []
    assert all(event.mark for event in AuditEvent.objects.all())


# --- the command ----------------------------------------------------------------------------------


def verify_audit(*arguments: str) -> str:
    out = io.StringIO()
    call_command("verify_audit", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_the_command_says_that_all_is_well_and_names_the_last_seal() -> None:
    noted(2)
    said = verify_audit()
    last = seals.last()
    assert "2 events, all as they were written; 2 of them newly sealed." in said
    assert f"Last seal: {last}" in said
    assert "0 of them newly sealed" in verify_audit("--anchor", str(last))


def test_the_command_names_what_is_wrong_and_seals_nothing() -> None:
    event, *_ = noted(2)
    set_in(event, "actor", "berta")
    with pytest.raises(CommandError, match="not as it was written: 1 fault"):
        verify_audit()
    assert seals.last() is None


def test_without_its_tables_the_command_says_so() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_seal RENAME TO gone")
    with pytest.raises(CommandError, match=r"The audit trail cannot be read: .*audit_seal"):
        verify_audit()


def test_an_anchor_that_is_none_is_refused() -> None:
    with pytest.raises(CommandError, match="is not a seal such as"):
        verify_audit("--anchor", "17")


# --- the database's guard -------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[None]:
    """The guard, in the test's own transaction."""
    guard.put_up("default")
    yield


@pytest.mark.parametrize(
    "attack",
    [
        lambda: AuditEvent.objects.update(actor="berta"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: Seal.objects.update(digest=""),
        lambda: Seal.objects.all().delete(),
    ],
)
@pytest.mark.usefixtures("guarded")
def test_the_database_refuses_to_change_the_trail(attack: Callable[[], object]) -> None:
    noted(2)
    seals.seal()
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        attack()
    assert seals.verify() == seals.Report(events=2, seals=1)


@tools.needs("postgres")
@pytest.mark.usefixtures("guarded")
def test_the_database_refuses_to_empty_the_trail() -> None:
    noted()
    with (
        pytest.raises(DatabaseError, match="only added to"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("TRUNCATE audit_auditevent")


def test_migrate_puts_the_guard_up(tmp_path: Path) -> None:
    """Of a database as everybody has it, not as the tests do."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    } | {"DATABASE_URL": f"sqlite:///{tmp_path}/own.sqlite3", "SECRET_KEY": "k" * 50}
    attack = (
        "from worklist.audit import trail; from worklist.audit.models import AuditEvent\n"
        "trail.note('view', by=trail.Actor('anna')); AuditEvent.objects.all().delete()"
    )
    for arguments in (["migrate", "-v0"], ["shell", "-v0", "-c", attack]):
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=Path(__file__).parents[1],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert "only added to" in ran.stderr
