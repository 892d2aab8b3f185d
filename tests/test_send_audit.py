"""The audit trail on its way to a collector: a real TLS listener, with its faults and outages."""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from tests import tools
from tests.audit_schema import faults
from tests.cast import actor, patient
from tests.certificates import Authority, Identity
from worklist import delivery
from worklist.audit import syslog, trail
from worklist.audit.models import AuditEvent, Delivery, Outcome
from worklist.audit.trail import Actor
from worklist.delivery import Sender

ROOT = Path(__file__).resolve().parent.parent
HEADER = re.compile(
    r"<(?P<pri>\d+)>1 (?P<at>\S+) (?P<host>\S+) (?P<program>\S+) (?P<process>\S+) (?P<id>\S+) - "
)
SOON = 10.0  # seconds that a test waits at most for what is under way


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    return authority.issue("collector")


def messages(stream: bytes) -> list[bytes]:
    """The syslog messages of a stream (RFC 5425: the number of octets stands before each)."""
    found = []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)])
        assert len(found[-1]) == int(length), "the stream ends within a message"
        stream = rest[int(length) :]
    return found


class Listener:
    """A collector: reads each connection to its end and closes it as `closes` says."""

    def __init__(self, identity: Identity, *, client_ca: Path | None = None, port: int = 0) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        self.closes = "well"
        self.heard: Queue[bytes] = Queue()
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._silent: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # A thread that waits in accept() would keep the port open.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for held in self._silent:
            held.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            plain.settimeout(SOON)
            try:
                self._take(plain)
            except OSError:
                plain.close()

    def _take(self, plain: socket.socket) -> None:
        if self.closes == "hangs up":
            # What was sent lies there unread.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.close()
            return
        secure = self._context.wrap_socket(plain, server_side=True)
        stream = b""
        while data := secure.recv(65536):
            stream += data
        if self.closes == "well":
            # Kept before it is confirmed, as a collector should.
            self.heard.put(stream)
            secure.unwrap().close()
        elif self.closes == "silent":
            self._silent.append(secure)
        else:
            secure.close()

    def streams(self) -> list[bytes]:
        """What has come whole so far, a connection each."""
        found = []
        while True:
            try:
                found.append(self.heard.get_nowait())
            except Empty:
                return found

    def whole(self) -> list[bytes]:
        return [message for stream in self.streams() for message in messages(stream)]


@pytest.fixture
def listener(server: Identity) -> Iterator[Listener]:
    made = Listener(server)
    yield made
    made.close()


def sender(listener: Listener, authority: Authority, **files: str) -> Sender:
    context = syslog.context(ca=str(authority.certificate), **files)
    return Sender(syslog.Collector("127.0.0.1", listener.port, context))


def who(message: bytes) -> str:
    """Whose event it is."""
    return fromstring(message.partition(b"\xef\xbb\xbf")[2])[1].attrib["UserID"]


def note(*names: str) -> None:
    for name in names:
        trail.note("view", by=Actor(name), label="x")


@pytest.fixture
def empty_trail(db: None) -> None:
    AuditEvent.objects.all().delete()


# --- what goes over the line ----------------------------------------------------------------------


def test_a_message_is_framed_as_the_two_rfcs_and_a6_say(
    empty_trail: None, listener: Listener, authority: Authority
) -> None:
    patient()
    trail.note("sign-in", by=actor, outcome=Outcome.MINOR_FAILURE)
    assert sender(listener, authority).send_some() == 2
    created, failed = listener.whole()
    for message, severity in ((created, 5), (failed, 4)):
        header, _, body = message.partition(b"\xef\xbb\xbf")
        found = HEADER.fullmatch(header.decode("ascii"))
        assert found
        assert int(found["pri"]) == 10 * 8 + severity
        assert dt.datetime.fromisoformat(found["at"]).tzinfo
        assert (found["program"], found["id"]) == ("WORKLIST", "DICOM+RFC3881")
        assert faults(body) == []
    assert "Müller^Anna".encode() in created


@given(st.text(max_size=300), st.text(max_size=60), st.binary(min_size=1, max_size=50))
def test_whatever_a_machine_is_called_the_header_has_its_seven_fields(
    host: str, program: str, body: bytes
) -> None:
    at = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    framed = syslog.frame(body, at=at, host=host, program=program, is_failure=False)
    (message,) = messages(framed)
    header, _, rest = message.partition(b"\xef\xbb\xbf")
    assert HEADER.fullmatch(header.decode("ascii"))
    assert rest == body


