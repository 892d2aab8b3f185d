from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.cast import DAY, actor, book, code, new_step, patient, station
from worklist import demo_data, scheduling
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import (
    ClosedDay,
    ImagingServiceRequest,
    OrderSet,
    Patient,
    ProcedureType,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepStatus,
    User,
)
from worklist.scheduling import PlannedStep

pytestmark = pytest.mark.django_db


def test_order_of_a_new_patient_is_placed_whole_and_signed() -> None:
    mr1, ct1 = station("MR1", "MR 3 T"), station("CT1", "CT Ground Floor")
    codes = (code("B"), code("A"))
    AuditEvent.objects.all().delete()
    (step,) = scheduling.place_order(
        ImagingServiceRequest(patient=Patient(patient_id="P1", name="Müller^Anna")),
        RequestedProcedure(),
        steps=[PlannedStep(new_step(), (mr1, ct1), codes)],
        by=actor,
    )
    step = ScheduledProcedureStep.objects.get()
    assert step.station_names == "MR 3 T\\CT Ground Floor"
    assert trail.ordered(step, "stations") == [mr1, ct1]
    assert trail.ordered(step, "protocol_codes") == list(codes)
    procedure = step.requested_procedure
    assert step.step_id
    assert procedure.procedure_id
    assert procedure.study_instance_uid
    assert procedure.request.accession_number
    assert procedure.request.patient.name == "Müller^Anna"
    events = list(AuditEvent.objects.order_by("id"))
    assert [event.model.partition(".")[2] for event in events] == [
        "patient",
        "imagingservicerequest",
        "requestedprocedure",
        "scheduledprocedurestep",
    ]
    assert {(event.actor, event.address, event.action) for event in events} == {
        ("ines", "10.0.0.7", "create")
    }
    assert events[-1].after["stations"] == ["MR1 MR 3 T", "CT1 CT Ground Floor"]


def test_order_with_one_bad_step_leaves_nothing() -> None:
    anna = patient()
    AuditEvent.objects.all().delete()
    with pytest.raises(ValidationError, match="capital letters"):
        scheduling.place_order(
            ImagingServiceRequest(patient=anna),
            RequestedProcedure(),
            steps=[PlannedStep(new_step()), PlannedStep(new_step(modality="ct"))],
            by=actor,
        )
    assert not ImagingServiceRequest.objects.exists()
    assert not ScheduledProcedureStep.objects.exists()
    assert not AuditEvent.objects.exists()


def test_second_procedure_joins_the_request_and_its_accession_number() -> None:
    request = book(patient()).requested_procedure.request
    planned = PlannedStep(new_step(modality="MR"))
    scheduling.place_order(request, RequestedProcedure(), steps=[planned], by=actor)
    first, second = request.procedures.order_by("id")
    assert first.study_instance_uid != second.study_instance_uid
    assert ImagingServiceRequest.objects.count() == 1


def test_names_of_stations_that_are_given_are_kept() -> None:
    step = book(patient(), stations=[station()], station_names="Old scanner")
    assert step.station_names == "Old scanner"


def test_reschedule_moves_the_end_along() -> None:
    step = book(patient(), end_date=DAY, end_time=dt.time(9, 30))
    moved = scheduling.reschedule(step, dt.datetime(2024, 7, 6, 23, 45), by=actor)
    assert (moved.start_date, moved.start_time) == (dt.date(2024, 7, 6), dt.time(23, 45))
    assert (moved.end_date, moved.end_time) == (dt.date(2024, 7, 7), dt.time(0, 15))
    event = AuditEvent.objects.first()
    assert event is not None
    assert event.before["start_date"] == "2024-07-05"
    assert event.after["start_date"] == "2024-07-06"


def test_reschedule_to_another_station_takes_its_name() -> None:
    step = book(patient(), stations=[station()])
    mr1 = station("MR1", "MR 3 T")
    moved = scheduling.reschedule(step, dt.datetime(2024, 7, 6, 8), stations=[mr1], by=actor)
    assert trail.ordered(moved, "stations") == [mr1]
    assert moved.station_names == "MR 3 T"


