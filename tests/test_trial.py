"""A connection is tested: real peers of each kind, and what is said of them."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from dicomscp import connection_words, trial
from dicomscp.connection_words import Came
from dicomscp.trial import Trial, Verdict
from dicomscp.wire import tls
from dicomscp.wire.server import WorklistServer
from dicomscp.wire.tls import Clients, Fault, Files, Tls
from tests import tools
from tests.certificates import Authority

HERE = "127.0.0.1"
WITHIN = 0.5  # for peers that are not going to answer

WELL, BADLY, FINE, NOT_TRIED = Came


def attempt(port: int, host: str = HERE, **more: Any) -> Trial:
    return trial.attempt(host, port, calling="WORKLIST", called="CT1", **more)


def came(made: Trial) -> list[Came]:
    return [step.came for step in connection_words.tell(made).steps]


def words(made: Trial) -> str:
    """All that is said of a trial."""
    told = connection_words.tell(made)
    return " ".join([*(step.text for step in told.steps), told.summary, told.advice])


@contextlib.contextmanager
def scanner(
    *contexts: str, secure: Tls | None = None, bind: str = HERE, **settings: Any
) -> Iterator[int]:
    """A DICOM application, by its port."""
    ae = AE("CT1")
    for each in contexts or (Verification,):
        ae.add_supported_context(each)
    handlers = settings.pop("handlers", [])
    for name, value in settings.items():
        setattr(ae, name, value)
    server: Any = ae.make_server(
        (bind, 0), server_class=WorklistServer, evt_handlers=handlers, tls=secure
    )
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


@contextlib.contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something else than a DICOM application; each connection is served by this."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128
        block_on_close = False

    with Server((HERE, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HERE, 0))
        return int(free.getsockname()[1])


# --- what there may be at the other end -----------------------------------------------------------


def test_a_good_peer_is_good_in_three_steps() -> None:
    with scanner() as port:
        made = attempt(port)
    assert made.verdict is Verdict.GOOD
    assert came(made) == [WELL, WELL, WELL]
    assert len(made.milliseconds) == 3
    assert words(made).startswith(f"{HERE} answers on port {port} (")
    assert "The connection works." in words(made)


def test_a_port_that_is_closed() -> None:
    made = attempt(free_port())
    assert (made.verdict, came(made)) == (Verdict.REFUSED, [BADLY, NOT_TRIED, NOT_TRIED])
    assert "refuses connections to port" in words(made)


def test_a_name_that_nobody_knows() -> None:
    made = attempt(104, "scanner.invalid")
    assert (made.verdict, came(made)[0]) == (Verdict.UNKNOWN_HOST, BADLY)
    assert "scanner.invalid" in words(made)


def test_an_address_that_does_not_answer() -> None:
    # A listener whose queue is full: what comes then is not answered.
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind((HERE, 0))
        full.listen(0)
        for _ in range(3):
            waits = waiting.enter_context(socket.socket())
            waits.setblocking(False)
            waits.connect_ex(full.getsockname())
        made = attempt(full.getsockname()[1], within=WITHIN)
    assert made.verdict is Verdict.NO_CONNECTION
    assert re.search(r"within 0\.\d s", words(made))


def test_a_silent_listener() -> None:
    with listener(silent) as port:
        made = attempt(port, within=WITHIN)
    assert (made.verdict, came(made)) == (Verdict.SILENT, [WELL, BADLY, NOT_TRIED])
    assert re.search(r"said nothing for 0\.\d s", words(made))


def garble(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("serve", [socket.socket.close, garble])
def test_a_listener_that_is_no_dicom_application(serve: Callable[[socket.socket], None]) -> None:
    with listener(serve) as port:
        made = attempt(port)
    assert (made.verdict, came(made)) == (Verdict.HUNG_UP, [WELL, BADLY, NOT_TRIED])
    assert "Is this the DICOM port?" in words(made)


def test_a_peer_that_aborts() -> None:
    def abort(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00")
        silent(connection)

    with listener(abort) as port:
        made = attempt(port)
    assert (made.verdict, came(made)) == (Verdict.ABORTED, [WELL, BADLY, NOT_TRIED])


@pytest.mark.parametrize(
    ("settings", "rejection", "said"),
    [
        ({"require_called_aet": True, "ae_title": "CT9"}, (1, 7), "Its AE title is not CT1"),
        ({"require_calling_aet": ["OTHER"]}, (1, 3), "It does not know our AE title WORKLIST"),
        ({"maximum_associations": 0}, (3, 2), "Try again in a minute."),
    ],
)
def test_a_peer_that_rejects(settings: Any, rejection: tuple[int, int], said: str) -> None:
    if settings.get("maximum_associations") == 0:
        settings = {"handlers": [(evt.EVT_REQUESTED, full)]}
    with scanner(**settings) as port:
        made = attempt(port)
    assert (made.verdict, came(made)) == (Verdict.REJECTED, [WELL, BADLY, NOT_TRIED])
    assert made.rejection == rejection
    assert said in words(made)


def full(event: evt.Event) -> None:
    event.assoc.acse.send_reject(0x02, 0x03, 0x02)
    event.assoc.kill()


def test_a_peer_without_verification_is_fine() -> None:
    with scanner(CTImageStorage) as port:
        made = attempt(port)
    assert (made.verdict, came(made)) == (Verdict.NO_VERIFICATION, [WELL, WELL, FINE])
    assert "That is fine for a scanner: many do not answer echoes." in words(made)
    assert "The connection works as far as it could be tried." in words(made)


def test_a_peer_that_answers_the_echo_with_a_failure() -> None:
    with scanner(handlers=[(evt.EVT_C_ECHO, lambda event: 0x0122)]) as port:
        made = attempt(port)
    assert (made.verdict, came(made)) == (Verdict.ECHO_FAILED, [WELL, WELL, BADLY])
    assert "0x0122" in words(made)


def test_a_peer_that_does_not_answer_the_echo() -> None:
    go_on = threading.Event()

    def wait(event: evt.Event) -> int:
        go_on.wait(30)
        return 0

    with scanner(handlers=[(evt.EVT_C_ECHO, wait)]) as port:
        made = attempt(port, within=WITHIN)
        go_on.set()
    assert (made.verdict, came(made)) == (Verdict.ECHO_UNANSWERED, [WELL, WELL, BADLY])


def test_a_peer_with_an_address_of_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    with scanner(bind="::1") as port:
        assert attempt(port, "::1").verdict is Verdict.GOOD


@tools.needs("openssl")
def test_peers_by_tls(tmp_path: Any) -> None:
    ours, other = Authority.make(tmp_path / "ours"), Authority.make(tmp_path / "other")
    server, me = ours.issue("server"), ours.issue("me")
    serving = Tls(Files(server.certificate, server.key, ours.certificate), Clients.REQUIRED)
    good = tls.client_context(Files(me.certificate, me.key, ours.certificate))
    distrusting = tls.client_context(Files(me.certificate, me.key, other.certificate))
    unknown = tls.client_context(Files(authorities=ours.certificate))
    with scanner(secure=serving) as port, scanner() as plain:
        assert attempt(port, secure=good).verdict is Verdict.GOOD
        made = attempt(port, secure=distrusting)
        assert (made.verdict, made.fault) == (Verdict.TLS_FAILED, Fault.UNTRUSTED)
        assert came(made) == [BADLY, NOT_TRIED, NOT_TRIED]
        assert attempt(plain, secure=good, within=WITHIN).verdict is Verdict.TLS_FAILED
        # TLS 1.3 tells of a certificate that it misses when all seems well.
        assert attempt(port, secure=unknown, within=2.0).verdict in (
            Verdict.HUNG_UP,
            Verdict.TLS_FAILED,
        )


def test_every_verdict_has_words_in_each_language() -> None:
    for language in ("en", "de"):
        with translation.override(language):
            for verdict in Verdict:
                for fault in (None, *Fault):
                    made = Trial("h", 1, "A", "B", verdict, (1, 2, 3), fault=fault, detail="50%")
                    told = connection_words.tell(made)
                    assert len(told.steps) == 3
                    assert told.summary
                    assert "%(" not in words(made)


# --- manage.py echo -------------------------------------------------------------------------------


def echo(port: int, *options: str) -> str:
    out = StringIO()
    call_command("echo", "--port", str(port), "--ae-title", "CT1", *options, stdout=out)
    return out.getvalue()


def test_echo_says_each_step() -> None:
    with scanner() as port:
        lines = echo(port).splitlines()
    assert lines[0].startswith(f"{HERE} answers on port {port}")
    assert lines[-1] == f"CT1 at {HERE} port {port} answers."


def test_echo_fails_with_the_reason_and_what_would_help() -> None:
    port = free_port()
    with pytest.raises(CommandError) as error:
        echo(port)
    assert str(error.value).startswith(
        f"CT1 at {HERE} port {port}: {HERE} is there, and refuses connections to port {port}. Look"
    )
    with scanner(CTImageStorage) as served, pytest.raises(CommandError, match="not offer C-ECHO"):
        echo(served)


@tools.needs("openssl")
def test_echo_by_tls(tmp_path: Any) -> None:
    ours = Authority.make(tmp_path / "ours")
    server, me = ours.issue("server"), ours.issue("me")
    serving = Tls(Files(server.certificate, server.key, ours.certificate), Clients.REQUIRED)
    mine = ("--tls", "--tls-cert", str(me.certificate), "--tls-key", str(me.key))
    with scanner(secure=serving) as port:
        assert "was not checked" not in echo(port, *mine, "--tls-ca", str(ours.certificate))
        assert "Its certificate was not checked: --tls-ca is not given." in echo(port, *mine)
        with pytest.raises(CommandError, match="no TLS came of it"):
            echo(port, "--tls", "--tls-ca", str(Authority.make(tmp_path / "other").certificate))
    for wrong, told in (
        (("--tls-ca", "x.pem"), "go with --tls"),
        (("--tls", "--tls-cert", "x.pem"), "go together"),
        (("--tls", "--tls-ca", "x.pem"), "x.pem: it cannot be read"),
    ):
        with pytest.raises(CommandError, match=told):
            echo(1, *wrong)
