"""Each event as the message of PS3.15 A.5.3 that stands for it, valid by the schema of A.5.1."""

from __future__ import annotations

import base64
import datetime as dt
import string
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.audit_schema import SCHEMA, faults
from tests.cast import actor, book, patient, station
from worklist import audited, scheduling
from worklist.audit import happenings, messages, models, trail
from worklist.audit.messages import Person, Source, Subject
from worklist.audit.models import AuditEvent, Outcome
from worklist.audit.trail import Actor
from worklist.models import PatientMerge, ProcedureType, User
from worklist.views.audit import subjects

SITE = Source("WORKLIST", "St. Elsewhere")
AT = dt.datetime(2026, 11, 23, 9, 30, 15, 250_000, tzinfo=dt.timezone(dt.timedelta(hours=1)))


def event(action: str, model: str = "", **columns: Any) -> AuditEvent:
    defaults: dict[str, Any] = {
        "at": AT,
        "actor": "ines",
        "address": "10.0.0.7",
        "object_id": "7" if model else "",
        "object_label": "",
    }
    return AuditEvent(action=action, model=model, **{**defaults, **columns})


def message(of: AuditEvent, subject: Subject | None = None) -> Element:
    document = messages.xml(of, subject or Subject(), SITE)
    assert faults(document) == []
    assert b"\n" not in document
    return fromstring(document)


def codes(of: Element, path: str) -> list[str]:
    return [each.attrib["csd-code"] for each in of.iterfind(path)]


def kind(of: Element) -> tuple[str, str, str]:
    """Event, kind and action, as codes."""
    identification = of.find("EventIdentification")
    assert identification is not None
    return (
        "".join(codes(identification, "EventID")),
        "".join(codes(identification, "EventTypeCode")),
        identification.attrib["EventActionCode"],
    )


def objects(of: Element) -> list[tuple[str, ...]]:
    """Type, role, type of ID, ID and name of each object."""
    return [
        (
            each.attrib["ParticipantObjectTypeCode"],
            each.attrib["ParticipantObjectTypeCodeRole"],
            *codes(each, "ParticipantObjectIDTypeCode"),
            each.attrib["ParticipantObjectID"],
            each.findtext("ParticipantObjectName", ""),
        )
        for each in of.iterfind("ParticipantObjectIdentification")
    ]


def details(of: Element) -> dict[str, str]:
    found = of.iterfind("ParticipantObjectIdentification/ParticipantObjectDetail")
    return {each.attrib["type"]: base64.b64decode(each.attrib["value"]).decode() for each in found}


def people(of: Element) -> list[dict[str, str]]:
    return [dict(each.attrib) for each in of.iterfind("ActiveParticipant")]


def last() -> AuditEvent:
    return AuditEvent.objects.latest("pk")


def of_last() -> Element:
    ((_, document),) = audited.in_xml([last()])
    assert faults(document) == []
    return fromstring(document)


# --- which message --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (event("start"), ("110100", "110120", "E")),
        (event("stop"), ("110100", "110121", "E")),
        (event("view", object_label="audit trail"), ("110101", "", "R")),
        (event("export", object_label="audit trail"), ("110101", "", "R")),
        (event("create", "worklist.imagingservicerequest"), ("110109", "", "C")),
        (event("change", "worklist.imagingservicerequest"), ("110109", "", "U")),
        (event("create", "worklist.patient"), ("110110", "", "C")),
        (event("view", "worklist.patient"), ("110110", "", "R")),
        (event("change", "worklist.patient"), ("110110", "", "U")),
        (event("delete", "worklist.patient"), ("110110", "", "D")),
        (event("create", "worklist.patientmerge"), ("110110", "", "U")),
        (event("create", "worklist.requestedprocedure"), ("110111", "", "C")),
        (event("change", "worklist.scheduledprocedurestep"), ("110111", "", "U")),
        (event("print", "worklist.scheduledprocedurestep"), ("110111", "", "R")),
        (event("query"), ("110112", "", "E")),
        (event("export", object_label="exams of a day"), ("110112", "", "E")),
        (event("lock"), ("110113", "110137", "E")),
        (event("deny"), ("110113", "110132", "E")),
        (event("refuse"), ("110113", "110126", "E")),
        (event("change", "worklist.station"), ("110113", "110128", "E")),
        (event("change", "worklist.proceduretype"), ("110113", "110131", "E")),
        (event("change", "auth.group"), ("110113", "110136", "E")),
        (
            event("change", "worklist.user", after={"password": "(hidden)"}),
            ("110113", "110137", "E"),
        ),
        (event("change", "worklist.user", after={"theme": "dark"}), ("110113", "110131", "E")),
        (event("change", "gone.model"), ("110113", "110131", "E")),
        (event("sign-in"), ("110114", "110122", "E")),
        (event("sign-in", "worklist.user"), ("110114", "110122", "E")),
        (event("sign-out"), ("110114", "110123", "E")),
    ],
)
def test_each_event_is_the_message_of_its_kind(
    made: AuditEvent, expected: tuple[str, str, str]
) -> None:
    assert kind(message(made)) == expected


