"""TLS of PS3.15 B.12 (BCP 195: RFC 8996 and RFC 9325): contexts, handshakes, and their faults.

A handshake is bounded as a whole. What went wrong with it has a name of ours: what the library says
differs from version to version.
"""

from __future__ import annotations

import _ssl
import enum
import hashlib
import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SHUT_RDWR, socket

logger = logging.getLogger(__name__)

# Seconds for a handshake with a peer that we call, from its first byte to its last.
HANDSHAKE_TIMEOUT = 5.0
# The first byte of a peer that speaks TLS: a record of the handshake. No PDU begins with it.
HELLO = b"\x16"
# RFC 9325 4.2, of TLS 1.2: forward secrecy by ECDHE and an AEAD, nothing else. Level 2 is what it
# asks of keys: RSA of 2048 bits, no SHA-1. TLS 1.3 has such suites alone.
_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"


class Clients(enum.StrEnum):
    """Whether peers that call show a certificate: they must, they may, they are not asked."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    OFF = "off"


class Fault(enum.StrEnum):
    """Why a handshake came to nothing."""

    # Nothing was tried: what a port scan or a check of the port does.
    GONE = "gone"
    SILENT = "silent"
    NOT_TLS = "not-tls"
    NOTHING_IN_COMMON = "nothing-common"
    NO_CERTIFICATE = "no-certificate"
    EXPIRED = "cert-expired"
    NOT_YET_VALID = "cert-not-yet"
    UNTRUSTED = "cert-untrusted"
    OTHER_NAME = "cert-other-name"
    # The peer says so of our certificate.
    DISTRUSTS_US = "distrusts-us"
    # The other way round: it speaks TLS on the port without.
    TLS_WHERE_NONE_IS = "tls-on-plain"
    FAILED = "tls-failed"


class HandshakeError(Exception):
    """A handshake that came to nothing; the text is OpenSSL's own word, if it had one."""

    def __init__(self, fault: Fault, text: str = "") -> None:
        super().__init__(text)
        self.fault = fault


class FileError(Exception):
    """A file that is no use; the text is what is wrong with it, without its name."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True)
class Files:
    """What a context is made of: PEM files. Without authorities, no certificate is checked."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None


@dataclass(frozen=True)
class Secured:
    """What a peer's connection is secured with. Without a certificate the last two are empty."""

    protocol: str
    cipher: str
    fingerprint: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Certificate:
    """Whose certificate it is, and when its days begin and end, in seconds since 1970."""

    subject: str
    begins: float
    ends: float


# --- contexts -------------------------------------------------------------------------------------


def server_context(files: Files, clients: Clients) -> ssl.SSLContext:
    """The context in which peers call us. Raises FileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _bound(context)
    # Each association is a handshake of its own: nothing is resumed of one whose certificate has
    # expired since, and no ticket's key outlives its secrecy (RFC 9325 3.4).
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load(context, files)
    if clients is not Clients.OFF:
        required = clients is Clients.REQUIRED
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def client_context(files: Files) -> ssl.SSLContext:
    """The context in which we call a peer, checked when there are authorities. Raises FileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _bound(context)
    if files.authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _load(context, files)
    return context


def _bound(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load(context: ssl.SSLContext, files: Files) -> None:
    if files.certificate is not None and files.key is not None:
        _readable(files.certificate)
        _readable(files.key)
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise FileError(files.key, "it is not the key of the certificate") from None
            read(files.certificate)
            raise FileError(files.key, _of_key(error)) from None
        except _PasswordError:
            raise FileError(
                files.key, "it is protected by a password: give a key without"
            ) from None
    if files.authorities is not None:
        _readable(files.authorities)
        try:
            context.load_verify_locations(files.authorities)
        except ssl.SSLError:
            raise FileError(files.authorities, "it holds no certificate in PEM form") from None


class _PasswordError(Exception):
    """A key that asks for a password: OpenSSL would ask on the terminal."""


def _no_password() -> str:
    raise _PasswordError


def _of_key(error: ssl.SSLError) -> str:
    if error.reason and "TOO_SMALL" in error.reason:
        return "the key is too short: RSA of 2048 bits, or an elliptic curve, is the least"
    if error.reason and error.reason.endswith("MD_TOO_WEAK"):
        return "the certificate is signed with a hash that is too weak, such as SHA-1"
    return "it holds no private key in PEM form"


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise FileError(path, f"it cannot be read: {error.strerror or error}") from None


# --- certificates ---------------------------------------------------------------------------------


def read(path: Path) -> Certificate:
    """The first certificate of a PEM file. Raises FileError."""
    _readable(path)
    try:
        # Python's own reader; the public one reads those of authorities alone.
        found = _ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]  # no stub of it
    except ssl.SSLError:
        raise FileError(path, "it holds no certificate in PEM form") from None
    return _certificate(dict(found))


