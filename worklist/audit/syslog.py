"""Audit messages on their way to a collector: syslog (RFC 5424) over TLS (RFC 5425, PS3.15 A.6).

Syslog knows no receipts. A collector that has read everything shows it in one way alone: it answers
our close_notify with its own (RFC 5425 4.4, a MUST). So each batch has a connection of its own, and
is delivered when that answer is there. Knows neither Django nor the trail.
"""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from worklist.audit.parts import instant

# Facility 10, security and authorisation, as A.6 says; severity 5, notice, or 4, warning.
_NOTICE, _WARNING = 10 * 8 + 5, 10 * 8 + 4
_MSGID = "DICOM+RFC3881"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # RFC 5424 6.4: what follows is UTF-8
_NOT_PRINTABLE = re.compile("[^!-~]")
_NOT_CONFIRMED = "the collector ended the connection without confirming (RFC 5425 4.4)"
# Seconds for each step: to connect, to shake hands, to take in what is sent, to answer the close.
_TIMEOUT = 10.0


@dataclass(frozen=True)
class Collector:
    """Where messages go, and who is trusted to be it."""

    host: str
    port: int
    context: ssl.SSLContext

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def context(*, ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """TLS 1.2 or later; the collector's certificate and name are checked. Raises OSError."""
    made = ssl.create_default_context(cafile=ca or None)
    if certificate:
        made.load_cert_chain(certificate, key or None)
    return made


def frame(message: bytes, *, at: dt.datetime, host: str, program: str, is_failure: bool) -> bytes:
    """A message in its frame: the number of its octets, then the message of RFC 5424.

    The same event makes the same octets: a collector knows what it has had before.
    """
    header = " ".join(
        (
            f"<{_WARNING if is_failure else _NOTICE}>1",
            instant(at),
            _printable(host, 255),
            _printable(program, 48),
            "-",
            _MSGID,
            "-",
        )
    )
    line = header.encode("ascii") + b" " + _BYTE_ORDER_MARK + message
    return str(len(line)).encode("ascii") + b" " + line


def deliver(frames: Iterable[bytes], collector: Collector) -> None:
    """Send frames in their order; returns when the collector has read them all.

    Raises OSError when it is not known that it has: then they are to be sent once more.
    """
    with socket.create_connection((collector.host, collector.port), _TIMEOUT) as plain:
        line = _Line(plain, collector)
        for each in frames:
            line.send(each)
        line.close()


class _Line:
    """A TLS connection of ours whose end is looked at closely.

    An SSLSocket's unwrap() takes any fatal alert for the peer's close_notify, such as "certificate
    required", which in TLS 1.3 may come after all was sent. Here each is read as what it is.
    """

    def __init__(self, plain: socket.socket, collector: Collector) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = collector.context.wrap_bio(self._in, self._out, server_hostname=collector.host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            else:
                self._flush()
                return

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def close(self) -> None:
        """Send our close_notify and wait for theirs. Raises OSError for every other end."""
        # What has come by now, tickets or an alert, is read as such.
        self._read()
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self._flush()
        while True:
            self._receive()
            try:
                self._read()
            except ssl.SSLZeroReturnError:
                return
            except ssl.SSLEOFError:
                raise ConnectionAbortedError(_NOT_CONFIRMED) from None

    def _read(self) -> None:
        """Read what is there, and nothing of it: a collector has nothing to say."""
        try:
            while self._tls.read():
                pass
        except ssl.SSLWantReadError:
            return
        raise ConnectionAbortedError(_NOT_CONFIRMED)

    def _flush(self) -> None:
        if self._out.pending:
            self._plain.sendall(self._out.read())

    def _receive(self) -> None:
        if data := self._plain.recv(65536):
            self._in.write(data)
        else:
            self._in.write_eof()


def _printable(text: str, length: int) -> str:
    return _NOT_PRINTABLE.sub("_", text)[:length] or "-"
