"""What a modality may rely on, over real associations: one paragraph a promise, by its number.

The numbers are those of test_findscu.py, where DCMTK asks the same.
"""

from __future__ import annotations

import datetime as dt
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp import find, handlers, lease, plan, server
from dicomscp.server import WorklistScp
from dicomscp.wire import client
from dicomscp.wire.requests import Titles
from tests import network
from tests.asking import (
    DATE,
    PENDING,
    STEP,
    STEP_ID,
    TIME,
    WARNING,
    ask_bytes,
    found,
    ids,
    implicit_only,
    keys,
    query,
)
from tests.cast import DAY, YAMADA, code, step
from tests.oracle import tag_of
from tests.strategies import Key, Query
from worklist import character_set
from worklist.models import Code, ImagingServiceRequest, Patient, ScheduledProcedureStep

pytestmark = pytest.mark.django_db(transaction=True)


# --- asking ---------------------------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


@pytest.fixture
def assoc(scp: WorklistScp) -> Iterator[Association]:
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        yield assoc


def offending(status: Dataset) -> list[int]:
    value = status.OffendingElement
    return [int(tag) for tag in (value if isinstance(value, list) else [value])]


# --- T1 to T3: the service ------------------------------------------------------------------------


def test_t01_an_echo_and_a_query_on_one_association(scp: WorklistScp) -> None:
    step(ScheduledProcedureStepID="S1")
    ae = AE("CT1")
    for context in (Verification, ModalityWorklistInformationFind):
        ae.add_requested_context(context, ImplicitVRLittleEndian)
    assoc = ae.associate("127.0.0.1", scp.port, ae_title="WORKLIST", evt_handlers=client.HANDLERS)
    assert assoc.send_c_echo().Status == 0
    wanted = Dataset()
    wanted.PatientID = ""
    statuses = [s.Status for s, _ in assoc.send_c_find(wanted, ModalityWorklistInformationFind)]
    assert statuses == [PENDING, 0]
    assert assoc.send_c_echo().Status == 0
    assoc.release()


def test_t02_universal_keys_find_every_open_step(assoc: Association) -> None:
    for status in ("SCHEDULED", "ARRIVED", "READY", "STARTED", "DEPARTED", "COMPLETED"):
        step(ScheduledProcedureStepStatus=status, ScheduledProcedureStepID=status)
    reply = network.ask(assoc, query({DATE: "", "Modality": ""}, PatientName="", PatientID=""))
    assert [status for status, _ in reply.pendings] == [PENDING] * 4
    assert ids(reply) == ["SCHEDULED", "ARRIVED", "READY", "STARTED"]


def test_t03_no_match_is_one_response_without_identifier(assoc: Association) -> None:
    step()
    reply = network.ask(assoc, query(PatientID="nobody"))
    assert (reply.pendings, reply.final.Status) == ((), 0)


# --- T4 to T8, T11, T12: single values, wildcards, lists, ranges ----------------------------------

# Each table: a key, and the IDs of the steps that it finds.


def test_t04_ae_title_modality_and_patient_id_are_exact(assoc: Association) -> None:
    step(PatientID="Pat-1", ScheduledProcedureStepID="a")
    step(PatientID="Pat-2", ScheduledProcedureStepID="b")
    step(PatientID="7", ScheduledProcedureStepID="c", stations=["MR1"], Modality="MR")
    titles = {"CT1": "a b", "ct1": "", " CT1 ": "a b", "?R*": "c", "CT": ""}
    assert {key: found(assoc, {"ScheduledStationAETitle": key}) for key in titles} == titles
    modalities = {"MR": "c", "Mr": "", "C?": "a b", "M": ""}
    assert {key: found(assoc, {"Modality": key}) for key in modalities} == modalities
    patients = {"Pat-1": "a", "pat-1": "", "Pat-": "", "Pat-*": "a b", "pat-*": "", "*": "a b c"}
    assert {key: found(assoc, PatientID=key) for key in patients} == patients


def test_t05_names_match_without_case_and_trailing_delimiters(assoc: Association) -> None:
    names = {"full": "Doe^Jane", "family": "Doe", "anna": "Müller^Anna", "yamada": YAMADA}
    for step_id, name in names.items():
        step(PatientName=name, ScheduledProcedureStepID=step_id)
    table = {
        "DOE*": "full family",
        "do?^jane": "full",
        "Doe^Jane^^^": "full",
        "doe^jane": "full",
        "DOE": "family",
        "müller^ANNA": "anna",
        "Muller^Anna": "",
        "山田*": "yamada",
        "Yamada^Tarou": "yamada",
        "=山田^太郎": "yamada",
        "*=*=やまだ^*": "yamada",
    }
    assert {key: found(assoc, PatientName=key) for key in table} == table