def test_verbs_see_what_others_wrote_meanwhile() -> None:
    step = book(patient())
    scheduling.set_status(step, StepStatus.ARRIVED, by=actor)
    scheduling.reschedule(step, dt.datetime(2024, 7, 6, 8), by=actor)
    step.refresh_from_db()
    assert step.status == "ARRIVED"


@pytest.mark.parametrize("status", sorted(scheduling.FINAL))
def test_step_that_is_over_is_neither_moved_nor_canceled(status: StepStatus) -> None:
    step = scheduling.set_status(book(patient()), status, by=actor)
    with pytest.raises(ValidationError, match=str(status.label)):
        scheduling.cancel(step, by=actor)
    with pytest.raises(ValidationError, match=str(status.label)):
        scheduling.reschedule(step, dt.datetime(2024, 7, 6), by=actor)


def test_cancel_is_signed_and_the_step_stays() -> None:
    step = scheduling.cancel(book(patient()), by=actor)
    assert step.status == "CANCELED"
    event = AuditEvent.objects.first()
    assert event is not None
    assert (event.before, event.after) == ({"status": "SCHEDULED"}, {"status": "CANCELED"})


# --- loaddemo -------------------------------------------------------------------------------------


def test_loaddemo_twice_is_loaddemo_once() -> None:
    call_command("loaddemo", verbosity=0)
    events = AuditEvent.objects.count()
    call_command("loaddemo", verbosity=0)
    assert AuditEvent.objects.count() == events
    assert ScheduledProcedureStep.objects.filter(start_date=timezone.localdate()).count() == 25
    names = set(Patient.objects.values_list("name", flat=True))
    assert {"Müller^Anna", "Yamada^Tarou=山田^太郎=やまだ^たろう"} <= names
    assert set(AuditEvent.objects.values_list("actor", flat=True)) == {"loaddemo"}


def test_demo_accounts_have_their_roles() -> None:
    call_command("loaddemo", verbosity=0)
    for username, *_ in demo_data.ACCOUNTS:
        user = User.objects.get(username=username)
        assert user.check_password(f"{username}-demo")
        assert user.is_staff == (username == "admin")
        assert user.is_superuser == (username == "admin")
        assert user.has_perm("worklist.view_patient") == (username != "auditor")
        cancels = username in ("clerk", "supervisor", "admin")
        assert user.has_perm("worklist.cancel_exam") == cancels
        assert user.has_perm("audit.view_auditevent") == (username in ("auditor", "admin"))
        assert user.has_perm("worklist.delete_patient") == (username == "admin")


def test_loaddemo_sets_up_hours_closed_days_and_order_sets() -> None:
    call_command("loaddemo", verbosity=0)
    mr2 = Station.objects.get(ae_title="MR2")
    assert mr2.opening_hours is not None
    times = trail.ordered(mr2.opening_hours, "times")
    assert [str(time) for time in times[:2]] == ["Mon 07:00-12:00", "Mon 12:30-18:00"]
    assert Station.objects.filter(opening_hours=None).exists()
    assert [closed.station for closed in ClosedDay.objects.all()] == [mr2]
    trauma = OrderSet.objects.get(code="POLYTRAUMA")
    codes = [str(kind) for kind in trail.ordered(trauma, "procedure_types")]
    assert codes[0] == "CT polytrauma (CTPOLY)"
    chest = ProcedureType.objects.get(code="CTCHEST")
    assert (chest.uses_contrast, chest.asks_pregnancy) == (True, True)


def test_loaddemo_keeps_off_a_database_with_other_patients() -> None:
    patient()
    with pytest.raises(CommandError, match="not the demo's"):
        call_command("loaddemo", verbosity=0)
    assert not User.objects.exists()
    call_command("loaddemo", force=True, verbosity=0)
    assert User.objects.count() == len(demo_data.ACCOUNTS)