def test_every_model_that_the_audit_page_names_has_a_message() -> None:
    for model in subjects():
        for action in ("create", "change", "delete", "view", "print", "export"):
            message(event(action, model))


# --- what stands in it ----------------------------------------------------------------------------


def test_when_where_and_by_whom_it_is_reported() -> None:
    made = message(event("view", "worklist.patient"))
    identification = made.find("EventIdentification")
    source = made.find("AuditSourceIdentification")
    assert identification is not None
    assert source is not None
    assert identification.attrib["EventDateTime"] == "2026-11-23T08:30:15.250000+00:00"
    assert source.attrib == {
        "AuditEnterpriseSiteID": "St. Elsewhere",
        "AuditSourceID": "WORKLIST",
    }
    assert people(made) == [
        {
            "UserID": "ines",
            "UserIsRequestor": "true",
            "NetworkAccessPointID": "10.0.0.7",
            "NetworkAccessPointTypeCode": "2",
        },
        {
            "UserID": "WORKLIST",
            "AlternativeUserID": "AETITLES=WORKLIST",
            "UserIsRequestor": "false",
        },
    ]


def test_only_one_asks() -> None:
    for action in ("start", "sign-in", "sign-out", "query", "deny", "view"):
        made = people(message(event(action)))
        assert len([one for one in made if one["UserIsRequestor"] == "true"]) <= 1


def test_a_query_holds_the_very_bytes_and_both_sides() -> None:
    identifier = b"\x10\x00\x10\x00\x06\x00\x00\x00M\xfcll*\x00"
    asked = happenings.query(
        calling="CT1",
        called="RADIOLOGY",
        address="10.1.2.3",
        identifier=identifier,
        transfer_syntax="1.2.840.10008.1.2",
        status=0,
        matches=3,
    )
    made = message(asked)
    caller, own = people(made)
    assert caller["AlternativeUserID"] == "AETITLES=CT1"
    assert (caller["UserIsRequestor"], caller["NetworkAccessPointID"]) == ("true", "10.1.2.3")
    assert (own["UserID"], own["UserIsRequestor"]) == ("RADIOLOGY", "false")
    assert codes(made, "ActiveParticipant/RoleIDCode") == ["110153", "110152"]
    assert objects(made) == [("2", "3", "110181", "1.2.840.10008.5.1.4.31", "")]
    (query,) = made.iterfind("ParticipantObjectIdentification/ParticipantObjectQuery")
    assert base64.b64decode(query.text or "") == identifier
    assert details(made) == {
        "TransferSyntax": "1.2.840.10008.1.2",
        "Status": "0000",
        "Matches": "3",
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x0000, 0),
        (0xFF00, 0),
        (0xFE00, 0),
        (0x0124, 4),
        (0xA700, 4),
        (0xA900, 4),
        (0xC001, 4),
        (None, 4),
    ],
)
def test_outcome_of_a_query_follows_its_status(status: int | None, expected: int) -> None:
    asked = happenings.query(
        calling="CT1",
        called="WORKLIST",
        address=None,
        identifier=b"",
        transfer_syntax="1.2.840.10008.1.2",
        status=status,
        comment="5001 matches, limit 5000" if expected else "",
    )
    identification = message(asked).find("EventIdentification")
    assert identification is not None
    assert identification.attrib["EventOutcomeIndicator"] == str(expected)
    words = "5001 matches, limit 5000" if expected else None
    assert identification.findtext("EventOutcomeDescription") == words


def test_a_clock_that_signs_out_is_who_asks() -> None:
    person, system = people(message(event("sign-out", reason="idle")))
    assert (person["UserIsRequestor"], system["UserIsRequestor"]) == ("false", "true")


def test_who_signs_in_through_a_socket_is_on_this_machine() -> None:
    person, _ = people(message(event("sign-in", address=None)))
    assert person["NetworkAccessPointID"] == "localhost"
    assert person["NetworkAccessPointTypeCode"] == "1"


def test_a_refused_caller_is_the_subject_of_the_alert() -> None:
    made = message(event("refuse", actor="STRANGER", object_label="STRANGER", reason="not listed"))
    assert objects(made) == [("2", "13", "110182", "10.0.0.7", "STRANGER")]
    assert details(made)["Alert Description"] == "refuse STRANGER not listed"
    assert [one["UserID"] for one in people(made)] == ["WORKLIST", "STRANGER"]


