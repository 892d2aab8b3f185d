from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from tests.cast import actor, book, code, patient, station
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor
from worklist.models import Code, OpeningHours, OpeningTime, Patient, ProcedureType, Station, User

pytestmark = pytest.mark.django_db


def last() -> AuditEvent:
    return AuditEvent.objects.order_by("id")[AuditEvent.objects.count() - 1]


def test_creation_holds_the_whole_row() -> None:
    anna = patient()
    event = last()
    assert (event.action, event.actor, event.address) == ("create", "ines", "10.0.0.7")
    assert (event.model, event.object_id) == ("worklist.patient", str(anna.pk))
    assert event.object_label == "MÜLLER, Anna · P1"
    assert event.before == {}
    assert event.after["name"] == "Müller^Anna"
    assert "name_folded" not in event.after


def test_change_holds_what_changed_alone() -> None:
    anna = patient()
    anna.name = "Meier^Anna"
    trail.save(anna, by=Actor("import"))
    assert (last().action, last().actor, last().address) == ("change", "import", None)
    assert (last().before, last().after) == ({"name": "Müller^Anna"}, {"name": "Meier^Anna"})


def test_nothing_changed_nothing_signed() -> None:
    anna = patient()
    events = AuditEvent.objects.count()
    assert trail.save(anna, by=actor) is None
    assert AuditEvent.objects.count() == events


def test_what_others_have_stored_since_the_row_was_read_stays() -> None:
    mine, theirs = patient(), Patient.objects.get()
    theirs.allergies = "Iodine"
    theirs.name = "Meier^Anna"
    trail.save(theirs, by=Actor("ben"))
    mine.name = "Maier^Anna"
    mine.weight = "61"
    trail.save(mine, by=actor)
    stored = Patient.objects.get()
    assert (stored.name, stored.weight, stored.allergies) == ("Maier^Anna", "61", "Iodine")
    assert stored.name_folded == "maier^anna"
    assert last().before == {"name": "Meier^Anna", "weight": ""}
    # The row in hand is as it is stored now, and a second save of it writes nothing.
    assert mine.allergies == "Iodine"
    assert trail.save(mine, by=actor) is None


def test_new_row_is_read_with_what_it_was_stored_with() -> None:
    anna = patient()
    theirs = Patient.objects.get()
    theirs.allergies = "Iodine"
    trail.save(theirs, by=actor)
    trail.save(anna, by=actor)
    assert Patient.objects.get().allergies == "Iodine"


def test_codes_that_read_alike_are_still_two() -> None:
    one, other = (
        code(),
        Code(value="CTTH", scheme="99SITE", meaning="CT Thorax", scheme_version="2"),
    )
    trail.save(other, by=actor)
    assert str(one) == str(other)
    step = book(patient(), codes=[one])
    assert trail.save(step, by=actor, lists={"protocol_codes": [other]}) is not None
    assert [each.pk for each in trail.ordered(step, "protocol_codes")] == [other.pk]


def test_lists_stand_in_their_order() -> None:
    ct1, mr1 = station(), station("MR1", "MR")
    step = book(patient(), stations=[ct1, mr1])
    trail.save(step, by=actor, lists={"stations": [mr1, ct1]})
    assert last().before == {"stations": ["CT1 CT Ground Floor", "MR1 MR"]}
    assert last().after == {"stations": ["MR1 MR", "CT1 CT Ground Floor"]}
    assert trail.save(step, by=actor, lists={"stations": [mr1, ct1]}) is None


def test_list_without_positions_is_a_set() -> None:
    ct1, mr1 = station(), station("MR1", "MR")
    kind = ProcedureType(code="CT", description="CT", modality="CT")
    trail.save(kind, by=actor, lists={"allowed_stations": [mr1, ct1]})
    assert trail.save(kind, by=actor, lists={"allowed_stations": [ct1, mr1]}) is None


def test_deletion_holds_what_was_there() -> None:
    made = code()
    key = made.pk
    trail.delete(made, by=actor)
    assert (last().action, last().object_id, last().after) == ("delete", str(key), {})
    assert last().before["meaning"] == "CT Thorax"


def test_deletion_that_is_refused_signs_nothing() -> None:
    book(patient(), stations=[station()])
    events = AuditEvent.objects.count()
    with pytest.raises(ProtectedError):
        trail.delete(Station.objects.get(), by=actor)
    assert Station.objects.exists()
    assert AuditEvent.objects.count() == events


def test_row_and_signature_come_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(AuditEvent, "save", full)
    with pytest.raises(OSError, match="disk full"):
        patient()
    assert not Patient.objects.exists()


