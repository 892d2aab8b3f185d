"""The operator's bounds on peers, as `wire` takes them."""

from __future__ import annotations

from django.conf import settings

from dicomscp.wire.bounds import Bounds


def from_settings() -> Bounds:
    """The bounds that the settings say."""
    return Bounds(
        associations=settings.DICOM_MAX_ASSOCIATIONS,
        # Each association is one.
        connections=max(settings.DICOM_MAX_CONNECTIONS, settings.DICOM_MAX_ASSOCIATIONS),
        connections_per_address=settings.DICOM_MAX_CONNECTIONS_PER_ADDRESS,
        handshakes=settings.DICOM_MAX_HANDSHAKES,
        handshake_seconds=settings.DICOM_HANDSHAKE_SECONDS,
        request_seconds=settings.DICOM_REQUEST_SECONDS,
        request_bytes=settings.DICOM_REQUEST_BYTES,
        contexts=settings.DICOM_MAX_CONTEXTS,
        peer_pdu_bytes=settings.DICOM_MIN_PEER_PDU_BYTES,
        pdu_seconds=settings.DICOM_PDU_SECONDS,
        command_bytes=settings.DICOM_COMMAND_BYTES,
        identifier_bytes=settings.DICOM_IDENTIFIER_BYTES,
        send_seconds=settings.DICOM_SEND_SECONDS,
        idle_seconds=settings.DICOM_IDLE_SECONDS,
    )