def test_t05_a_family_name_alone_finds_no_full_name(assoc: Association) -> None:
    step(PatientName="Doe^Jane")
    assert found(assoc, PatientName="DOE") == ""


def test_t06_what_is_special_in_sql_is_literal_in_a_name(assoc: Association) -> None:
    names = {
        "percent": "100%^Percent",
        "thousand": "1000^Percent",
        "underscore": "Under_score^A",
        "underx": "Underxscore^A",
        "quote": "O'Neil^Sean",
    }
    for step_id, name in names.items():
        step(PatientName=name, ScheduledProcedureStepID=step_id)
    table = {
        "100%^*": "percent",
        "1%*": "",
        "Under_score^A": "underscore",
        "Under_*": "underscore",
        "O'Neil^Sean": "quote",
        "o'*": "quote",
        "' OR '1'='1": "",
        "_*": "",
        "%": "",
    }
    assert {key: found(assoc, PatientName=key) for key in table} == table


@pytest.mark.timeout(20)
def test_t06_a_key_of_many_wildcards_stops_nothing(assoc: Association) -> None:
    step(PatientName="x" * 64, PatientID="x" * 64, OtherPatientIDs="x" * 64)
    never, always = "*?" * 30 + "m", "*?" * 30 + "x"
    for keyword in ("PatientName", "PatientID", "OtherPatientIDs"):
        assert found(assoc, **{keyword: never}) == ""
        assert found(assoc, **{keyword: always}) != ""


def test_t07_a_lone_star_finds_steps_without_a_physician(assoc: Association) -> None:
    step(ScheduledProcedureStepID="with", ScheduledPerformingPhysicianName="Abe^Kim")
    step(ScheduledProcedureStepID="none")
    physician = "ScheduledPerformingPhysicianName"
    table = {"*": "with none", "": "with none", "A*": "with", "**": "with", "B*": ""}
    assert {key: found(assoc, {physician: key}) for key in table} == table


def test_t08_a_date_or_a_range_of_dates(assoc: Association) -> None:
    moments("5_0900", "6_0900", "7_0900")
    table = {
        "20240706": "6_0900",
        "2024.07.06": "6_0900",
        "20240706-": "6_0900 7_0900",
        "-20240706": "5_0900 6_0900",
        "20240705-20240706": "5_0900 6_0900",
        " 20240706 - 20240707 ": "6_0900 7_0900",
        "": "5_0900 6_0900 7_0900",
        "*": "5_0900 6_0900 7_0900",
    }
    assert {key: found(assoc, {DATE: key}) for key in table} == table


def moments(*texts: str) -> None:
    """Steps of July 2024, each with its start as its ID: 5_0959 is the fifth at 9:59."""
    for text in texts:
        start = dt.datetime.strptime(f"2024 07 {text.ljust(8, '0')}", "%Y %m %d_%H%M%S")
        step(
            ScheduledProcedureStepID=text,
            ScheduledProcedureStepStartDate=start.date(),
            ScheduledProcedureStepStartTime=start.time(),
        )


def test_t09_ranges_of_date_and_time_are_one_interval(assoc: Association) -> None:
    moments("5_0959", "5_1000", "6_0300", "7_1800", "7_180059", "7_1801")
    wanted = {DATE: "20240705-20240707", TIME: "1000-1800"}
    assert found(assoc, wanted) == "5_1000 6_0300 7_1800 7_180059"


def test_t10_date_and_time_combine_when_both_are_ranges(assoc: Association) -> None:
    moments("5_0900", "5_1000", "5_2000", "6_0300", "6_1200", "7_0900", "7_1900")
    table = {
        # One day: both readings agree.
        ("20240705", "1000-1800"): "5_1000",
        # Both are ranges: they combine, and an open end is the start or the end of the day.
        ("20240705-20240707", "1000-"): "5_1000 5_2000 6_0300 6_1200 7_0900 7_1900",
        ("20240705-20240707", "-1800"): "5_0900 5_1000 5_2000 6_0300 6_1200 7_0900",
        ("20240706-", "1000-"): "6_1200 7_0900 7_1900",
        ("-20240706", "-1000"): "5_0900 5_1000 5_2000 6_0300",
        # One of them is none: each day for itself.
        ("20240705-20240707", "0900"): "5_0900 7_0900",
        ("", "1000-1800"): "5_1000 6_1200",
        ("20240706", "-0300"): "6_0300",
    }
    assert {key: found(assoc, {DATE: key[0], TIME: key[1]}) for key in table} == table