def test_many_rows_have_an_event_each() -> None:
    rows = [Patient(patient_id=f"P{n}", name="Bulk^Load") for n in range(3)]
    trail.insert_many(rows, by=actor)
    assert Patient.objects.filter(search__contains="bulk").count() == 3
    keys = {str(key) for key in Patient.objects.values_list("pk", flat=True)}
    signed = AuditEvent.objects.filter(model="worklist.patient")
    assert set(signed.values_list("object_id", flat=True)) == keys


def test_password_is_signed_for_and_never_shown() -> None:
    user = User(username="ines")
    user.set_password("first-secret")
    trail.save(user, by=actor, lists={"groups": []})
    user.set_password("second-secret")
    event = trail.save(user, by=actor)
    assert event is not None
    assert set(event.after) == {"password"}
    for event in AuditEvent.objects.all():
        assert "md5" not in str(event.before) + str(event.after)


def test_groups_and_permissions_are_signed_for() -> None:
    group = Group(name="Night shift")
    may = Permission.objects.get(codename="view_patient")
    trail.save(group, by=actor, lists={"permissions": [may]})
    assert last().after["permissions"] == [str(may)]
    user = User(username="ines")
    trail.save(user, by=actor, lists={"groups": [group]})
    assert last().after["groups"] == ["Night shift"]


@pytest.mark.django_db(transaction=True)
def test_two_writers_sign_one_after_the_other() -> None:
    anna, start = patient(), threading.Barrier(2, timeout=20)

    def write(name: str) -> None:
        mine = Patient.objects.get(pk=anna.pk)
        mine.name = name
        try:
            start.wait()
            trail.save(mine, by=actor)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in ("A^A", "B^B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    first, second = AuditEvent.objects.filter(action="change").order_by("id")
    assert first.before == {"name": "Müller^Anna"}
    assert second.before == first.after


def test_each_change_counts_the_version_up_whoever_made_it() -> None:
    anna = patient()
    stale = Patient.objects.get(pk=anna.pk)
    for name in ("Meier^Anna", "Huber^Anna"):
        anna.name = name
        trail.save(anna, by=actor)
    stale.sex = "F"
    trail.save(stale, by=actor)
    trail.save(stale, by=actor)
    assert (anna.version, stale.version) == (3, 4)
    assert Patient.objects.get(pk=anna.pk).version == 4


def test_a_change_of_a_list_counts_the_version_up() -> None:
    step = book(patient(), stations=[station()])
    trail.save(step, by=actor, lists={"stations": [station()]})
    assert step.version == 1
    trail.save(step, by=actor, lists={"stations": [station("MR1")]})
    assert step.version == 2


def test_a_reason_is_signed_with_the_write() -> None:
    anna = patient()
    anna.sex = "F"
    trail.save(anna, by=actor, reason="Told so at the desk")
    assert last().reason == "Told so at the desk"


def test_a_look_is_signed_without_what_was_seen() -> None:
    anna = patient()
    trail.note("view", anna, by=actor)
    assert (last().action, last().object_id, last().after) == ("view", str(anna.pk), {})
    trail.note("export", by=actor, label="exams.csv", details={"day": "2026-11-23", "rows": 3})
    assert (last().model, last().after) == ("", {"day": "2026-11-23", "rows": 3})


def test_parts_of_a_row_are_signed_with_it() -> None:
    hours = OpeningHours(name="Weekdays")

    def on_monday(opens: int, closes: int) -> OpeningTime:
        return OpeningTime(weekday=0, opens=dt.time(opens), closes=dt.time(closes))

    trail.save(hours, by=actor, lists={"times": [on_monday(8, 12)]})
    assert last().after["times"] == ["Mon 08:00-12:00"]
    version = hours.version
    trail.save(hours, by=actor, lists={"times": [on_monday(8, 12), on_monday(13, 17)]})
    assert (last().before, last().after) == (
        {"times": ["Mon 08:00-12:00"]},
        {"times": ["Mon 08:00-12:00", "Mon 13:00-17:00"]},
    )
    assert hours.version == version + 1
    same = [on_monday(8, 12), on_monday(13, 17)]
    assert trail.save(hours, by=actor, lists={"times": same}) is None
    assert hours.times.count() == 2


def test_noted_events_are_written_together_in_their_order() -> None:
    noted = [trail.noted("query", by=Actor(f"CT{number}")) for number in range(3)]
    assert not AuditEvent.objects.filter(action="query").exists()
    trail.sign(noted)
    written = AuditEvent.objects.filter(action="query").order_by("pk")
    assert [(event.actor, event.at) for event in written] == [(e.actor, e.at) for e in noted]


@pytest.mark.parametrize("outcome", [1, 16])
def test_an_outcome_that_dicom_does_not_know_is_refused(outcome: int) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEvent(action="query", outcome=outcome).save()