def test_what_changed_is_named_and_what_it_held_is_not() -> None:
    made = event(
        "change",
        "worklist.patient",
        before={"name": "Müller^Anna"},
        after={"name": "Meier^Anna"},
        reason="married",
    )
    document = messages.xml(made, Subject((Person("P1", "Meier^Anna"),)), SITE)
    assert details(fromstring(document)) == {"Changed": "name", "Reason": "married"}
    assert "Müller".encode() not in document


# --- of rows that are there, and of rows that are gone --------------------------------------------


@pytest.mark.django_db
def test_an_exam_names_patient_study_and_accession_number() -> None:
    step = book(patient(), stations=[station()])
    procedure = step.requested_procedure
    uid, number = procedure.study_instance_uid, procedure.request.accession_number
    trail.note("print", step, by=actor)
    made = of_last()
    assert objects(made) == [
        ("2", "3", "110180", uid, str(step)),
        ("1", "1", "2", "P1", "Müller^Anna"),
    ]
    (accession,) = made.iter("Accession")
    assert accession.attrib["Number"] == number
    # Table A.5.2-1 wants a SOP Class beside an accession number.
    assert [each.attrib for each in made.iter("SOPClass")] == [{"NumberOfInstances": "0"}]


@pytest.mark.django_db
def test_an_order_names_patient_and_accession_number() -> None:
    request = book(patient(), stations=[station()]).requested_procedure.request
    trail.note("view", request, by=actor)
    assert objects(of_last()) == [
        ("2", "3", "121022", request.accession_number, str(request)),
        ("1", "1", "2", "P1", "Müller^Anna"),
    ]


@pytest.mark.django_db
def test_a_list_names_every_patient_that_it_showed() -> None:
    shown = [patient("P1").pk, patient("P2", "Smith^John").pk]
    trail.note("view", by=actor, details={"patients": shown})
    made = of_last()
    assert kind(made)[0] == "110112"
    assert objects(made)[1:] == [
        ("1", "1", "2", "P1", "Müller^Anna"),
        ("1", "1", "2", "P2", "Smith^John"),
    ]


@pytest.mark.django_db
def test_a_merge_names_both_patients_and_which_one_is_gone() -> None:
    kept, gone = patient("P1"), patient("P2", "Muller^Anna")
    scheduling.merge(kept, gone, by=actor)
    merged = AuditEvent.objects.get(model=PatientMerge._meta.label_lower)
    ((_, document),) = audited.in_xml([merged])
    made = fromstring(document)
    assert [each[3] for each in objects(made)] == ["P1", "P2"]
    cycles = made.iterfind("ParticipantObjectIdentification")
    assert [each.attrib["ParticipantObjectDataLifeCycle"] for each in cycles] == ["1", "14"]


@pytest.mark.django_db
def test_what_is_gone_is_told_by_the_trail() -> None:
    step = book(patient(), stations=[station()])
    procedure = step.requested_procedure
    uid, request = procedure.study_instance_uid, procedure.request
    trail.note("print", step, by=actor)
    printed = last()
    for row in (step, procedure, request, request.patient):
        trail.delete(row, by=actor)
    for told in (printed, AuditEvent.objects.get(action="delete", model=printed.model)):
        ((_, document),) = audited.in_xml([told])
        assert faults(document) == []
        assert [each[3:] for each in objects(fromstring(document))] == [
            (uid, printed.object_label),
            ("P1", "Müller^Anna"),
        ]


@pytest.mark.django_db
def test_a_change_of_the_id_names_the_new_one_and_later_changes_do_not_reach_it() -> None:
    anna = patient("P1")
    anna.patient_id = "P9"
    trail.save(anna, by=actor)
    changed = last()
    anna.patient_id = "P10"
    trail.save(anna, by=actor)
    ((_, document),) = audited.in_xml([changed])
    assert [each[3] for each in objects(fromstring(document))] == ["P9"]


@pytest.mark.django_db
def test_many_events_take_as_many_statements_as_one(
    django_assert_max_num_queries: Callable[..., Any],
) -> None:
    for number in range(12):
        book(patient(f"P{number}"), stations=[station()])
    trail.save(ProcedureType(code="CT", description="CT", modality="CT"), by=actor)
    trail.note("sign-in", User(pk=1, username="ines"), by=actor)
    events = list(AuditEvent.objects.order_by("pk"))
    assert len({one.model for one in events}) > 5
    with django_assert_max_num_queries(5):
        made = list(audited.in_xml(events))
    assert [one for one, _ in made] == events
    assert all(faults(document) == [] for _, document in made)


