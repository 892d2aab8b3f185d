"""C-FIND and C-ECHO as a service (PS3.7 9.3.2, PS3.4 K.4): answers in batches.

A handler yields a status and an Identifier: a Dataset, or the bytes of one, encoded for the
context's transfer syntax. Nothing is asked of it while the peer has enough to read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_ECHO, C_FIND
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import (
    BasicWorklistManagementServiceClass,
    ServiceClass,
    VerificationServiceClass,
)
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp.wire.messages import command_pdus, pdus
from dicomscp.wire.upper import Encoded

if TYPE_CHECKING:
    from dicomscp.wire.association import WorklistAssociation

_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
# The library's own statuses: the handler raised; its Identifier cannot be encoded.
_RAISED, _NOT_ENCODED = 0xC311, 0xC312
# Of a data set's fragments (PS3.8 E.2).
_IS_DATA = 0
# Bytes that are sent at once, and seconds after which fewer are.
_BATCH = 32 * 1024
_PATIENCE = 0.1


class Worklist(BasicWorklistManagementServiceClass):
    """Basic Worklist Management, as SCP."""

    assoc: WorklistAssociation

    def _c_find_scp(self, req: C_FIND, context: PresentationContext) -> None:
        """Answer a request, many responses at a time."""
        if not self.assoc.takes_bytes:
            super()._c_find_scp(req, context)
            return
        batch = _Batch(self.assoc, req, context)
        answers: Any = None
        try:
            answers = evt.trigger(
                self.assoc,
                evt.EVT_C_FIND,
                {"request": req, "context": context.as_tuple, "_is_cancelled": self.is_cancelled},
            )
            status = self._send(answers or (), batch)
        except Exception:
            # The handler's own business; an exception's text may hold a patient's data.
            status = _RAISED
        finally:
            _close(answers)
        if status is not None:
            self._end(status, batch)

    def _send(self, answers: Iterable[Any], batch: _Batch) -> int | Dataset | None:
        """Send the pending responses; the status with which it ends, None when nobody listens."""
        for status, identifier in answers:
            if not self.assoc.is_established:
                return None
            if not isinstance(status, int) or status not in _PENDING:
                return cast(int | Dataset, status)
            encoded = identifier if isinstance(identifier, bytes) else batch.encoded(identifier)
            if not encoded:
                return _NOT_ENCODED
            batch.add(status, encoded)
            if batch.is_due and not batch.send():
                return None
        return _SUCCESS

    def _end(self, status: int | Dataset, batch: _Batch) -> None:
        """The last response, together with what is left of the batch."""
        if isinstance(status, int):
            batch.add(status, b"")
            batch.send()
            return
        if batch.send():
            response = self.validate_status(status, batch.response())
            self.dimse.send_msg(response, batch.context_id)

    # --- the plain path, which is the library's ---------------------------------------------------

    def _wrap_handler(self, handler: Any) -> Iterator[Any]:
        """Each answer of a handler, as long as there is a peer."""
        try:
            for result in handler:
                if not self.assoc.goes_on():
                    return
                yield result, None
        except Exception:
            yield None, sys.exc_info()
        finally:
            _close(handler)


def _close(answers: Any) -> None:
    """Let a handler clean up, when it can."""
    close = getattr(answers, "close", None)
    if close is not None:
        close()


class _Batch:
    """Responses to one request that are sent together."""

    def __init__(
        self, association: WorklistAssociation, request: C_FIND, context: PresentationContext
    ) -> None:
        self._association, self._request = association, request
        self._syntax = context.transfer_syntax[0]
        self.context_id = cast(int, context.context_id)
        self._maximum = association.dimse.maximum_pdu_size
        self._parts: list[bytes] = []
        self._size = 0
        self._since = time.monotonic()

    def add(self, status: int, encoded: bytes) -> None:
        """One response; without an Identifier when there are no bytes of one."""
        command = command_pdus(
            C_FIND,
            self._request.MessageID or 0,
            self._request.AffectedSOPClassUID or "",
            status,
            bool(encoded),
            self.context_id,
            self._maximum,
        )
        self._parts.append(command)
        if encoded:
            self._parts += pdus(encoded, _IS_DATA, self.context_id, self._maximum)
        self._size += len(command) + len(encoded)

    @property
    def is_due(self) -> bool:
        return self._size >= _BATCH or time.monotonic() - self._since > _PATIENCE

    def send(self) -> bool:
        """Look at what the peer says, then send; whether it still listens."""
        if not self._association.goes_on():
            return False
        if self._parts:
            self._association.dul.send_pdu(Encoded(b"".join(self._parts)))
            self._parts.clear()
            self._size = 0
        self._since = time.monotonic()
        return not self._association.dul.is_over

    def encoded(self, identifier: Dataset | None) -> bytes:
        """An Identifier's bytes by way of the library; none when it cannot be."""
        syntax = self._syntax
        if identifier is None:
            return b""
        return encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian) or b""

    def response(self) -> C_FIND:
        """The primitive of a response (PS3.7 9.1.2.1)."""
        response = C_FIND()
        response.MessageID = response.MessageIDBeingRespondedTo = self._request.MessageID
        response.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        return response


# By the operation and the SOP class that the command names.
SERVICES: dict[tuple[type, str], type[ServiceClass]] = {
    (C_FIND, ModalityWorklistInformationFind): Worklist,
    (C_ECHO, Verification): VerificationServiceClass,
}
