"""A turn at the database for the threads of associations: bounded in number, given back after each.

However many associations there are, no more than DICOM_DATABASE_CONNECTIONS are open.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.conf import settings
from django.db import (
    InterfaceError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connection,
)

from dicomscp.status import OUT_OF_RESOURCES, Refusal

logger = logging.getLogger(__name__)

# How long a query waits for its turn at the database, in seconds.
_TURN_TIMEOUT = 4.0

_turns: threading.BoundedSemaphore | None = None
_turns_lock = threading.Lock()

Found = TypeVar("Found")


def read(reading: Callable[[], Found]) -> Found:
    """What `reading` finds in the database, tried once more when the connection was dead.

    Raises Refusal (0xA700) when the database cannot be had.
    """
    with _turn():
        try:
            return _once_more(reading)
        except (OperationalError, InterfaceError, ProgrammingError) as error:
            logger.error("worklist database unavailable: %s", type(error).__name__)
            comment = "Worklist database unavailable, retry later"
            raise Refusal(OUT_OF_RESOURCES, comment) from None


@contextmanager
def _turn() -> Iterator[None]:
    """The right to use the database, and this thread's connection given back after it."""
    global _turns
    with _turns_lock:
        if _turns is None:
            _turns = threading.BoundedSemaphore(settings.DICOM_DATABASE_CONNECTIONS)
    if not _turns.acquire(timeout=_TURN_TIMEOUT):
        raise Refusal(OUT_OF_RESOURCES, "Worklist database busy, retry later")
    try:
        close_old_connections()
        yield
    finally:
        connection.close()
        _turns.release()


def _once_more(reading: Callable[[], Found]) -> Found:
    """Read, and when the connection turns out to be dead, once more on a fresh one."""
    try:
        return reading()
    except (OperationalError, InterfaceError):
        connection.close()
        return reading()