@pytest.mark.django_db
def test_rows_of_before_there_was_an_outcome_still_map() -> None:
    old = AuditEvent(action="create", actor="ines", model="worklist.patient", object_id="999")
    old.save()
    assert last().outcome == Outcome.SUCCESS
    assert objects(of_last()) == [("1", "1", "2", "unknown", "unknown")]


# --- whatever the texts ---------------------------------------------------------------------------

odd = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x00\x01\x1b\t\r\n\"'<>&]\ufffe\uffff\ud800\U0001f600\u3000^=\\"),
        st.sampled_from(string.ascii_letters),
    ),
    max_size=70,
)
columns = st.dictionaries(
    st.one_of(odd, st.sampled_from(["patients", "called", "identifier", "comment", "ae_title"])),
    st.one_of(odd, st.integers(), st.none(), st.lists(odd, max_size=3)),
    max_size=4,
)
labels = st.one_of(st.sampled_from(["", "auth.group", *subjects()]), odd)
actions = st.sampled_from([action for action, _ in models.actions()])
events = st.builds(
    AuditEvent,
    at=st.datetimes(
        min_value=dt.datetime(1900, 1, 1),
        max_value=dt.datetime(2200, 1, 1),
        timezones=st.one_of(st.none(), st.timezones()),
    ),
    actor=odd,
    address=st.one_of(st.none(), st.ip_addresses().map(str)),
    action=actions,
    outcome=st.sampled_from([0, 4, 8, 12]),
    reason=odd,
    model=labels,
    object_id=odd,
    object_label=odd,
    before=columns,
    after=columns,
)
about = st.builds(
    Subject,
    patients=st.lists(st.builds(Person, patient_id=odd, name=odd), max_size=3).map(tuple),
    studies=st.lists(odd, max_size=2).map(tuple),
    accession_number=odd,
)


@settings(deadline=None)
@given(events, about, st.builds(Source, ae_title=odd, site=odd))
@example(event("view", "worklist.patient"), Subject((Person("P" * 64, "Ä" * 64),)), SITE)
def test_whatever_the_texts_the_message_parses_and_is_valid(
    made: AuditEvent, subject: Subject, source: Source
) -> None:
    document = messages.xml(made, subject, source)
    assert faults(document) == []
    assert b"\n" not in document
    assert b"\r" not in document


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64))
def test_a_name_that_xml_can_hold_comes_out_as_it_is(name: str) -> None:
    if name.strip(" ") != name or "  " in name or {"\ufffe", "\uffff"} & set(name):
        return
    made = message(event("view", "worklist.patient"), Subject((Person("P1", name),)))
    assert objects(made)[0][4] == name


def test_a_character_that_xml_cannot_hold_is_told_by_its_number() -> None:
    made = message(event("refuse", actor="CT\x1b1\x00"))
    assert people(made)[1]["UserID"] == "CT\\u001b1\\u0000"


# --- the checker itself ---------------------------------------------------------------------------


def planted(change: Callable[[Element], None]) -> list[str]:
    made = message(event("view", "worklist.patient"), Subject((Person("P1", "A^A"),)))
    change(made)
    return faults(tostring(made))


def first(of: Element, path: str) -> Element:
    found = of.find(path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.remove(first(m, "AuditSourceIdentification")),
        lambda m: [m.remove(each) for each in m.findall("ActiveParticipant")],
        lambda m: m.append(first(m, "EventIdentification")),
        lambda m: first(m, "EventIdentification").attrib.pop("EventDateTime"),
        lambda m: first(m, "EventIdentification").set("EventDateTime", "2026-11-23T09:30:15"),
        lambda m: first(m, "EventIdentification").set("EventOutcomeIndicator", "1"),
        lambda m: first(m, "EventIdentification").set("EventActionCode", "X"),
        lambda m: first(m, "ActiveParticipant").set("Colour", "red"),
        lambda m: first(m, "ActiveParticipant").set("NetworkAccessPointTypeCode", "9"),
        lambda m: first(m, ".//EventID").attrib.pop("originalText"),
        lambda m: first(m, ".//ParticipantObjectName").set("x", "y"),
        lambda m: first(m, "ParticipantObjectIdentification").remove(
            first(m, ".//ParticipantObjectName")
        ),
    ],
)
def test_a_planted_fault_is_found(change: Callable[[Element], None]) -> None:
    assert planted(change) != []


def test_the_schema_names_no_element_that_it_does_not_describe() -> None:
    named = {name for shape in SCHEMA.values() for names, _ in shape.children for name in names}
    assert named <= SCHEMA.keys()


def test_a_caller_of_the_trail_dates_events_when_they_happen() -> None:
    noted = trail.noted("query", by=Actor("CT1"))
    assert abs((noted.at - dt.datetime.now(dt.UTC)).total_seconds()) < 60
