"""What systemd is told of a service of Type=notify: a datagram to its socket (sd_notify(3)).

Without systemd nothing happens. No Django, no DICOM.
"""

from __future__ import annotations

import logging
import os
import socket
import time

logger = logging.getLogger(__name__)

READY, STOPPING, WATCHDOG = "READY=1", "STOPPING=1", "WATCHDOG=1"


class Notifier:
    """Tells the service manager that started us, if it asked to be told."""

    def __init__(self) -> None:
        # Taken out of the environment: what we start is no service of its own.
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        interval = os.environ.pop("WATCHDOG_USEC", "")
        meant_for_us = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # Seconds within which a sign of life is due; 0: none is.
        self.watchdog = int(interval) / 1e6 if interval.isdigit() and meant_for_us else 0.0
        self._last_sign = 0.0

    def tell(self, *states: str) -> None:
        """Send these states. A manager that does not listen keeps nobody from serving."""
        if not self._address:
            return
        # "@" is how the abstract namespace is written.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.sendto("\n".join(states).encode(), address)
        except OSError as error:
            logger.warning("the service manager cannot be told: %s", error.strerror)

    def tell_reloading(self) -> None:
        """Workers are about to be renewed; READY ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def live(self) -> None:
        """Give a sign of life, no oftener than is needed."""
        now = time.monotonic()
        if self.watchdog and now - self._last_sign >= self.watchdog / 3:
            self._last_sign = now
            self.tell(WATCHDOG)
