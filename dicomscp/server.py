"""The AE: presentation contexts, listening socket, start, drain, stop."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp import handlers
from dicomscp.journal import JOURNAL
from dicomscp.wire.server import WorklistServer

# Neither deflated (a bomb of 400 kB inflates to 400 MB) nor big endian (retired).
TRANSFER_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
MAXIMUM_PDU_SIZE = 16382
# Seconds. Consoles keep an association open and silent for minutes.
ACSE_TIMEOUT = 10
DIMSE_TIMEOUT = 30
NETWORK_TIMEOUT = 300
_POLL = 0.05
# Seconds that aborted associations have to end.
_ENDS_WITHIN = 2.0

# pynetdicom's own handlers write names at INFO and let a key forge a line of the log.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False


class WorklistScp:
    """One SCP: Modality Worklist Information Model - FIND and Verification in one AE."""

    def __init__(
        self, *, ae_title: str, bind: str, port: int, maximum_associations: int = 100
    ) -> None:
        self._address = (bind, port)
        self._server: WorklistServer | None = None
        self._ae = AE(ae_title)
        self._ae.add_supported_context(ModalityWorklistInformationFind, TRANSFER_SYNTAXES)
        self._ae.add_supported_context(Verification, TRANSFER_SYNTAXES)
        self._ae.maximum_associations = maximum_associations
        self._ae.maximum_pdu_size = MAXIMUM_PDU_SIZE
        self._ae.acse_timeout = ACSE_TIMEOUT
        self._ae.dimse_timeout = DIMSE_TIMEOUT
        self._ae.network_timeout = NETWORK_TIMEOUT

    @property
    def port(self) -> int:
        """The port that is listened on: given by the system when 0 was asked for."""
        assert self._server is not None and self._server.socket is not None
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Listen and serve in threads of its own. Raises OSError when the address cannot be had."""
        server = cast(
            WorklistServer,
            self._ae.make_server(
                self._address,
                evt_handlers=cast(Any, handlers.HANDLERS),
                server_class=WorklistServer,
            ),
        )
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        ).start()
        self._server = server
        JOURNAL.start()

    def stop(self, *, drain: float = 0.0) -> None:
        """Accept nothing more; what runs may end within `drain` seconds; abort the rest."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        deadline = time.monotonic() + drain
        while time.monotonic() < deadline:
            running = server.active_associations
            for association in running:
                if not handlers.is_answering(association):
                    association.abort()
            if not any(handlers.is_answering(association) for association in running):
                break
            time.sleep(_POLL)
        ending = server.active_associations
        for association in ending:
            association.abort()
        # What still runs may hold a connection to the database.
        deadline = time.monotonic() + _ENDS_WITHIN
        for association in ending:
            association.join(max(0.0, deadline - time.monotonic()))
        JOURNAL.stop()
