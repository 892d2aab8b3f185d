"""Our own calls as a client (SCU): a C-FIND of the Modality Worklist.

No Django and no database: what a caller passes is all that is known here.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp.status import PENDING, PENDING_WARNING, SUCCESS
from dicomscp.wire import client
from dicomscp.wire.tls import HandshakeError

CONNECT_WITHIN = 10.0  # seconds; also for the answer to an association request
ANSWER_WITHIN = 60.0  # seconds, for each response


# PS3.8 Table 9-21: calling AE title not recognised.
_UNKNOWN_CALLER = (1, 3)


class CallError(Exception):
    """A call that brought no complete answer; the text is one sentence for the operator."""


class FailureStatusError(CallError):
    """An SCP that answered in good order, with a failure status."""


def find(
    host: str,
    port: int,
    *,
    identifier: Dataset,
    calling: str,
    called: str,
    secure: ssl.SSLContext | None = None,
) -> Iterator[Dataset]:
    """Each match of a worklist query, in the order in which the SCP sends them.

    With `secure`, by TLS. Raises CallError when the SCP cannot be reached or ends with anything but
    Success.
    """
    sop_class = ModalityWorklistInformationFind
    with _association(
        host, port, sop_class, calling=calling, called=called, secure=secure
    ) as assoc:
        for status, match in assoc.send_c_find(identifier, sop_class):
            if status.get("Status") not in (PENDING, PENDING_WARNING):
                _succeed(status, assoc)
            elif match is None:
                raise CallError(f"{_peer(assoc)} sent a match that cannot be decoded.")
            else:
                yield match


@contextmanager
def _association(
    host: str,
    port: int,
    sop_class: str,
    *,
    calling: str,
    called: str,
    secure: ssl.SSLContext | None,
) -> Iterator[Association]:
    """An association for one SOP class; it is aborted when its user fails or goes away early."""
    connections: list[Event] = []
    try:
        ae = AE(ae_title=calling)
        ae.connection_timeout = ae.acse_timeout = CONNECT_WITHIN
        ae.dimse_timeout = ae.network_timeout = ANSWER_WITHIN
        ae.add_requested_context(sop_class, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
        assoc = ae.associate(
            host,
            port,
            ae_title=called,
            tls_args=(secure, host) if secure else None,
            evt_handlers=[*client.HANDLERS, (evt.EVT_CONN_OPEN, connections.append)],
        )
    except (OSError, TypeError, ValueError) as error:
        # A host name without an address, or an AE title that cannot be one.
        raise CallError(f"{called} at {host} port {port} cannot be called: {error}.") from error
    if not assoc.is_established:
        peer = f"{called} at {host} port {port}"
        if secure and not connections:
            raise CallError(_why_not_secure(host, port, peer, secure))
        raise CallError(_why_not(assoc, peer, calling, connections))
    try:
        yield assoc
    except FailureStatusError:
        assoc.release()
        raise
    except BaseException:
        assoc.abort()
        raise
    assoc.release()


def _why_not(assoc: Association, peer: str, calling: str, connections: Sequence[Event]) -> str:
    if not connections:
        return f"{peer} cannot be reached: no connection."
    if assoc.is_rejected:
        answer: Any = assoc.acceptor.primitive
        reason = getattr(answer, "reason_str", "no reason given")
        told = f"{peer} rejected the association of {calling}: {reason}."
        if (answer.result_source, answer.diagnostic) == _UNKNOWN_CALLER:
            told += (
                " It answers the AE titles alone that are set up there: call by one of them "
                f"(--calling CT1), or have {calling} set up."
            )
        return told
    if assoc.acceptor.primitive is not None:
        return f"{peer} does not offer this service."
    return f"{peer} was reached, but did not answer as a DICOM application."


def _why_not_secure(host: str, port: int, peer: str, secure: ssl.SSLContext) -> str:
    """The library tells nobody why a handshake came to nothing: it is done once more."""
    try:
        connection, _ = client.connect(host, port, within=CONNECT_WITHIN, secure=secure)
    except OSError:
        return f"{peer} cannot be reached: no connection."
    except HandshakeError as error:
        return f"{peer} cannot be reached by TLS: {error.fault} ({error})."
    connection.close()
    return f"{peer} cannot be reached by TLS."


def _succeed(status: Dataset, assoc: Association) -> None:
    """Raise CallError unless this final response is Success."""
    code = status.get("Status")
    if code == SUCCESS:
        return
    if code is None:
        raise CallError(f"{_peer(assoc)} did not answer: the association ended or timed out.")
    offending = status.get("OffendingElement")
    tags = offending if isinstance(offending, MultiValue) else filter(None, (offending,))
    elements = " ".join(str(Tag(tag)) for tag in tags)
    words = [f"status 0x{code:04X}", str(status.get("ErrorComment", "")), elements]
    raise FailureStatusError(
        f"{_peer(assoc)} answered {', '.join(word for word in words if word)}."
    )


def _peer(assoc: Association) -> str:
    acceptor = assoc.acceptor
    return f"{acceptor.ae_title.strip()} at {acceptor.address} port {acceptor.port}"
