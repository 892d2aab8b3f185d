"""Who may call: the verdict, and what a peer sees of it."""

from __future__ import annotations

import datetime as dt
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp import access, associations, callers
from dicomscp.access import Call, Reason
from dicomscp.models import Association as Row
from dicomscp.models import SetUpMode
from dicomscp.server import WorklistScp
from dicomscp.wire import client
from tests import tools
from tests.cast import actor, station, step
from tests.test_acceptance import database_down
from worklist import catalogue
from worklist.audit.models import AuditEvent
from worklist.models import Station

HERE = "127.0.0.1"
WORKLIST = ModalityWorklistInformationFind


@pytest.fixture(autouse=True)
def known(settings: Any) -> None:
    settings.DICOM_ACCESS = "known"


def ct1(**more: Any) -> Station:
    made = station()
    for name, value in more.items():
        setattr(made, name, value)
    return catalogue.save_station(made, titles=["CT01"], seen=None, by=actor)


# --- the verdict ----------------------------------------------------------------------------------


def verdict(calling: str, address: str = HERE) -> Reason:
    asked = access.on_request(Call(calling, address))
    assert asked == access.on_query(Call(calling, address))
    return asked.reason


@pytest.mark.django_db
def test_stations_may_call_by_each_of_their_titles_as_they_are_spelled() -> None:
    ct1()
    titles = {title: verdict(title) for title in ("CT1", "CT01", "ct1", "CT-01", "EVIL", "")}
    known_ones = {title for title, reason in titles.items() if reason == Reason.KNOWN}
    assert known_ones == {"CT1", "CT01"}
    assert set(titles.values()) == {Reason.KNOWN, Reason.STRANGER}


@pytest.mark.django_db
def test_as_long_as_no_station_is_set_up_everybody_may_call() -> None:
    assert verdict("EVIL") == Reason.NO_STATION
    # One that may not ask is one that is set up: to switch the last one off opens no door.
    ct1(is_allowed=False)
    assert (verdict("EVIL"), verdict("CT1")) == (Reason.STRANGER, Reason.SWITCHED_OFF)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("networks", "address", "reason"),
    [
        ("", "192.0.2.7", Reason.KNOWN),
        ("10.1.2.0/24, 10.9.9.9", "10.1.2.200", Reason.KNOWN),
        ("10.1.2.0/24, 10.9.9.9", "10.9.9.9", Reason.KNOWN),
        ("10.1.2.0/24, 10.9.9.9", "10.9.9.8", Reason.ADDRESS),
        ("10.1.2.0/24", "::ffff:10.1.2.31", Reason.KNOWN),
        ("fd00::/8", "fd00::1%eth0", Reason.KNOWN),
        ("fd00::/8", "10.1.2.31", Reason.ADDRESS),
        ("10.1.2.0/24", "", Reason.ADDRESS),
    ],
)
def test_a_station_may_call_from_its_addresses(networks: str, address: str, reason: Reason) -> None:
    ct1(networks=networks)
    assert verdict("CT1", address) == reason


@pytest.mark.django_db
def test_set_up_mode_lets_strangers_in_and_ends_by_itself() -> None:
    ct1(networks="10.1.2.0/24")
    off = Station(ae_title="CT2", is_allowed=False)
    catalogue.save_station(off, seen=None, by=actor)
    mode = access.let_anybody_in(by=actor)
    assert mode.ends - timezone.now() > dt.timedelta(hours=23, minutes=59)
    assert (verdict("EVIL"), verdict("CT1")) == (Reason.SET_UP_MODE, Reason.SET_UP_MODE)
    assert verdict("CT2") == Reason.SWITCHED_OFF
    SetUpMode.objects.update(began=timezone.now() - SetUpMode.LASTS, ends=timezone.now())
    assert access.set_up_mode() is None
    assert verdict("EVIL") == Reason.STRANGER


@pytest.mark.django_db
def test_set_up_mode_is_switched_on_longer_and_off_and_signed() -> None:
    first = access.let_anybody_in(by=actor)
    assert access.let_anybody_in(by=actor).pk == first.pk
    access.end_set_up_mode(by=actor)
    assert access.set_up_mode() is None
    signed = AuditEvent.objects.filter(model="dicomscp.setupmode").order_by("pk")
    assert [(event.actor, event.action) for event in signed] == [
        ("ines", "create"),
        ("ines", "change"),
        ("ines", "change"),
    ]


