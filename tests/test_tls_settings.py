"""What TLS is served with: settings, files and the process."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from dicomscp import certificates
from dicomscp.certificates import SettingsError
from dicomscp.server import WorklistScp
from dicomscp.wire import tls
from dicomscp.wire.tls import Clients, Files
from tests import tools
from tests.certificates import Identity, openssl
from tests.processes import Start, first_line, refusal, runscp
from tests.test_tls import HERE, Pki, call, is_answered, opened, pki
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), tools.needs("openssl")]
__all__ = ["pki", "runscp"]  # fixtures


# --- settings -------------------------------------------------------------------------------------


@pytest.fixture
def tls_settings(settings: Any, pki: Pki) -> Any:
    settings.DICOM_TLS_PORT = 2762
    settings.DICOM_TLS_CERT = str(pki.server.certificate)
    settings.DICOM_TLS_KEY = str(pki.server.key)
    settings.DICOM_TLS_CA = str(pki.ours.certificate)
    return settings


def test_without_a_port_there_is_no_tls(settings: Any) -> None:
    settings.DICOM_TLS_PORT = 0
    assert (certificates.server(), certificates.endings(), certificates.days_left()) == (
        None,
        [],
        None,
    )


def locked_key(pki: Pki) -> str:
    path = pki.folder / "locked.key"
    openssl("ec", "-in", str(pki.ct1.key), "-aes256", "-passout", "pass:x", "-out", str(path))
    return str(path)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CERT", "", "DICOM_TLS_CERT is not set, and TLS (DICOM_TLS_PORT) needs it."),
        ("CA", "", "DICOM_TLS_CA is not set, and TLS (DICOM_TLS_PORT) needs it."),
        ("KEY", "-----BEGIN PRIVATE KEY-----", "is to be the path of a file"),
        ("CLIENT", "sometimes", "it is required, optional or off."),
        ("CERT", "{folder}/nowhere.pem", "nowhere.pem: it cannot be read: No such file"),
        ("KEY", "{folder}", "it cannot be read: Is a directory"),
        ("CERT", "{ct1.key}", "it holds no certificate in PEM form"),
        ("CA", "{ct1.key}", "it holds no certificate in PEM form"),
        ("KEY", "{ct1.certificate}", "it holds no private key in PEM form"),
        ("KEY", "{ct1.key}", "it is not the key of the certificate"),
        ("KEY", "{locked}", "it is protected by a password: give a key without"),
    ],
)
def test_what_is_wrong_with_the_files_is_said_in_a_sentence(
    tls_settings: Any, pki: Pki, name: str, value: str, told: str
) -> None:
    locked = locked_key(pki) if value == "{locked}" else ""
    setattr(
        tls_settings,
        f"DICOM_TLS_{name}",
        value.format(folder=pki.folder, ct1=pki.ct1, locked=locked),
    )
    with pytest.raises(SettingsError) as error:
        certificates.server()
    assert f"DICOM_TLS_{name}" in str(error.value)
    assert told in str(error.value)


def test_an_expired_certificate_of_ours_is_no_use(tls_settings: Any, pki: Pki) -> None:
    tls_settings.DICOM_TLS_CERT = str(pki.expired.certificate)
    tls_settings.DICOM_TLS_KEY = str(pki.expired.key)
    with pytest.raises(SettingsError, match="the certificate has expired on 20"):
        certificates.server()
    # And still it is told when it ended.
    assert (certificates.days_left() or 0) < 0


def test_the_days_that_are_left_are_counted(tls_settings: Any, pki: Pki) -> None:
    long = pki.ours.issue("long", days=90)
    tls_settings.DICOM_TLS_CERT, tls_settings.DICOM_TLS_KEY = map(str, (long.certificate, long.key))
    found = certificates.endings()
    assert [(each.setting, each.subject, each.days, each.is_soon) for each in found] == [
        ("DICOM_TLS_CA", "CN=hospital", 1, True),
        ("DICOM_TLS_CERT", "CN=long", 89, False),
    ]
    assert found[0].ends.tzinfo is dt.UTC
    assert certificates.days_left() == 1
    # Nobody's certificate is checked by it then.
    tls_settings.DICOM_TLS_CLIENT = "off"
    assert certificates.days_left() == 89


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("DICOM_TLS_PORT", 70000, "E015"),
        ("DICOM_TLS_PORT", 11112, "E015"),
        ("DICOM_TLS_CLIENT", "yes", "E016"),
    ],
)
def test_settings_are_checked(settings: Any, name: str, value: Any, number: str) -> None:
    setattr(settings, name, value)
    assert f"worklist.{number}" in [message.id for message in run_checks()]


def test_renewed_files_are_read_without_a_restart(transactional_db: None, pki: Pki) -> None:
    now = [pki.folder / name for name in ("now.pem", "now.key")]

    def put(who: Identity) -> None:
        for path, source in zip(now, (who.certificate, who.key), strict=True):
            new = path.with_suffix(".new")
            new.write_bytes(source.read_bytes())
            new.replace(path)

    put(pki.server)
    files = Files(now[0], now[1], pki.ours.certificate)
    scp = WorklistScp(
        ae_title="WORKLIST", bind=HERE, port=0, tls=tls.Tls(files, Clients.OFF), tls_port=0
    )
    scp.start()
    try:
        first = shown(scp.tls_port)
        put(pki.mr1)
        second = shown(scp.tls_port)
        assert first != second
        # A half-written file is no reason to stop.
        now[0].write_text("-----BEGIN CERTIFICATE-----\n")
        assert shown(scp.tls_port) == second
        # Nor to resume another's session, for which the last ones would do.
        context = tls.client_context(pki.files(pki.ct1))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            opened(context, scp.tls_port) as one,
            opened(context, scp.tls_port, one.session) as two,
        ):
            assert two.session_reused
            assert two.recv(1) == b""
    finally:
        scp.stop()


def shown(port: int) -> str:
    return ssl.get_server_certificate((HERE, port))


# --- the process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_runscp_serves_tls_and_says_so(runscp: Start, pki: Pki, workers: str) -> None:
    with socket.socket() as free:
        free.bind((HERE, 0))
        port = free.getsockname()[1]
    process = runscp(
        "--workers",
        workers,
        "--port",
        "0",
        DICOM_TLS_PORT=str(port),
        DICOM_TLS_CERT=str(pki.server.certificate),
        DICOM_TLS_KEY=str(pki.server.key),
        DICOM_TLS_CA=str(pki.ours.certificate),
    )
    assert f" and with TLS on {HERE}:{port}, database" in first_line(process)
    assert is_answered(call(port, pki.files(pki.ct1)))
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert re.search(r"certificate of DICOM_TLS_CERT ends on .*, days left: 1 \(CN=server\)", said)


def test_runscp_is_kept_waiting_by_no_silent_peer_and_keeps_none(runscp: Start, pki: Pki) -> None:
    with socket.socket() as free:
        free.bind((HERE, 0))
        port = free.getsockname()[1]
    process = runscp(
        "--port",
        "0",
        DICOM_TLS_PORT=str(port),
        DICOM_TLS_CERT=str(pki.server.certificate),
        DICOM_TLS_KEY=str(pki.server.key),
        DICOM_TLS_CA=str(pki.ours.certificate),
        DICOM_HANDSHAKE_SECONDS="5",
        DICOM_MAX_CONNECTIONS_PER_ADDRESS="200",
    )
    plain = int(first_line(process).partition(f"{HERE}:")[2].split()[0].rstrip(","))
    assert is_answered(call(port, pki.files(pki.ct1)))
    held = Path(f"/proc/{process.pid}/fd")
    before = len(list(held.iterdir()))
    with contextlib.ExitStack() as silent:
        peers = [
            silent.enter_context(socket.create_connection((HERE, port), 30)) for _ in range(100)
        ]
        for number, peer in enumerate(peers):
            peer.sendall((b"", tls.HELLO, tls.HELLO + b"\x03\x01\x02\x00\x01")[number % 3])
        for _ in range(3):
            assert is_answered(call(port, pki.files(pki.ct1)))
            assert is_answered(call(plain, None))
        for peer in peers:
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(1000):
                    pass
    until(lambda: len(list(held.iterdir())) <= before + 9, "descriptors are left behind")
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert "Traceback" not in said


def test_runscp_does_not_start_with_a_key_that_does_not_fit(runscp: Start, pki: Pki) -> None:
    process = runscp(
        "--port",
        "0",
        DICOM_TLS_PORT="2762",
        DICOM_TLS_CERT=str(pki.server.certificate),
        DICOM_TLS_KEY=str(pki.ct1.key),
        DICOM_TLS_CA=str(pki.ours.certificate),
    )
    assert refusal(process).endswith(f"{pki.ct1.key}: it is not the key of the certificate.")