def test_t11_a_time_is_compared_by_its_meaning(assoc: Association) -> None:
    moments("5_0959", "5_100059", "5_1001", "5_2230")
    table = {
        "-1000": "5_0959 5_100059",
        "-10": "5_0959 5_100059 5_1001",
        "1001-": "5_1001 5_2230",
        "2230": "5_2230",
        "223000": "5_2230",
        "223000.000": "5_2230",
    }
    assert {key: found(assoc, {TIME: key}) for key in table} == table


def test_t12_a_list_of_uids_finds_each(assoc: Association) -> None:
    for uid in ("1.2.3", "1.2.4", "1.2.5"):
        step(StudyInstanceUID=uid, ScheduledProcedureStepID=uid)
    assert found(assoc, StudyInstanceUID=["1.2.3", "1.2.5", "1.2.9"]) == "1.2.3 1.2.5"


def test_a_number_is_compared_by_its_meaning(assoc: Association) -> None:
    for step_id, weight in {
        "exact": "61.3",
        # The next number to it that a computer knows.
        "nearly": "61.300000000001",
        "spelt": "613e-1",
        "huge": "1e400",
        "none": "",
    }.items():
        step(PatientWeight=weight, ScheduledProcedureStepID=step_id)
    table = {"61.3": "exact spelt", "+61.30": "exact spelt", "61.300000000001": "nearly", "9": ""}
    assert {key: found(assoc, PatientWeight=key) for key in table} == table


# --- T13 to T16: the step's sequence --------------------------------------------------------------


@pytest.mark.parametrize("has_undefined_lengths", [False, True])
@pytest.mark.parametrize("item", [[], [{}]])
def test_t13_an_empty_sequence_or_item_asks_for_the_whole_of_it(
    assoc: Association, item: list[Any], has_undefined_lengths: bool
) -> None:
    step(ScheduledProcedureStepID="S1", codes=[code()])
    wanted = Query(keys({STEP: item}), has_undefined_lengths)
    ((status, identifier),) = network.ask(assoc, wanted).pendings
    (answer,) = identifier.ScheduledProcedureStepSequence
    assert status == PENDING
    assert (answer.ScheduledProcedureStepID, answer.ScheduledStationAETitle) == ("S1", "CT1")
    assert answer.ScheduledProtocolCodeSequence[0].CodeValue == "CTTH"
    assert (answer.Modality, answer.ScheduledProcedureStepStartDate) == ("CT", f"{DAY:%Y%m%d}")


def test_t13_a_request_without_the_sequence_is_answered_without_it(assoc: Association) -> None:
    step(PatientID="P")
    ((_, identifier),) = network.ask(assoc, Query(keys({"PatientID": ""}))).pendings
    assert [element.keyword for element in identifier] == ["PatientID"]


def test_t13_two_items_are_refused(assoc: Association) -> None:
    step()
    reply = network.ask(assoc, Query(keys({STEP: [{"Modality": "CT"}, {"Modality": "MR"}]})))
    assert (reply.pendings, reply.final.Status) == ((), 0xA900)
    assert offending(reply.final) == [tag_of(STEP)]


def test_t14_the_keys_of_an_item_hold_for_the_same_step(assoc: Association) -> None:
    first = step(ScheduledProcedureStepID="ct", Modality="CT", stations=["CT1"])
    step(ScheduledProcedureStepID="mr", Modality="MR", stations=["MR1"], order=first)
    assert found(assoc, {"ScheduledStationAETitle": "CT1", "Modality": "MR"}) == ""
    assert found(assoc, {"ScheduledStationAETitle": "MR1", "Modality": "MR"}) == "mr"


def test_t15_a_step_of_two_stations_is_found_by_either(assoc: Association) -> None:
    step(stations=["CT2", "CT1"])
    for title in ("CT1", "CT2"):
        reply = network.ask(assoc, query({"ScheduledStationAETitle": title}))
        ((_, identifier),) = reply.pendings
        assert list(identifier[STEP].value[0].ScheduledStationAETitle) == ["CT2", "CT1"]