def read_authorities(path: Path) -> Iterator[Certificate]:
    """The authorities of a PEM file. Raises FileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, Files(authorities=path))
    for each in context.get_ca_certs():
        yield _certificate(dict(each))


def _certificate(found: dict[str, object]) -> Certificate:
    begins, ends = (
        ssl.cert_time_to_seconds(str(found[name])) for name in ("notBefore", "notAfter")
    )
    return Certificate(_subject(found), begins, ends)


def _subject(found: object) -> str:
    """The subject on one line: CN=ct1, O=Hospital."""
    parts = found.get("subject", ()) if isinstance(found, dict) else ()
    pairs = [pair for part in parts for pair in part]
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
    # What tells them apart stands first.
    pairs.sort(key=lambda pair: pair[0] != "commonName")
    return ", ".join(f"{short.get(name, name)}={value}" for name, value in pairs)


# --- handshakes -----------------------------------------------------------------------------------


class Tls:
    """Makes the server's contexts, of what is in the files at that moment."""

    def __init__(self, files: Files, clients: Clients) -> None:
        self._files, self._clients = files, clients
        self._lock = threading.Lock()
        self._stamps = self._stamp()
        self._context = server_context(files, clients)

    def context(self) -> ssl.SSLContext:
        """One for the next handshake. Files that are no use leave the last one in place.

        One for each, since OpenSSL keeps the sessions of TLS 1.2 with their context, and Python has
        no way to say that it must not.
        """
        with self._lock:
            stamps = self._stamp()
            is_new = stamps != self._stamps
            self._stamps = stamps
            try:
                self._context = server_context(self._files, self._clients)
            except FileError as error:
                if is_new:
                    logger.error(
                        "TLS certificates not read anew, the last ones stay: %s: %s",
                        error.path,
                        error,
                    )
            else:
                if is_new:
                    logger.info("TLS certificates read anew")
            return self._context

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        files = (self._files.certificate, self._files.key, self._files.authorities)
        return tuple(_stamp(path) for path in files if path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def accept(connection: socket, context: ssl.SSLContext, *, within: float) -> ssl.SSLSocket:
    """The connection, secured by a peer that called. Raises HandshakeError, and closes it."""
    secured = _shake(connection, context, within, server_side=True, host=None)
    if secured.session_reused:
        # With files that are no use, one context is for several connections.
        close(secured)
        raise HandshakeError(Fault.FAILED, "SESSION_RESUMED")
    return secured


def call(connection: socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """The connection, secured with the peer of this name. Raises HandshakeError, and closes it."""
    return _shake(connection, context, HANDSHAKE_TIMEOUT, server_side=False, host=host)


def _shake(
    connection: socket,
    context: ssl.SSLContext,
    within: float,
    *,
    server_side: bool,
    host: str | None,
) -> ssl.SSLSocket:
    secured: ssl.SSLSocket | None = None
    try:
        # What is left of it counts down over all of the handshake's reads and writes.
        connection.settimeout(within)
        secured = context.wrap_socket(
            connection,
            server_side=server_side,
            server_hostname=host,
            do_handshake_on_connect=False,
        )
        secured.do_handshake()
        secured.settimeout(None)
    except (OSError, ValueError) as error:
        (secured or connection).close()
        fault = _fault(error)
        raise HandshakeError(fault, _word(error)) from None
    return secured


def _fault(error: Exception) -> Fault:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error.verify_code)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Fault.GONE
    if isinstance(error, ssl.SSLError):
        return _of_reason(error.reason or "")
    return Fault.SILENT if isinstance(error, TimeoutError) else Fault.GONE


# X509_verify_cert_error_string(3).
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


def _of_certificate(code: int) -> Fault:
    return {
        _NOT_YET_VALID: Fault.NOT_YET_VALID,
        _EXPIRED: Fault.EXPIRED,
        _OTHER_HOST: Fault.OTHER_NAME,
        _OTHER_ADDRESS: Fault.OTHER_NAME,
    }.get(code, Fault.UNTRUSTED)


def _of_reason(reason: str) -> Fault:
    if "DID_NOT_RETURN_A_CERTIFICATE" in reason or reason.endswith("CERTIFICATE_REQUIRED"):
        return Fault.NO_CERTIFICATE
    if "ALERT" in reason and ("CERTIFICATE" in reason or reason.endswith("UNKNOWN_CA")):
        return Fault.DISTRUSTS_US
    if reason in _NOT_TLS:
        return Fault.NOT_TLS
    common = ("NO_SHARED", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_SUITABLE")
    if any(each in reason for each in common) or reason in _OF_TERMS:
        return Fault.NOTHING_IN_COMMON
    return Fault.FAILED


_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "BAD_RECORD_TYPE",
)
_OF_TERMS = ("TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_HANDSHAKE_FAILURE")


def _word(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "") if isinstance(error, ssl.SSLError) else ""


def close(connection: socket) -> None:
    """Shut a connection and close it, also where the peer has been quicker."""
    with suppress(OSError):
        connection.shutdown(SHUT_RDWR)
    connection.close()


def secured(connection: ssl.SSLSocket) -> Secured:
    """What this connection is secured with."""
    cipher = connection.cipher()
    certificate = connection.getpeercert(binary_form=True)
    return Secured(
        protocol=connection.version() or "",
        cipher=cipher[0] if cipher else "",
        fingerprint=hashlib.sha256(certificate).hexdigest() if certificate else "",
        subject=_subject(connection.getpeercert()) if certificate else "",
    )
