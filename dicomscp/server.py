"""The AE: presentation contexts, listening socket, start, drain, stop."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp import associations, handlers, lease
from dicomscp.journal import JOURNAL
from dicomscp.wire.server import WorklistServer
from dicomscp.wire.tls import Tls

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


class PortError(OSError):
    """An address that cannot be listened on."""

    def __init__(self, number: int | None, text: str | None, bind: str, port: int) -> None:
        super().__init__(number, text)
        self.bind, self.port = bind, port


class WorklistScp:
    """One SCP: Modality Worklist Information Model - FIND and Verification in one AE."""

    def __init__(
        self,
        *,
        ae_title: str,
        bind: str,
        port: int,
        maximum_associations: int = 100,
        tls: Tls | None = None,
        tls_port: int = 0,
    ) -> None:
        self._address = (bind, port)
        self._tls, self._tls_address = tls, (bind, tls_port)
        # The one without TLS, and behind it the one with, if there is one.
        self._servers: list[WorklistServer] = []
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
        return _port(self._servers[0])

    @property
    def tls_port(self) -> int:
        """The port that wants TLS."""
        return _port(self._servers[1])

    def start(self) -> None:
        """Listen and serve in threads of its own.

        Raises PortError when an address cannot be had; then neither is listened on.
        """
        servers = [self._listen(self._address, None)]
        if self._tls is not None:
            try:
                servers.append(self._listen(self._tls_address, self._tls))
            except PortError:
                servers[0].server_close()
                raise
        for server in servers:
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
            ).start()
        self._servers = servers
        lease.keep()
        JOURNAL.start()

    def _listen(self, address: tuple[str, int], tls: Tls | None) -> WorklistServer:
        try:
            server = self._ae.make_server(
                address,
                evt_handlers=cast(Any, handlers.HANDLERS),
                server_class=WorklistServer,
                tls=tls,
                at_fault=associations.on_fault,
            )
        except OSError as error:
            raise PortError(error.errno, error.strerror, *address) from None
        return cast(WorklistServer, server)

    def stop(self, *, drain: float = 0.0) -> None:
        """Accept nothing more; what runs may end within `drain` seconds; abort the rest."""
        if not self._servers:
            return
        servers, self._servers = self._servers, []
        for server in servers:
            server.shutdown()
        deadline = time.monotonic() + drain
        while time.monotonic() < deadline:
            running = _running(servers)
            for association in running:
                if not handlers.is_answering(association):
                    association.abort()
            if not any(handlers.is_answering(association) for association in running):
                break
            time.sleep(_POLL)
        ending = _running(servers)
        for association in ending:
            association.abort()
        # What still runs may hold a connection to the database.
        deadline = time.monotonic() + _ENDS_WITHIN
        for association in ending:
            association.join(max(0.0, deadline - time.monotonic()))
        JOURNAL.stop()
        lease.close()


def _port(server: WorklistServer) -> int:
    assert server.socket is not None
    return int(server.socket.getsockname()[1])


def _running(servers: list[WorklistServer]) -> list[Association]:
    return [association for server in servers for association in server.active_associations]