@pytest.mark.django_db
def test_any_lets_everybody_in_and_each_station_keeps_its_rules(settings: Any) -> None:
    ct1(sees="OWN", is_allowed=False)
    settings.DICOM_ACCESS = "any"
    assert (verdict_any("EVIL"), verdict_any("CT1")) == ("ALL", "OWN")


def verdict_any(calling: str) -> str:
    asked = access.on_query(Call(calling, HERE))
    assert asked.reason == Reason.ANY
    return asked.station.rules.sees if asked.station else "ALL"


@pytest.mark.django_db
def test_the_called_title_counts_where_it_is_checked_for_verification_too(settings: Any) -> None:
    ct1()
    call = Call("CT1", HERE, called="ARCHIVE", our_title="WORKLIST")
    echo = Call("EVIL", HERE, called="ARCHIVE", our_title="WORKLIST", is_echo=True)
    assert access.on_request(call).is_accepted
    assert access.on_request(echo).reason == Reason.VERIFICATION
    settings.DICOM_CHECK_CALLED_AE_TITLE = True
    for each in (call, echo):
        assert access.on_request(each).rejection == (1, 1, 7)


def test_an_address_is_told_as_it_is_set_up() -> None:
    told = {"10.1.2.31": "10.1.2.31", "::ffff:10.1.2.31": "10.1.2.31", "fe80::1%eth0": "fe80::1"}
    assert {address: access.plain_address(address) for address in told} == told


def test_every_reason_has_words() -> None:
    assert all(reason.words for reason in Reason)


def test_a_mistyped_access_is_told(settings: Any) -> None:
    settings.DICOM_ACCESS = "anybody"
    assert "worklist.E014" in [message.id for message in run_checks()]


# --- over the network -----------------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


def call(port: int, calling: str, *contexts: str, called: str = "WORKLIST") -> Association:
    ae = AE(calling)
    for context in contexts or (WORKLIST,):
        ae.add_requested_context(context)
    return ae.associate(HERE, port, ae_title=called, evt_handlers=client.HANDLERS)


def ask(assoc: Association) -> list[Dataset]:
    """The statuses of the answers to a query for everything."""
    wanted = Dataset()
    wanted.PatientID = ""
    return [status for status, _ in assoc.send_c_find(wanted, WORKLIST)]


def rejection(assoc: Association) -> tuple[Any, ...]:
    answer: Any = assoc.acceptor.primitive
    assert assoc.is_rejected
    return answer.result, answer.result_source, answer.diagnostic, answer.reason_str


def test_a_station_is_answered_and_a_stranger_rejected(scp: WorklistScp) -> None:
    step(stations=[])
    ct1()
    for title in ("CT1", "CT01"):
        assoc = call(scp.port, title)
        assert [status.Status for status in ask(assoc)] == [0xFF00, 0]
        assoc.release()
    for calling in ("EVIL", "ct1"):
        for contexts in ((WORKLIST,), (Verification, WORKLIST)):
            told = rejection(call(scp.port, calling, *contexts))
            assert told == (1, 1, 3, "Calling AE title not recognised")


def test_verification_alone_is_everybodys(scp: WorklistScp) -> None:
    ct1()
    assoc = call(scp.port, "EVIL", Verification)
    assert assoc.send_c_echo().Status == 0
    assoc.release()


def test_other_reasons_to_reject(scp: WorklistScp, settings: Any) -> None:
    made = ct1(networks="10.1.2.0/24")
    assert rejection(call(scp.port, "CT1"))[:3] == (1, 1, 3)
    made.networks = "127.0.0.0/8"
    catalogue.save_station(made, seen=None, by=actor)
    settings.DICOM_CHECK_CALLED_AE_TITLE = True
    assert rejection(call(scp.port, "CT1", called="ARCHIVE"))[:3] == (1, 1, 7)
    call(scp.port, "CT1").release()
    made.is_allowed = False
    catalogue.save_station(made, seen=None, by=actor)
    assert rejection(call(scp.port, "CT1"))[:3] == (1, 1, 3)


def test_a_station_that_is_switched_off_is_refused_where_it_is_connected(scp: WorklistScp) -> None:
    step(stations=[])
    made = ct1()
    assoc = call(scp.port, "CT1")
    assert [status.Status for status in ask(assoc)] == [0xFF00, 0]
    made.is_allowed = False
    catalogue.save_station(made, seen=None, by=actor)
    (refused,) = ask(assoc)
    assert (refused.Status, refused.ErrorComment) == (0x0124, "Calling AE title not recognised")
    assoc.release()