def test_t16_several_modalities_are_alternatives(assoc: Association) -> None:
    for modality in ("CT", "MR", "US"):
        step(Modality=modality, ScheduledProcedureStepID=modality)
    assert found(assoc, {"Modality": ["CT", "MR"]}) == "CT MR"


# --- T17 to T20: what an answer holds -------------------------------------------------------------

UNKNOWN_KEYS = {
    "of the dictionary": Key(tag_of("PatientReligiousPreference"), "LO", ("x",)),
    "private": Key(0x00091001, "LO", ("x",)),
    "of 2026a": Key(0x00100043, "SQ", ((),)),
    "no level here": Key(tag_of("QueryRetrieveLevel"), "CS", ("STUDY",)),
}


@pytest.mark.parametrize("syntax", network.TRANSFER_SYNTAXES)
@pytest.mark.parametrize("unknown", UNKNOWN_KEYS.values(), ids=UNKNOWN_KEYS)
def test_t17_an_unknown_key_is_left_out_and_said_so(
    scp: WorklistScp, unknown: Key, syntax: UID
) -> None:
    step()
    step()
    asked = tuple(sorted((*query().keys, unknown), key=lambda each: each.tag))
    with network.association(scp.port, syntax) as assoc:
        reply = network.ask(assoc, Query(asked))
    assert [status for status, _ in reply.pendings] == [WARNING, WARNING]
    assert reply.final.Status == 0
    assert all(unknown.tag not in identifier for _, identifier in reply.pendings)


def test_t17_an_unknown_key_of_the_item_is_left_out_and_said_so(assoc: Association) -> None:
    step()
    reply = network.ask(assoc, query({"PatientReligiousPreference": ""}))
    ((status, identifier),) = reply.pendings
    assert status == WARNING
    assert [element.keyword for element in identifier[STEP].value[0]] == [STEP_ID]


def test_t18_character_set_and_time_zone_are_no_keys(assoc: Association) -> None:
    step()
    reply = network.ask(assoc, query(TimezoneOffsetFromUTC="+0900"))
    assert [status for status, _ in reply.pendings] == [PENDING]


def test_t17_an_item_of_unknown_keys_alone_is_none(assoc: Association) -> None:
    own = code()
    row = step(codes=[own])
    row.requested_procedure.code = own
    row.requested_procedure.save()
    unknown = [{"MappingResource": ""}]
    wanted = keys(
        {
            "RequestedProcedureCodeSequence": unknown,
            STEP: [{"ScheduledProtocolCodeSequence": unknown}],
        }
    )
    ((status, identifier),) = network.ask(assoc, Query(wanted)).pendings
    assert status == WARNING
    assert len(identifier.RequestedProcedureCodeSequence) == 0
    assert len(identifier[STEP].value[0].ScheduledProtocolCodeSequence) == 0
    ((status, identifier),) = network.ask(assoc, Query(keys({STEP: unknown}))).pendings
    assert len(identifier[STEP].value) == 1


def test_t19_a_key_without_a_value_comes_back_empty(assoc: Association) -> None:
    step()
    asked = {
        "ScheduledProcedureStepEndDate": "",
        "ScheduledProtocolCodeSequence": [{"CodeValue": ""}],
    }
    reply = network.ask(assoc, query(asked, PatientComments="", StudyDate="", PregnancyStatus=""))
    ((status, identifier),) = reply.pendings
    assert status == PENDING
    for keyword in ("PatientComments", "StudyDate", "PregnancyStatus"):
        assert identifier[keyword].is_empty
    (item,) = identifier[STEP].value
    assert item["ScheduledProcedureStepEndDate"].is_empty
    assert len(item.ScheduledProtocolCodeSequence) == 0


def test_t20_an_answer_holds_what_was_asked_as_it_is_stored(assoc: Association) -> None:
    step(PatientName="Müller^Anna", PatientID="Pat-1", PatientSex="F", PatientComments="deaf")
    reply = network.ask(
        assoc, query({"Modality": "C*"}, PatientName="mü*", PatientID="*", AccessionNumber="")
    )
    ((_, identifier),) = reply.pendings
    assert {element.keyword for element in identifier} == {
        *("SpecificCharacterSet", "PatientName", "PatientID", "AccessionNumber", STEP)
    }
    assert [element.keyword for element in identifier[STEP].value[0]] == ["Modality", STEP_ID]
    assert (identifier.PatientName, identifier.PatientID) == ("Müller^Anna", "Pat-1")
    assert identifier[STEP].value[0].Modality == "CT"


