"""A trial of a peer: connection, association, C-ECHO, each with a verdict of its own.

No Django and no database: what the verdicts are called stands in connection_words.
"""

from __future__ import annotations

import enum
import socket
import ssl
import time
from dataclasses import dataclass, field

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.sop_class import Verification

from dicomscp.status import SUCCESS
from dicomscp.wire import client, tls
from dicomscp.wire.tls import Fault, HandshakeError

WITHIN = 3.0  # seconds, for each step


class Verdict(enum.StrEnum):
    """How far a trial came, and what it met there."""

    GOOD = "good"
    # The connection.
    UNKNOWN_HOST = "unknown-host"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_CONNECTION = "no-connection"
    TLS_FAILED = "tls-failed"
    # The association.
    CANNOT_CALL = "cannot-call"
    SILENT = "silent"
    HUNG_UP = "hung-up"
    ABORTED = "aborted"
    REJECTED = "rejected"
    # The C-ECHO.
    NO_VERIFICATION = "no-verification"
    ECHO_UNANSWERED = "echo-unanswered"
    ECHO_FAILED = "echo-failed"


# The steps, and how many of them went well before each verdict.
STEPS = 3
_DONE = {
    Verdict.GOOD: 3,
    Verdict.NO_VERIFICATION: 2,
    Verdict.ECHO_UNANSWERED: 2,
    Verdict.ECHO_FAILED: 2,
    Verdict.CANNOT_CALL: 1,
    Verdict.SILENT: 1,
    Verdict.HUNG_UP: 1,
    Verdict.ABORTED: 1,
    Verdict.REJECTED: 1,
}


@dataclass(frozen=True)
class Trial:
    """What came of calling a peer; `milliseconds` are those of the steps that were tried."""

    host: str
    port: int
    calling: str
    called: str
    verdict: Verdict
    milliseconds: tuple[int, ...]
    # Of a rejection: source and diagnostic (PS3.8 9.3.4), and what the standard calls them.
    rejection: tuple[int, int] = (0, 0)
    # A rejection's, a handshake's or the system's own word; the C-ECHO's status.
    detail: str = ""
    fault: Fault | None = None

    @property
    def done(self) -> int:
        """How many of the three steps went well."""
        return _DONE.get(self.verdict, 0)


class _End(Exception):
    """The end of a trial, before it is good."""

    def __init__(
        self,
        verdict: Verdict,
        detail: str = "",
        *,
        rejection: tuple[int, int] = (0, 0),
        fault: Fault | None = None,
    ) -> None:
        super().__init__(verdict)
        self.verdict, self.detail, self.rejection, self.fault = verdict, detail, rejection, fault


@dataclass
class _Clock:
    """How long each step took."""

    started: float = field(default_factory=time.monotonic)
    milliseconds: list[int] = field(default_factory=list)

    def stop(self) -> None:
        now = time.monotonic()
        self.milliseconds.append(round((now - self.started) * 1000))
        self.started = now


def attempt(
    host: str,
    port: int,
    *,
    calling: str,
    called: str,
    within: float = WITHIN,
    secure: ssl.SSLContext | None = None,
) -> Trial:
    """Connect, associate and ask for a C-ECHO, each `within` so many seconds.

    Alone, the library cannot tell a port that is closed from a peer that is silent or offers no
    Verification: so there is a plain connection first.
    """
    clock = _Clock()
    end = _End(Verdict.GOOD)
    try:
        _attempt(host, port, calling, called, within=within, secure=secure, clock=clock)
    except _End as told:
        clock.stop()
        end = told
    return Trial(
        host,
        port,
        calling,
        called,
        end.verdict,
        tuple(clock.milliseconds),
        end.rejection,
        end.detail,
        end.fault,
    )


def _attempt(
    host: str,
    port: int,
    calling: str,
    called: str,
    *,
    within: float,
    secure: ssl.SSLContext | None,
    clock: _Clock,
) -> None:
    address = _try_connection(host, port, within=within, secure=secure)
    clock.stop()
    assoc = _try_association(
        address, port, calling, called, within=within, secure=(secure, host) if secure else None
    )
    try:
        if assoc.is_established:
            clock.stop()
            _try_echo(assoc)
    except _End:
        assoc.abort()
        raise
    # The peer said what it offers, and our one context was not among it.
    if not assoc.is_established:
        clock.stop()
        raise _End(Verdict.NO_VERIFICATION)
    clock.stop()
    assoc.release()


def _try_connection(host: str, port: int, *, within: float, secure: ssl.SSLContext | None) -> str:
    """The address under which the host can be reached."""
    try:
        connection, address = client.connect(host, port, within=within, secure=secure)
    except HandshakeError as error:
        raise _End(Verdict.TLS_FAILED, str(error), fault=error.fault) from None
    except socket.gaierror:
        raise _End(Verdict.UNKNOWN_HOST) from None
    except ConnectionRefusedError:
        raise _End(Verdict.REFUSED) from None
    except TimeoutError:
        raise _End(Verdict.NO_CONNECTION) from None
    except OSError as error:
        raise _End(Verdict.UNREACHABLE, error.strerror or "") from None
    tls.close(connection)
    return address


def _try_association(
    address: str,
    port: int,
    calling: str,
    called: str,
    *,
    within: float,
    secure: tuple[ssl.SSLContext, str] | None,
) -> Association:
    """The association, established or not for want of a context that both offer."""
    pdus: list[Event] = []
    started = time.monotonic()
    try:
        ae = AE(ae_title=calling)
        ae.connection_timeout = ae.acse_timeout = within
        ae.dimse_timeout = ae.network_timeout = within
        ae.add_requested_context(Verification, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
        assoc = ae.associate(
            address,
            port,
            ae_title=called,
            tls_args=secure,
            evt_handlers=[*client.HANDLERS, (evt.EVT_PDU_RECV, pdus.append)],
        )
    except (OSError, TypeError, ValueError) as error:
        raise _End(Verdict.CANNOT_CALL, str(error)) from None
    answer = assoc.acceptor.primitive
    if assoc.is_rejected:
        client.hang_up(assoc)
        why = (int(answer.result_source or 0), int(answer.diagnostic or 0)) if answer else (0, 0)
        raise _End(Verdict.REJECTED, getattr(answer, "reason_str", ""), rejection=why)
    if assoc.is_established or answer is not None:
        return assoc
    client.hang_up(assoc)
    if any(isinstance(each.pdu, A_ABORT_RQ) for each in pdus):
        raise _End(Verdict.ABORTED)
    is_late = time.monotonic() - started >= within
    raise _End(Verdict.SILENT if is_late else Verdict.HUNG_UP)


def _try_echo(assoc: Association) -> None:
    try:
        status = assoc.send_c_echo().get("Status")
    except (RuntimeError, ValueError):
        # It was ended between the two.
        status = None
    if status is None:
        raise _End(Verdict.ECHO_UNANSWERED)
    if status != SUCCESS:
        raise _End(Verdict.ECHO_FAILED, f"0x{status:04X}")
