"""DICOM over TLS: who gets through the handshake, and whom its certificate lets speak for whom."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association as Conversation
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp import access, certificates
from dicomscp.access import Call, Reason
from dicomscp.journal import JOURNAL
from dicomscp.models import Association
from dicomscp.server import WorklistScp
from dicomscp.wire import client, tls
from dicomscp.wire.tls import Clients, Fault, Files
from tests import raw, tools
from tests.cast import actor, station, step
from tests.certificates import Authority, Identity
from tests.processes import runscp
from tests.test_wire import steps
from tests.waiting import until
from worklist import catalogue
from worklist.audit.models import AuditEvent
from worklist.models import Station

pytestmark = [pytest.mark.django_db(transaction=True), tools.needs("openssl")]

HERE = "127.0.0.1"
WORKLIST = ModalityWorklistInformationFind
__all__ = ["runscp"]  # a fixture


@dataclass(frozen=True)
class Pki:
    """The certificates of a hospital, and of somebody else."""

    folder: Path
    ours: Authority
    server: Identity
    ct1: Identity
    mr1: Identity
    expired: Identity
    # From an authority that nobody here has heard of.
    foreign: Identity

    def files(self, who: Identity | None = None) -> Files:
        """What a client calls with, and checks us by."""
        if who is None:
            return Files(authorities=self.ours.certificate)
        return Files(who.certificate, who.key, self.ours.certificate)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    ours, other = Authority.make(folder / "hospital"), Authority.make(folder / "elsewhere")
    return Pki(
        folder,
        ours,
        ours.issue("server"),
        ours.issue("ct1"),
        ours.issue("mr1"),
        ours.issue("old", days=-1),
        other.issue("foreign"),
    )


@dataclass
class Scps:
    """Servers by their mode; they stop with the test."""

    pki: Pki
    started: list[WorklistScp] = field(default_factory=list)

    def start(self, clients: Clients = Clients.REQUIRED) -> WorklistScp:
        files = Files(self.pki.server.certificate, self.pki.server.key, self.pki.ours.certificate)
        scp = WorklistScp(
            ae_title="WORKLIST", bind=HERE, port=0, tls=tls.Tls(files, clients), tls_port=0
        )
        scp.start()
        self.started.append(scp)
        return scp


@pytest.fixture
def scps(transactional_db: None, pki: Pki) -> Iterator[Scps]:
    made = Scps(pki)
    yield made
    for scp in made.started:
        scp.stop()


@pytest.fixture
def scp(scps: Scps) -> WorklistScp:
    return scps.start()


Change = Callable[[ssl.SSLContext], None]


def call(
    port: int,
    files: Files | None,
    *contexts: str,
    calling: str = "CT1",
    change: Change = lambda context: None,
) -> Conversation:
    ae = AE(calling)
    ae.acse_timeout = ae.connection_timeout = 10
    for each in contexts or (WORKLIST,):
        ae.add_requested_context(each)
    secure: Any = None
    if files is not None:
        context = tls.client_context(files)
        change(context)
        secure = (context, HERE)
    return ae.associate(
        HERE, port, ae_title="WORKLIST", evt_handlers=client.HANDLERS, tls_args=secure
    )


def statuses(assoc: Conversation) -> list[int]:
    wanted = Dataset()
    wanted.PatientID = ""
    return [int(status.Status) for status, _ in assoc.send_c_find(wanted, WORKLIST)]


def is_answered(assoc: Conversation) -> bool:
    if not assoc.is_established:
        return False
    answered = statuses(assoc)[-1] == 0
    assoc.release()
    return answered


def fault_of(scps: Scps) -> str:
    """Why the one association that came to nothing did, as the journal has it."""
    for scp in scps.started:
        scp.stop()
    (row,) = Association.objects.filter(is_accepted=False)
    assert (row.calling, row.address) == ("", HERE)
    assert row.ended
    return row.reason


# --- modes ----------------------------------------------------------------------------------------


def test_a_worklist_comes_by_tls(scps: Scps, pki: Pki) -> None:
    scp = scps.start()
    step(stations=[])
    for version, spoken in (("TLSv1_2", "TLSv1.2 ECDHE-"), ("TLSv1_3", "TLSv1.3 TLS_AES_")):

        def speak(context: ssl.SSLContext, version: str = version) -> None:
            context.maximum_version = ssl.TLSVersion[version]

        assoc = call(scp.tls_port, pki.files(pki.ct1), change=speak)
        assert statuses(assoc) == [0xFF00, 0]
        assoc.release()
        assert JOURNAL.flush()
        row = Association.objects.order_by("opened").last()
        assert row is not None
        assert row.tls.startswith(spoken)
        assert (len(row.certificate), row.certificate_subject) == (64, "CN=ct1")


def test_a_large_answer_comes_whole(scp: WorklistScp, pki: Pki) -> None:
    for _ in range(40):
        step(stations=[], PatientComments="x" * 10_000)
    assoc = call(scp.tls_port, pki.files(pki.ct1))
    wanted = Dataset()
    wanted.PatientComments = ""
    found = [match for _, match in assoc.send_c_find(wanted, WORKLIST) if match]
    assert [len(match.PatientComments) for match in found] == [10_000] * 40
    assoc.release()


@pytest.mark.parametrize(
    ("clients", "without", "foreign"),
    [
        (Clients.REQUIRED, False, False),
        (Clients.OPTIONAL, True, False),
        (Clients.OFF, True, True),
    ],
)
def test_certificates_are_required_optional_or_not_asked_for(
    scps: Scps, pki: Pki, clients: Clients, without: bool, foreign: bool
) -> None:
    port = scps.start(clients).tls_port
    assert is_answered(call(port, pki.files(pki.ct1)))
    assert is_answered(call(port, pki.files())) == without
    assert is_answered(call(port, pki.files(pki.foreign))) == foreign


def weak(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384")


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("expired", Reason.EXPIRED),
        ("foreign", Reason.UNTRUSTED),
        (None, Reason.NO_CERTIFICATE),
    ],
)
def test_a_certificate_that_will_not_do_ends_in_a_line_and_a_row(
    scps: Scps, pki: Pki, caplog: pytest.LogCaptureFixture, who: str | None, reason: Reason
) -> None:
    port = scps.start().tls_port
    with caplog.at_level(logging.INFO, logger="dicomscp"):
        assoc = call(port, pki.files(getattr(pki, who) if who else None))
        assert not assoc.is_established
        assert fault_of(scps) == reason
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("dicomscp")]
    assert line.startswith(f"connection refused peer={HERE} reason={reason}: {reason.words}")


def test_a_peer_that_distrusts_us_is_told_apart(scps: Scps, pki: Pki) -> None:
    port = scps.start().tls_port
    distrusting = Files(pki.ct1.certificate, pki.ct1.key, pki.folder / "elsewhere" / "ca.pem")
    assert not call(port, distrusting).is_established
    assert fault_of(scps) == Reason.DISTRUSTS_US


def test_old_suites_are_not_spoken(scps: Scps, pki: Pki) -> None:
    port = scps.start().tls_port
    assert not call(port, pki.files(pki.ct1), change=weak).is_established
    assert fault_of(scps) == Reason.NOTHING_IN_COMMON


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_not_spoken(scps: Scps, version: str) -> None:
    port = scps.start().tls_port
    at = f"{HERE}:{port}"
    run = subprocess.run(
        ["openssl", "s_client", "-connect", at, version, "-cipher", "ALL:@SECLEVEL=0"],
        input=b"",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert run.returncode != 0
    assert fault_of(scps) == Reason.NOTHING_IN_COMMON


def test_a_plain_peer_on_the_tls_port(scps: Scps) -> None:
    port = scps.start().tls_port
    assert not call(port, None).is_established
    assert fault_of(scps) == Reason.NOT_TLS


def test_a_tls_peer_on_the_plain_port(scps: Scps, pki: Pki) -> None:
    port = scps.start().port
    assert not call(port, pki.files(pki.ct1)).is_established
    assert fault_of(scps) == Reason.TLS_WHERE_NONE_IS


# Whichever way it is answered, too.
@pytest.mark.network
def test_both_ports_serve_at_the_same_time(scp: WorklistScp, pki: Pki) -> None:
    assert is_answered(call(scp.port, None))
    assert is_answered(call(scp.tls_port, pki.files(pki.ct1)))


def opened(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """A connection that would go on with the session of another."""
    plain = socket.create_connection((HERE, port), timeout=10)
    return context.wrap_socket(plain, server_hostname=HERE, session=session)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_nothing_is_resumed(scp: WorklistScp, pki: Pki, version: str) -> None:
    context = tls.client_context(pki.files(pki.ct1))
    context.maximum_version = ssl.TLSVersion[version]
    with opened(context, scp.tls_port) as first:
        # OpenSSL forgets a session whose connection was hung up on, as ours are: only then.
        with opened(context, scp.tls_port, first.session) as second:
            assert not second.session_reused
        # No request: it is aborted.
        first.sendall(b"\xff\x00\x00\x00\x00\x00")
        while first.recv(4096):
            pass
        with opened(context, scp.tls_port, first.session) as second:
            assert not second.session_reused


# --- peers that are silent ------------------------------------------------------------------------


def test_silent_peers_keep_nobody_waiting(scps: Scps, pki: Pki, settings: Any) -> None:
    settings.DICOM_HANDSHAKE_SECONDS = 60.0
    settings.DICOM_MAX_CONNECTIONS_PER_ADDRESS = 200
    scp = scps.start()
    with contextlib.ExitStack() as silent:
        # More than may be associated at the same time; some have begun to speak.
        for number in range(120):
            peer = silent.enter_context(socket.create_connection((HERE, scp.tls_port)))
            peer.sendall((b"", tls.HELLO, tls.HELLO + b"\x03\x01\x02\x00\x01")[number % 3])
        for _ in range(3):
            assert is_answered(call(scp.tls_port, pki.files(pki.ct1)))
            assert is_answered(call(scp.port, None))


def test_no_more_handshakes_than_allowed_at_the_same_time(
    scps: Scps, pki: Pki, settings: Any
) -> None:
    settings.DICOM_MAX_HANDSHAKES = 3
    scp = scps.start()
    with contextlib.ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(socket.create_connection((HERE, scp.tls_port)))
        with socket.create_connection((HERE, scp.tls_port), timeout=10) as one_more:
            assert one_more.recv(1) == b""
        # The other port is as it was.
        assert is_answered(call(scp.port, None))
    until(lambda: is_answered(call(scp.tls_port, pki.files(pki.ct1))))


def test_a_peer_that_does_not_read_is_left_by_tls_too(scps: Scps, pki: Pki, settings: Any) -> None:
    settings.DICOM_SEND_SECONDS = 0.5
    scp = scps.start()
    steps(600, PatientComments="x" * 10000)
    context = tls.client_context(pki.files(pki.ct1))
    with raw.Peer(scp.tls_port, receives=4096) as peer:
        peer.socket = context.wrap_socket(peer.socket, server_hostname=HERE)
        peer.associate()
        peer.send(raw.find(1, bytes.fromhex("1000004000000000")))
        peer.read(1)
        (association,) = scp._servers[1].active_associations
        association.join(20)
        assert not association.is_alive()
    assert is_answered(call(scp.port, None))


def test_a_silent_peer_is_hung_up_on(scps: Scps, settings: Any) -> None:
    settings.DICOM_HANDSHAKE_SECONDS = 0.3
    scp = scps.start()
    with socket.create_connection((HERE, scp.tls_port), timeout=10) as peer:
        peer.sendall(tls.HELLO + b"\x03\x01\x10\x00\x01\x00\x0f\xf0")
        # A byte now and then wins no time.
        with pytest.raises(OSError):  # reset or broken pipe, as it happens
            while peer.recv(1) if _is_over(peer) else True:
                peer.sendall(b"\0")
            raise ConnectionResetError
    assert fault_of(scps) == Reason.SILENT


def _is_over(peer: socket.socket) -> bool:
    """Whether the other side has said something or gone within a moment."""
    peer.settimeout(0.05)
    try:
        return peer.recv(1, socket.MSG_PEEK) is not None
    except TimeoutError:
        return False
    finally:
        peer.settimeout(10)


def test_who_only_looks_at_the_port_leaves_no_row(scp: WorklistScp) -> None:
    for _ in range(20):
        socket.create_connection((HERE, scp.tls_port)).close()
    scp.stop()
    assert not Association.objects.exists()


# --- certificates and stations --------------------------------------------------------------------


def fingerprint(who: Identity) -> str:
    told = subprocess.run(
        ["openssl", "x509", "-in", who.certificate, "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


@pytest.fixture
def known(settings: Any) -> None:
    settings.DICOM_ACCESS = "known"


def bound(title: str, who: Identity) -> Station:
    made = station(title)
    made.certificates = fingerprint(who)
    return catalogue.save_station(made, seen=None, by=actor)


def rejected(assoc: Conversation) -> bool:
    answer: Any = assoc.acceptor.primitive
    return assoc.is_rejected and (answer.result, answer.result_source, answer.diagnostic) == (
        1,
        1,
        3,
    )


@pytest.mark.usefixtures("known")
def test_a_bound_station_is_answered_with_its_certificate_alone(scps: Scps, pki: Pki) -> None:
    scp = scps.start(Clients.OPTIONAL)
    bound("CT1", pki.ct1)
    assert is_answered(call(scp.tls_port, pki.files(pki.ct1)))
    others = [
        call(scp.tls_port, pki.files(pki.mr1)),
        call(scp.tls_port, pki.files()),
        call(scp.port, None),
    ]
    assert all(map(rejected, others))
    scp.stop()
    reasons = Association.objects.filter(is_accepted=False).values_list("reason", flat=True)
    assert list(reasons) == [Reason.CERTIFICATE] * 3


@pytest.mark.usefixtures("known")
def test_a_bound_certificate_speaks_for_no_other_title(scp: WorklistScp, pki: Pki) -> None:
    bound("CT1", pki.ct1)
    station("MR1")
    assert is_answered(call(scp.tls_port, pki.files(pki.mr1), calling="MR1"))
    assert rejected(call(scp.tls_port, pki.files(pki.ct1), calling="MR1"))
    assert rejected(call(scp.tls_port, pki.files(pki.ct1), calling="EVIL"))


@pytest.mark.usefixtures("known")
def test_verification_is_everybodys_and_shows_the_new_certificate(
    scp: WorklistScp, pki: Pki
) -> None:
    ct1 = bound("CT1", pki.ct1)
    assoc = call(scp.tls_port, pki.files(pki.mr1), Verification)
    assert assoc.send_c_echo().Status == 0
    assoc.release()
    assert JOURNAL.flush()
    shown, at_first = certificates.seen(ct1)
    assert (shown.subject, shown.is_bound) == ("CN=mr1", False)
    assert (at_first.is_bound, at_first.last) == (True, None)
    catalogue.trust_certificate(ct1, shown.fingerprint, by=actor)
    # The old one stays: nobody knows the hour in which a scanner changes over.
    assert is_answered(call(scp.tls_port, pki.files(pki.mr1)))
    assert is_answered(call(scp.tls_port, pki.files(pki.ct1)))


@pytest.mark.usefixtures("known")
def test_a_binding_counts_where_an_association_stays_open(scp: WorklistScp, pki: Pki) -> None:
    station("CT1")
    assoc = call(scp.tls_port, pki.files(pki.ct1))
    assert statuses(assoc) == [0]
    bound("CT1", pki.mr1)
    assert statuses(assoc) == [0x0124]
    assoc.release()


@pytest.mark.usefixtures("known")
def test_set_up_mode_is_no_way_round_a_certificate(pki: Pki) -> None:
    ct1 = bound("CT1", pki.ct1)
    access.let_anybody_in(by=actor)
    assert access.on_request(Call("CT1", HERE)).reason == Reason.CERTIFICATE
    shown = Call("CT1", HERE, certificate=ct1.certificates)
    assert access.on_request(shown).reason == Reason.KNOWN


def test_trust_is_signed_and_taken_back(pki: Pki) -> None:
    ct1 = bound("CT1", pki.ct1)
    first, second = ct1.certificates, "ab" * 32
    catalogue.trust_certificate(ct1, second, by=actor)
    catalogue.trust_certificate(ct1, second, by=actor)
    catalogue.distrust_certificate(ct1, first, by=actor)
    assert Station.objects.get().certificates == second
    events = AuditEvent.objects.filter(model="worklist.station").order_by("pk")
    assert [event.after["certificates"] for event in events][-2:] == [f"{first} {second}", second]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("", ""),
        ("sha256 Fingerprint=" + ":".join(["AB"] * 32), "ab" * 32),
        ("ab" * 32 + ", " + "CD" * 32 + "\n" + "ab" * 32, "ab" * 32 + " " + "cd" * 32),
    ],
)
def test_fingerprints_are_read_as_they_are_pasted(typed: str, stored: str) -> None:
    made = station("CT1")
    made.certificates = typed
    catalogue.save_station(made, seen=None, by=actor)
    assert Station.objects.get().certificates == stored


# --- faults and reasons ---------------------------------------------------------------------------


def test_every_fault_of_a_caller_is_a_reason() -> None:
    # The one that is heard of by us as a client, and the one that leaves no row.
    told = set(Fault) - {Fault.OTHER_NAME, Fault.GONE}
    assert {str(fault) for fault in told} == {str(reason) for reason in access.OF_TLS}


# --- manage.py find -------------------------------------------------------------------------------


def find(port: int, *options: str) -> str:
    out = StringIO()
    call_command("find", "--port", str(port), "--date", "all", *options, stdout=out)
    return out.getvalue()


def test_find_asks_by_tls(scp: WorklistScp, pki: Pki) -> None:
    step(stations=[], PatientID="P1")
    mine = ("--tls", "--tls-cert", str(pki.ct1.certificate), "--tls-key", str(pki.ct1.key))
    checked = find(scp.tls_port, *mine, "--tls-ca", str(pki.ours.certificate))
    assert "P1" in checked
    assert "was not checked" not in checked
    assert "Its certificate was not checked" in find(scp.tls_port, *mine)
    elsewhere = pki.folder / "elsewhere" / "ca.pem"
    with pytest.raises(CommandError, match="cannot be reached by TLS: cert-untrusted"):
        find(scp.tls_port, *mine, "--tls-ca", str(elsewhere))
    with pytest.raises(CommandError, match="did not answer as a DICOM application"):
        find(scp.tls_port, "--tls")
    with pytest.raises(CommandError, match="cannot be reached by TLS"):
        find(scp.port, *mine)


# --- DCMTK ----------------------------------------------------------------------------------------


def dcmtk(program: str, port: int, *options: str) -> subprocess.CompletedProcess[str]:
    found = tools.findscu()
    assert found is not None
    titles = ("-aet", "CT1", "-aec", "WORKLIST")
    return subprocess.run(
        [found.with_name(program), "-v", *titles, *options, HERE, str(port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@tools.needs("dcmtk")
def test_dcmtk_comes_by_tls(scp: WorklistScp, pki: Pki) -> None:
    step(stations=[], PatientID="P1")
    ours = ("+cf", str(pki.ours.certificate))
    mine = ("+tls", str(pki.ct1.key), str(pki.ct1.certificate), *ours)
    echo = dcmtk("echoscu", scp.tls_port, *mine)
    assert echo.returncode == 0, echo.stderr
    find = dcmtk("findscu", scp.tls_port, *mine, "-W", "-k", "PatientID")
    assert (find.returncode, "[P1" in find.stdout + find.stderr) == (0, True), find.stderr
    # Its profiles of TLS 1.2, and without a certificate.
    assert dcmtk("echoscu", scp.tls_port, *mine, "+py").returncode == 0
    assert dcmtk("echoscu", scp.tls_port, "+tla", *ours).returncode != 0