# --- T21, T22: character sets ---------------------------------------------------------------------

# What a peer asks in, and what of Python reads it.
SETS: dict[tuple[str, ...], str] = {
    (): "ascii",
    ("ISO_IR 100",): "latin-1",
    ("GBK",): "gbk",
    ("GB18030",): "gb18030",
    ("ISO_IR 192",): "utf-8",
    ("", "ISO 2022 IR 87"): "iso2022_jp",
    ("", "ISO 2022 IR 149"): "euc_kr",
    ("", "ISO 2022 IR 58"): "gb2312",
}
# ISO 2022 sets in G1 are called by an escape; what follows is as in EUC.
_ESCAPES = {"euc_kr": b"\x1b$)C", "gb2312": b"\x1b$)A"}
NAMES = ("Müller^Anna", "Wang^XiaoDong=王^小東", "Łukasz^ł", "ł", YAMADA, "=洪^吉洞", "Doe^Jane")


def read_as(encoded: bytes, codec: str) -> str:
    return encoded.replace(_ESCAPES.get(codec, b"\x1b\x1b"), b"").decode(codec).rstrip(" ")


def name_in(identifier: Dataset) -> bytes:
    """The bytes of the patient's name as they came."""
    return cast(bytes, cast(Any, identifier.get_item("PatientName")).value)