def test_an_outage_does_not_look_like_a_stranger_and_opens_no_door(scp: WorklistScp) -> None:
    step(stations=[])
    ct1()
    connection.close()
    with database_down(tables=("worklist_station", "worklist_scheduledprocedurestep")):
        friend, stranger = call(scp.port, "CT1"), call(scp.port, "EVIL")
        for assoc in (friend, stranger):
            (told,) = ask(assoc)
            assert told.Status == 0xA700
            assert told.ErrorComment == "Worklist database unavailable, retry later"
    assert [status.Status for status in ask(friend)] == [0xFF00, 0]
    assert [status.Status for status in ask(stranger)] == [0x0124]
    friend.release()
    stranger.release()


def request_in_bytes(port: int, calling: bytes, *, version: bytes = b"RAW") -> bytes:
    """The kind of PDU that answers an A-ASSOCIATE-RQ with these very bytes."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    items = item(0x10, b"1.2.840.10008.3.1.1.1")
    syntaxes = item(0x30, WORKLIST.encode()) + item(0x40, b"1.2.840.10008.1.2")
    items += item(0x20, b"\1\0\0\0" + syntaxes)
    about = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    items += item(0x50, about + item(0x55, version))
    fixed = struct.pack(">HH", 1, 0) + b"WORKLIST".ljust(16) + calling.ljust(16) + bytes(32)
    with socket.create_connection((HERE, port), timeout=30) as line:
        line.sendall(struct.pack(">BxL", 1, len(fixed + items)) + fixed + items)
        return line.recv(1)


ACCEPTED, REJECTED = b"\2", b"\3"


@pytest.mark.parametrize("calling", [b"CT1\0", b"CT1\0\0\0\xfe\0junk", b" CT1", b"CT1\n"])
def test_titles_are_padded_in_every_way(scp: WorklistScp, calling: bytes) -> None:
    ct1()
    assert request_in_bytes(scp.port, calling) == ACCEPTED
    scp.stop()
    assert Row.objects.get().calling == "CT1"


@pytest.mark.parametrize(
    ("calling", "told"),
    [
        (b"\xe9CT1", "\\xe9CT1"),
        (b"C\\T1", "C\\\\T1"),
        (b"C\tT1", "C\\tT1"),
        ("ŁCT1".encode(), "\\xc5\\x81CT1"),
        (b"", ""),
    ],
)
def test_a_title_that_cannot_be_is_rejected_and_shown(
    scp: WorklistScp, calling: bytes, told: str
) -> None:
    ct1()
    station("?CT1")
    assert request_in_bytes(scp.port, calling) == REJECTED
    scp.stop()
    (caller,) = callers.to_look_at()
    assert (caller.calling, caller.reason, caller.can_be_set_up) == (told, "stranger", False)


@pytest.mark.parametrize("version", [b"MODEL 7\0", b"\xe9", b"x" * 40, b"A\\B", b""])
def test_the_name_of_its_software_keeps_no_scanner_out(scp: WorklistScp, version: bytes) -> None:
    ct1()
    assert request_in_bytes(scp.port, b"CT1", version=version) == ACCEPTED


def test_our_own_client_says_what_to_do(scp: WorklistScp) -> None:
    step(stations=[], PatientID="P1")
    ct1()
    ask_as = partial(call_command, "find", "--port", str(scp.port), "--date", "all")
    with pytest.raises(CommandError, match=r"not recognised\. It answers .* \(--calling CT1\)"):
        ask_as()
    out = StringIO()
    ask_as("--calling", "CT1", stdout=out)
    assert "P1" in out.getvalue()


@tools.needs("dcmtk")
def test_dcmtk_says_why_it_was_rejected(scp: WorklistScp) -> None:
    ct1()
    program = tools.findscu()
    assert program is not None
    options = ("-v", "-W", "-aet", "EVIL", "-aec", "WORKLIST", "-k", "PatientName")
    command = [str(program), *options, HERE, str(scp.port)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = run.stdout + run.stderr
    assert run.returncode != 0
    assert "Rejected Permanent" in said
    assert "Calling AE Title Not Recognized" in said


def test_what_is_no_uid_is_not_remembered() -> None:
    before = associations._name_of.cache_info().currsize
    longer = "1." * 40 + "1"
    assert associations._name(longer) == longer
    assert associations._name_of.cache_info().currsize == before
    assert associations._name("1.2.840.10008.1.1") == "Verification SOP Class"
