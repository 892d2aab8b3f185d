"""What a peer may send, withhold and hold open, and how often it has met a bound.

Past a bound there is one line in the log and one more in `refused`, and the peer is hung up on.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass

logger = logging.getLogger(__name__)


class Bound(enum.StrEnum):
    """What a peer can run into."""

    # Connections, before there is an association.
    CONNECTIONS = "connections"
    PER_ADDRESS = "connections-per-address"
    DESCRIPTORS = "descriptors"
    HANDSHAKES = "handshakes"
    # Associations.
    ASSOCIATIONS = "associations"
    REQUEST_SECONDS = "request-seconds"
    REQUEST_BYTES = "request-bytes"
    CONTEXTS = "contexts"
    PEER_PDU = "peer-pdu-bytes"
    # PDUs and messages.
    PDU_SECONDS = "pdu-seconds"
    PDU_BYTES = "pdu-bytes"
    COMMAND_BYTES = "command-bytes"
    IDENTIFIER_BYTES = "identifier-bytes"
    MALFORMED = "malformed"
    SEND_SECONDS = "send-seconds"
    IDLE_SECONDS = "idle-seconds"


@dataclass(frozen=True)
class Bounds:
    """The bounds of a server; seconds, bytes, or a number of things at the same time."""

    # Associations that are established, and connections whatever they are good for.
    associations: int = 100
    connections: int = 500
    connections_per_address: int = 32
    handshakes: int = 128
    handshake_seconds: float = 5.0
    # From the connection to the last byte of the A-ASSOCIATE-RQ.
    request_seconds: float = 10.0
    request_bytes: int = 64 * 1024
    # Presentation contexts of a request; the identifiers are odd numbers of one byte.
    contexts: int = 128
    # The least maximum length that a peer may ask for (PS3.8 D.1); 0 is none.
    peer_pdu_bytes: int = 128
    # From the first byte of a PDU to its last; what it may have over what we announced.
    pdu_seconds: float = 10.0
    pdu_slack: int = 4 * 1024
    command_bytes: int = 4 * 1024
    identifier_bytes: int = 256 * 1024
    # For about 32 kB of answers to be taken by the peer.
    send_seconds: float = 15.0
    idle_seconds: float = 300.0
    # What is still read of a peer that we have hung up on, so that it sees why.
    linger_seconds: float = 1.0
    linger_bytes: int = 1024 * 1024
    # Requests that wait for the one that is being answered; more are not read meanwhile.
    waiting: int = 8


# How often each bound was met, in this process.
refused: Counter[str] = Counter()

# A flood must not fill the disk: at most so often (seconds) a line for each bound.
_QUIET = 1.0
_lock = threading.Lock()
_said: dict[Bound, float] = {}
_unsaid: Counter[str] = Counter()


def refuse(bound: Bound, peer: str) -> None:
    """Count that a peer has met a bound, and say so in the log."""
    now = time.monotonic()
    with _lock:
        refused[bound] += 1
        if now - _said.get(bound, -_QUIET) < _QUIET:
            _unsaid[bound] += 1
            return
        _said[bound] = now
        more = _unsaid.pop(bound, 0)
    and_more = f" and {more} more" if more else ""
    level = logging.INFO if bound is Bound.IDLE_SECONDS else logging.WARNING
    logger.log(level, "bound met: %s peer=%s%s", bound, peer, and_more)


def place_of(error: BaseException) -> str:
    """What an error is and where it came from; not its text, which may hold a patient's data."""
    places = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__}\n{places}"