def fits(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("asked", SETS, ids=lambda terms: "\\".join(terms) or "none")
def test_t21_a_name_comes_in_the_set_of_the_request_or_in_unicode(
    assoc: Association, asked: tuple[str, ...]
) -> None:
    for name in NAMES:
        step(PatientName=name)
    given = {"SpecificCharacterSet": list(asked)} if asked else {}
    reply = network.ask(assoc, Query(keys({"PatientName": "", **given})))
    assert len(reply.pendings) == len(NAMES)
    for name, (_, identifier) in zip(NAMES, reply.pendings, strict=True):
        terms = identifier.get("SpecificCharacterSet") or ()
        answered = (terms,) if isinstance(terms, str) else tuple(terms)
        encoded = name_in(identifier)
        expected = asked if fits(name, SETS[asked]) else ("ISO_IR 192",)
        assert (name, answered) == (name, expected)
        assert read_as(encoded, SETS[expected]) == name
        assert character_set.decode(encoded, answered, "PN").rstrip(" ") == name


@pytest.mark.parametrize("terms", ["GBK", "GB18030"])
def test_t22_a_backslash_in_a_character_divides_nothing(assoc: Association, terms: str) -> None:
    assert [character.encode(terms)[1:] for character in "乗俓"] == [b"\\", b"\\"]
    for name in ("乗^俓", "Cheng^A=乗^俓", "Cheng^B"):
        step(PatientName=name)
    for pattern, expected in {
        "乗^俓": ["乗^俓", "Cheng^A=乗^俓"],
        "*^俓": ["乗^俓", "Cheng^A=乗^俓"],
        "=乗*": ["Cheng^A=乗^俓"],
        "Cheng^A=乗^俓": ["Cheng^A=乗^俓"],
    }.items():
        wanted = pattern.encode(terms)
        wanted += b" " * (len(wanted) % 2)
        encoded = network.encode(Query(keys({"SpecificCharacterSet": terms})), is_explicit=False)
        encoded += b"\x10\x00\x10\x00" + len(wanted).to_bytes(4, "little") + wanted
        pendings = ask_bytes(assoc, encoded).pendings
        assert {str(identifier.SpecificCharacterSet) for _, identifier in pendings} == {terms}
        assert [read_as(name_in(identifier), terms) for _, identifier in pendings] == expected


# --- T23, T24, T28: what goes wrong ---------------------------------------------------------------


def test_t23_a_malformed_key_is_refused_by_its_name(assoc: Association) -> None:
    step()
    for keyword, value in (
        (DATE, "20241301"),
        (DATE, "today"),
        (DATE, "20240707-20240705"),
        (DATE, "-"),
        (TIME, "2500"),
        (TIME, "1800-1000"),
    ):
        reply = network.ask(assoc, query({keyword: value}))
        assert (reply.pendings, reply.final.Status) == ((), 0xA900), value
        assert offending(reply.final) == [tag_of(keyword)]
        assert 0 < len(reply.final.ErrorComment) <= 64
        assert value == "-" or value not in reply.final.ErrorComment


def test_t28_an_error_comment_does_not_stick(assoc: Association) -> None:
    step(ScheduledProcedureStepID="S1")
    assert "ErrorComment" in network.ask(assoc, query({DATE: "20241301"})).final
    wanted = query(PatientID="", QueryRetrieveLevel="")
    with mock.patch(
        "pynetdicom.association.encode", lambda *_: network.encode(wanted, is_explicit=False)
    ):
        responses = list(assoc.send_c_find(Dataset(), ModalityWorklistInformationFind))
    assert [status.Status for status, _ in responses] == [WARNING, 0]
    for status, _ in responses:
        assert "ErrorComment" not in status
        assert "OffendingElement" not in status


@contextmanager
def database_down(
    tables: tuple[str, ...] = ("worklist_scheduledprocedurestep",),
) -> Iterator[None]:
    """The worklist's database cannot be had: closed on PostgreSQL, without its tables on SQLite."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        away, back = (
            ";".join(
                f"ALTER TABLE {old.format(table)} RENAME TO {new.format(table)}" for table in tables
            )
            for old, new in (("{}", "gone_{}"), ("gone_{}", "{}"))
        )

        def run(statement: str) -> None:
            with connection.cursor() as cursor:
                for one in statement.split(";"):
                    cursor.execute(one)
    else:
        # Unlike a renaming, it does not need the last session to have gone.
        away, back = (
            f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}' for allowed in ("false", "true")
        )
        server_of = {
            ours: connection.settings_dict[theirs]
            for ours, theirs in (
                ("host", "HOST"),
                ("port", "PORT"),
                ("user", "USER"),
                ("password", "PASSWORD"),
            )
            if connection.settings_dict[theirs]
        }

        def run(statement: str) -> None:
            with psycopg.connect(dbname="postgres", autocommit=True, **server_of) as own:
                own.execute(statement)

    run(away)
    connection.close()
    try:
        yield
    finally:
        run(back)


def test_t24_a_database_that_is_down_is_said_so_until_it_is_back(assoc: Association) -> None:
    step(ScheduledProcedureStepID="S1")
    connection.close()
    with database_down():
        for _ in range(2):
            reply = network.ask(assoc, query())
            assert (reply.pendings, reply.final.Status) == ((), 0xA700)
            assert reply.final.ErrorComment == "Worklist database unavailable, retry later"
    assert found(assoc) == "S1"


def test_more_matches_than_the_limit_are_refused_without_a_row(
    assoc: Association, settings: Any
) -> None:
    settings.DICOM_MATCH_LIMIT = 3
    for step_id in "abc":
        step(ScheduledProcedureStepID=step_id)
    assert found(assoc) == "a b c"
    step(ScheduledProcedureStepID="d")
    for name in ("", "müll*"):
        reply = network.ask(assoc, query(PatientName=name))
        assert (reply.pendings, reply.final.Status) == ((), 0xA700)
        assert "limit 3: narrow the query" in reply.final.ErrorComment


# --- T25: cancel ----------------------------------------------------------------------------------


def test_t25_a_cancel_ends_the_answers(assoc: Association) -> None:
    # Answers of 20 MB are more than the buffers between the two hold.
    first = step(PatientID="P", PatientComments="x" * 10240)
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            requested_procedure=first.requested_procedure,
            step_id=f"n{number}",
            start_date=DAY,
            start_time=dt.time(9),
            modality="CT",
        )
        for number in range(1999)
    )
    (context,) = assoc.accepted_contexts
    assert context.context_id is not None
    wanted = Dataset()
    wanted.PatientID = wanted.PatientComments = ""
    statuses = []
    for status, _ in assoc.send_c_find(wanted, ModalityWorklistInformationFind, msg_id=7):
        statuses.append(status.Status)
        if len(statuses) == 1:
            assoc.send_c_cancel(7, context.context_id)
    assert statuses[-1] == 0xFE00
    assert statuses[:-1] == [PENDING] * (len(statuses) - 1)
    assert len(statuses) < 2000
    assert [status for status, _ in network.ask(assoc, query(PatientID="P")).pendings][:1] == [
        PENDING
    ]


# --- T26, T27: damage -----------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", network.TRANSFER_SYNTAXES)
@pytest.mark.parametrize("has_undefined_lengths", [False, True])
def test_t26_a_truncated_identifier_never_finds_more(
    scp: WorklistScp, syntax: UID, has_undefined_lengths: bool
) -> None:
    step(AccessionNumber="A1", ScheduledProcedureStepID="mine")
    step(AccessionNumber="B1", ScheduledProcedureStepID="other")
    # The key that narrows stands first: what is cut away behind it only asks for less.
    wanted = {"AccessionNumber": "A1", "PatientName": "", STEP: {"Modality": "CT", STEP_ID: ""}}
    encoded = network.encode(
        Query(keys(wanted), has_undefined_lengths), is_explicit=syntax == ExplicitVRLittleEndian
    )
    refused = 0
    with network.association(scp.port, syntax) as assoc:
        for cut in range(1, len(encoded)):
            reply = ask_bytes(assoc, encoded[:cut])
            assert len(reply.pendings) <= 1, cut
            if reply.final.Status:
                assert (reply.pendings, reply.final.Status) == ((), 0xC001), cut
                refused += 1
        assert ids(ask_bytes(assoc, encoded)) == ["mine"]
    assert refused >= len(encoded) - 1 - 2  # but at the two ends of an element


@pytest.mark.parametrize("syntax", network.TRANSFER_SYNTAXES)
def test_t26_garbage_is_refused_and_the_server_lives(scp: WorklistScp, syntax: UID) -> None:
    step(ScheduledProcedureStepID="S1")
    with network.association(scp.port, syntax) as assoc:
        for garbage in (
            b"\xff" * 64,
            bytes(range(256)),
            b"not a data set at all",
            b"\x00" * 7,
            b"\x40\x00\x00\x01\xff\xff\xff\xff" * 40,
            b"\x40\x00\x00\x01SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 40,
        ):
            reply = ask_bytes(assoc, garbage)
            assert reply.pendings == ()
            assert reply.final.Status in (0xA900, 0xC001), garbage
            assert len(reply.final.ErrorComment) <= 64
        assert found(assoc) == "S1"


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize(
    ("model", "column", "text"),
    [
        (Patient, "name", "x" * 65),
        (Patient, "name", "a^b^c^d^e^f"),
        (Patient, "name", "Back\\slash"),
        (Patient, "patient_id", "x" * 65),
        (Patient, "patient_id", "1\\2"),
        (ImagingServiceRequest, "accession_number", "x" * 17),
        (ImagingServiceRequest, "accession_number", "A\\1"),
        (ScheduledProcedureStep, "description", "x" * 65),
        (ScheduledProcedureStep, "description", "a\nb"),
    ],
)
def test_t27_what_cannot_be_sent_cannot_be_saved(model: Any, column: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        model(**{column: text}).clean_fields()
    assert column in refused.value.message_dict


# --- T29, T30: association ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        (b"\x01\x01\x01\x01", b"\x01\x01\x00\x00"),
        (b"\x01\x01\x01", b"\x01\x01\x00"),
        (b"\x00\x01\x00\x00", b"\x00\x01\x00\x00"),
        (b"\x00", b"\x00"),
        (b"\x01\x01\x01\x01\x01", b"\x01\x01\x00\x00"),
        (b"", None),
    ],
)
def test_t29_extended_negotiation_takes_no_more_than_is_offered(
    scp: WorklistScp, offered: bytes, answered: bytes | None
) -> None:
    ae = AE("CT1")
    ae.add_requested_context(ModalityWorklistInformationFind)
    wish = SOPClassExtendedNegotiation()
    wish.sop_class_uid = ModalityWorklistInformationFind
    wish.service_class_application_information = offered
    assoc = ae.associate("127.0.0.1", scp.port, ext_neg=[wish] if offered else [])
    assert assoc.is_established
    assert assoc.acceptor.sop_class_extended.get(ModalityWorklistInformationFind) == answered
    assoc.release()


def test_an_address_of_ipv6_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs IPv6 on this machine")
    step(ScheduledProcedureStepID="S1")
    scp = WorklistScp(ae_title="WORKLIST", bind="::1", port=0)
    scp.start()
    try:
        ae = AE("CT1")
        ae.add_requested_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
        assoc = ae.associate("::1", scp.port, ae_title="WORKLIST", evt_handlers=client.HANDLERS)
        assert found(assoc) == "S1"
        assoc.release()
    finally:
        scp.stop()


def test_t30_a_peer_of_small_pdus_and_implicit_vr_gets_a_long_answer(scp: WorklistScp) -> None:
    comments = "x" * 10240
    step(ScheduledProcedureStepID="S1", PatientComments=comments)
    sizes: list[int] = []
    ae = AE("CT1")
    ae.add_requested_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
    assoc = ae.associate(
        *("127.0.0.1", scp.port),
        ae_title="WORKLIST",
        max_pdu=4096,
        evt_handlers=[
            *client.HANDLERS,
            (evt.EVT_PDU_RECV, lambda event: sizes.append(len(event.pdu))),
        ],
    )
    ((_, identifier),) = network.ask(assoc, query(PatientComments="")).pendings
    assoc.release()
    assert identifier.PatientComments == comments
    assert len(sizes) > 3
    assert max(sizes) <= 4096 + 6


def test_t30_twenty_modalities_at_once_are_each_answered(scp: WorklistScp) -> None:
    for number in range(20):
        step(PatientID=f"Q{number}", ScheduledProcedureStepID=f"S{number}")
    together = threading.Barrier(20, timeout=30)

    def one(number: int) -> list[str]:
        assoc = implicit_only(scp.port)
        together.wait()
        wanted = Dataset()
        wanted.PatientID = f"Q{number}"
        item = Dataset()
        item.ScheduledProcedureStepID = ""
        wanted.ScheduledProcedureStepSequence = [item]
        answers = list(assoc.send_c_find(wanted, ModalityWorklistInformationFind))
        together.wait()
        assoc.release()
        return [
            f"{status.Status:04X} "
            + (answer[STEP].value[0].ScheduledProcedureStepID if answer else "")
            for status, answer in answers
        ]

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))) == [[f"FF00 S{n}", "0000 "] for n in range(20)]


def test_t30_an_idle_association_stays_open_for_minutes(scp: WorklistScp) -> None:
    assert server.NETWORK_TIMEOUT >= 300
    assert scp._ae.network_timeout == server.NETWORK_TIMEOUT


# --- the database, and the log --------------------------------------------------------------------


def test_the_number_of_statements_does_not_grow_with_the_matches() -> None:
    wanted = plan.everything()
    counts = []
    for already, matches in ((0, 2), (2, 20)):
        for number in range(already, matches):
            step(stations=["CT1", "MR1"], codes=[Code.objects.create(value=f"C{number}")])
        with CaptureQueriesContext(connection) as statements:
            assert len(find.rows(wanted)) == matches
        counts.append(len(statements))
    assert counts == [1, 1]


def test_the_connection_is_given_back_before_the_first_answer_leaves(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DICOM_DATABASE_CONNECTIONS = 1
    monkeypatch.setattr(lease, "_turns", None)
    for step_id in ("S1", "S2"):
        step(ScheduledProcedureStepID=step_id)
    encoded = network.encode(query(), is_explicit=False)
    event: Any = SimpleNamespace(
        assoc=SimpleNamespace(
            requestor=SimpleNamespace(ae_title="CT1", address="127.0.0.1"),
            titles=Titles("CT1", "WORKLIST"),
            takes_bytes=True,
        ),
        request=SimpleNamespace(Identifier=BytesIO(encoded)),
        context=SimpleNamespace(transfer_syntax=ImplicitVRLittleEndian),
        is_cancelled=False,
    )
    answers = handlers.on_find(event)
    first = next(answers)
    # The only turn that there is may be another's now.
    assert lease.read(lambda: "read") == "read"
    with CaptureQueriesContext(connection) as statements:
        statuses = [first[0], *(status for status, _ in answers)]
    assert (statuses, len(statements)) == ([PENDING, PENDING], 0)


def test_the_log_holds_no_patient_and_one_line_a_request(
    scp: WorklistScp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    step(PatientName="Secret^Anna", PatientID="SEC-1", AccessionNumber="SEC-2")
    with network.association(scp.port, ImplicitVRLittleEndian) as assoc:
        for wanted in (
            query(PatientName="Secret*"),
            query(PatientID="SEC-1", AccessionNumber=""),
            query(PatientName="Secret*", PatientBirthDate="Secret"),
            query(PatientID=["SEC-1", "SEC-2"]),
        ):
            network.ask(assoc, wanted)
        ask_bytes(assoc, network.encode(query(PatientName="Secret*"), is_explicit=False)[:-1])
    lines = [record.getMessage() for record in caplog.records]
    assert not [line for line in lines if "ecret" in line or "SEC-" in line]
    requests = [line for line in lines if line.startswith("C-FIND ")]
    expected = [("1", "0000"), ("1", "0000"), ("0", "A900"), ("0", "A900"), ("0", "C001")]
    assert len(requests) == len(expected)
    for line, (matches, status) in zip(requests, expected, strict=True):
        assert f"matches={matches} status={status}" in line