def test_our_own_certificate_is_shown_to_a_collector_that_asks(
    empty_trail: None, authority: Authority, server: Identity
) -> None:
    note("a")
    ours = authority.issue("broker", names="DNS:broker")
    made = Listener(server, client_ca=authority.certificate)
    try:
        # In TLS 1.3 it says so after the handshake, perhaps after all was sent.
        for _ in range(20):
            with pytest.raises(OSError):
                sender(made, authority).send_some()
        assert Delivery.objects.get().last == 0
        files = {"certificate": str(ours.certificate), "key": str(ours.key)}
        assert sender(made, authority, **files).send_some() == 1
        assert [who(message) for message in made.whole()] == ["a"]
    finally:
        made.close()


@pytest.mark.parametrize(
    ("names", "days"), [("DNS:elsewhere.example", 2), ("IP:127.0.0.1", -1)], ids=["name", "expired"]
)
def test_a_collector_that_is_not_who_it_should_be_hears_nothing(
    empty_trail: None, authority: Authority, names: str, days: int
) -> None:
    note("a")
    made = Listener(authority.issue(f"other{days}", names=names, days=days))
    try:
        with pytest.raises(ssl.SSLCertVerificationError):
            sender(made, authority).send_some()
        assert made.streams() == []
    finally:
        made.close()


def test_a_collector_of_another_authority_hears_nothing(
    empty_trail: None, listener: Listener, tmp_path: Path
) -> None:
    note("a")
    with pytest.raises(ssl.SSLCertVerificationError):
        sender(listener, Authority.make(tmp_path / "stranger")).send_some()


# --- in order, at least once ----------------------------------------------------------------------


def test_batches_follow_each_other_and_nothing_is_sent_twice(
    empty_trail: None,
    listener: Listener,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "_BATCH", 2)
    note("a", "b", "c", "d", "e")
    sending = sender(listener, authority)
    assert [sending.send_some() for _ in range(4)] == [2, 2, 1, 0]
    assert [who(message) for message in listener.whole()] == ["a", "b", "c", "d", "e"]
    note("f")
    # A new process goes on where the last one was.
    assert sender(listener, authority).send_some() == 1
    assert [who(message) for message in listener.whole()] == ["f"]


@pytest.mark.parametrize("closes", ["hangs up", "abruptly", "silent"])
def test_what_the_collector_did_not_confirm_is_sent_again(
    empty_trail: None,
    listener: Listener,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    closes: str,
) -> None:
    monkeypatch.setattr(syslog, "_TIMEOUT", 1.0)
    note("a", "b")
    sending = sender(listener, authority)
    listener.closes = closes
    with pytest.raises(OSError):
        sending.send_some()
    assert delivery.waiting(f"127.0.0.1:{listener.port}") == 2
    note("c")
    listener.closes = "well"
    assert sending.send_some() == 3
    assert [who(message) for message in listener.whole()] == ["a", "b", "c"]
    assert delivery.waiting(f"127.0.0.1:{listener.port}") == 0


def test_a_message_that_is_sent_again_is_the_same_to_the_octet(
    empty_trail: None, listener: Listener, authority: Authority
) -> None:
    note("a")
    sender(listener, authority).send_some()
    # As if the process had been killed before it could write this down.
    Delivery.objects.update(last=0)
    sender(listener, authority).send_some()
    first, second = listener.streams()
    assert first == second


def test_a_writer_never_waits_for_the_collector(
    empty_trail: None, authority: Authority, server: Identity
) -> None:
    # No one listens, and no one sends: the trail is written all the same.
    note("a")
    assert AuditEvent.objects.count() == 1
    assert not Delivery.objects.exists()


# --- numbers that are given before they are there -------------------------------------------------


class Writer:
    """A transaction of its own that writes an event and ends when it is told to."""

    def __init__(self, name: str) -> None:
        self._orders: Queue[str] = Queue()
        self._done: Queue[str] = Queue()
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()
        assert self._done.get(timeout=SOON) == "written"

    def end(self, how: str) -> None:
        self._orders.put(how)
        self._thread.join(SOON)
        assert not self._thread.is_alive()

    def _run(self, name: str) -> None:
        try:
            connection.set_autocommit(False)
            note(name)
            self._done.put("written")
            if self._orders.get(timeout=SOON) == "commit":
                connection.commit()
            else:
                connection.rollback()
        finally:
            connection.close()


