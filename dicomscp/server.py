"""The AE: presentation contexts, listening socket, start, drain, stop."""

from __future__ import annotations

import gc
import socket
import threading
import time
from typing import Any, cast

from django.conf import settings
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp import associations, bounds, handlers, lease
from dicomscp.journal import JOURNAL
from dicomscp.wire.association import WorklistAssociation
from dicomscp.wire.gate import Gate
from dicomscp.wire.server import WorklistServer
from dicomscp.wire.tls import Tls

# Neither deflated (a bomb of 400 kB inflates to 400 MB) nor big endian (retired).
TRANSFER_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
MAXIMUM_PDU_SIZE = 16382
# Seconds, where the settings say nothing else. Consoles keep an association open and silent for
# minutes.
ACSE_TIMEOUT = 10
DIMSE_TIMEOUT = 30
NETWORK_TIMEOUT = 300
_POLL = 0.05
# Seconds within which a loop that accepts has gone round, were it but to find nobody.
_TURNS_WITHIN = 3.0
# Seconds that aborted associations have to end.
_ENDS_WITHIN = 2.0


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
        tls: Tls | None = None,
        tls_port: int = 0,
        listening: socket.socket | None = None,
        tls_listening: socket.socket | None = None,
    ) -> None:
        """`listening` are sockets that listen already, perhaps in other processes as well."""
        self._address = (bind, port)
        self._tls, self._tls_address = tls, (bind, tls_port)
        self._listening, self._tls_listening = listening, tls_listening
        self._gate = Gate(bounds.from_settings())
        # The one without TLS, and behind it the one with, if there is one.
        self._servers: list[WorklistServer] = []
        self._ae = AE(ae_title)
        self._ae.add_supported_context(ModalityWorklistInformationFind, TRANSFER_SYNTAXES)
        self._ae.add_supported_context(Verification, TRANSFER_SYNTAXES)
        self._ae.maximum_associations = self._gate.bounds.associations
        self._ae.maximum_pdu_size = MAXIMUM_PDU_SIZE
        self._ae.acse_timeout = self._gate.bounds.request_seconds
        self._ae.dimse_timeout = DIMSE_TIMEOUT
        self._ae.network_timeout = self._gate.bounds.idle_seconds

    @property
    def ae_title(self) -> str:
        return self._ae.ae_title

    @property
    def open_associations(self) -> int:
        """How many associations are open now."""
        return len(_running(self._servers))

    @property
    def port(self) -> int:
        """The port that is listened on: given by the system when 0 was asked for."""
        return _port(self._servers[0])

    @property
    def tls_port(self) -> int:
        """The port that wants TLS."""
        return _port(self._servers[1])

    @property
    def has_tls(self) -> bool:
        return self._tls is not None

    @property
    def is_accepting(self) -> bool:
        """Whether the loops that accept connections go round."""
        now = time.monotonic()
        return all(now - server.last_turn < _TURNS_WITHIN for server in self._servers)

    def start(self) -> None:
        """Listen and serve in threads of its own.

        Raises PortError when an address cannot be had; then neither is listened on.
        """
        servers = [self._listen(self._address, None, self._listening)]
        if self._tls is not None:
            try:
                servers.append(self._listen(self._tls_address, self._tls, self._tls_listening))
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

    def _listen(
        self, address: tuple[str, int], tls: Tls | None, listening: socket.socket | None
    ) -> WorklistServer:
        try:
            server = self._ae.make_server(
                address,
                evt_handlers=cast(Any, handlers.HANDLERS),
                server_class=WorklistServer,
                tls=tls,
                at_fault=associations.on_fault,
                gate=self._gate,
                listening=listening,
                is_plain=settings.DICOM_PLAIN_PATH,
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
        while any(server.is_serving for server in servers) and time.monotonic() < deadline:
            for association in _running(servers):
                # Whoever has just called or been answered is about to go on, or to release.
                if association.is_quiet:
                    association.call_off()
            time.sleep(_POLL)
        running = _running(servers)
        for server in servers:
            server.call_off()
        # What still runs may hold a connection to the database.
        deadline = time.monotonic() + _ENDS_WITHIN
        for association in running:
            association.join(max(0.0, deadline - time.monotonic()))
        JOURNAL.stop()
        lease.close()


def settle() -> None:
    """Once all is loaded and started: garbage is not looked for in what stays anyway."""
    gc.collect()
    gc.freeze()


def _port(server: WorklistServer) -> int:
    assert server.socket is not None
    return int(server.socket.getsockname()[1])


def _running(servers: list[WorklistServer]) -> list[WorklistAssociation]:
    return [
        cast(WorklistAssociation, association)
        for server in servers
        for association in server.active_associations
    ]