@pytest.fixture
def on_postgres(transactional_db: None) -> None:
    AuditEvent.objects.all().delete()
    tools.require("postgres")


@pytest.mark.parametrize(
    ("end", "expected"), [("commit", ["early", "late"]), ("roll back", ["late"])]
)
def test_an_event_that_is_still_being_written_is_waited_for(
    on_postgres: None, listener: Listener, authority: Authority, end: str, expected: list[str]
) -> None:
    early = Writer("early")
    note("late")
    sending = sender(listener, authority)
    assert (sending.send_some(), sending.waits_for_writers) == (0, True)
    # Who begins to write now is not waited for.
    later = Writer("even later")
    early.end(end)
    assert sending.send_some() == len(expected)
    assert [who(message) for message in listener.whole()] == expected
    later.end("commit")
    assert sending.send_some() == 1


def test_what_was_settled_is_sent_while_others_write(
    on_postgres: None, listener: Listener, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_BATCH", 1)
    note("a", "b")
    sending = sender(listener, authority)
    assert sending.send_some() == 1
    writing = Writer("c")
    assert sending.send_some() == 1
    writing.end("commit")
    assert sending.send_some() == 1
    assert [who(message) for message in listener.whole()] == ["a", "b", "c"]


def test_two_senders_send_each_event_once_and_in_order(
    on_postgres: None, listener: Listener, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_BATCH", 5)
    names = [f"n{number}" for number in range(40)]
    note(*names)
    failures: list[BaseException] = []

    def send() -> None:
        try:
            sending = sender(listener, authority)
            while sending.send_some():
                pass
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert failures == []
    assert [who(message) for message in listener.whole()] == names


# --- the command ----------------------------------------------------------------------------------


def configure(settings: Any, listener: Listener, authority: Authority) -> None:
    settings.AUDIT_SYSLOG_HOST, settings.AUDIT_SYSLOG_PORT = "127.0.0.1", listener.port
    settings.AUDIT_SYSLOG_CA = str(authority.certificate)


def test_once_sends_what_is_there_and_tells_how_many(
    empty_trail: None, listener: Listener, authority: Authority, settings: Any
) -> None:
    configure(settings, listener, authority)
    note("a", "b")
    said = io.StringIO()
    call_command("send_audit", "--once", stdout=said)
    assert said.getvalue() == "2 messages sent.\n"
    assert [who(message) for message in listener.whole()] == ["a", "b"]


def test_once_fails_where_nobody_listens(
    empty_trail: None, listener: Listener, authority: Authority, settings: Any
) -> None:
    configure(settings, listener, authority)
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings.AUDIT_SYSLOG_PORT = free.getsockname()[1]
    note("a")
    with pytest.raises(CommandError, match="After 0 messages: Connection refused"):
        call_command("send_audit", "--once")


def test_without_a_host_there_is_nobody_to_send_to() -> None:
    with pytest.raises(CommandError, match="AUDIT_SYSLOG_HOST is not set"):
        call_command("send_audit")


def test_a_file_that_is_not_there_is_told(settings: Any) -> None:
    settings.AUDIT_SYSLOG_HOST, settings.AUDIT_SYSLOG_CA = "127.0.0.1", "/nowhere/ca.pem"
    with pytest.raises(CommandError, match="AUDIT_SYSLOG_CA"):
        call_command("send_audit")


def test_an_outage_is_told_once_and_what_happened_meanwhile_is_sent_after_it(
    transactional_db: None, authority: Authority, server: Identity
) -> None:
    AuditEvent.objects.all().delete()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": tools.database_url(),
        "DJANGO_SETTINGS_MODULE": "worklist.settings",
        "AUDIT_SYSLOG_HOST": "127.0.0.1",
        "AUDIT_SYSLOG_PORT": str(port),
        "AUDIT_SYSLOG_CA": str(authority.certificate),
    }
    note("a")
    with subprocess.Popen(
        [sys.executable, "manage.py", "send_audit"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert "Connection refused" in process.stderr.readline()
            note("b")
            made = Listener(server, port=port)
            heard = messages(made.heard.get(timeout=2 * SOON))
            note("c")
            heard += messages(made.heard.get(timeout=2 * SOON))
            assert [who(message) for message in heard] == ["a", "b", "c"]
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=SOON)
        finally:
            process.kill()
            made.close()
    assert process.returncode == 0
    assert out.splitlines() == [
        f"Sending the audit trail to 127.0.0.1:{port}",
        "Sending stopped",
    ]
    assert err == "Sending goes on.\n"
