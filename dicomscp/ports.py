"""The listening sockets: bound, or taken over from systemd; and who holds a port that is taken.

No Django, no DICOM.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Consoles come in crowds when a network segment is back.
BACKLOG = 512
# Where systemd puts the first socket (sd_listen_fds(3)).
_FIRST = 3
_PROC = Path("/proc")
_LISTENS = "0A"


def listen(bind: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError when it cannot be had."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    return socket.create_server((bind, port), family=family, backlog=BACKLOG)


def inherited() -> list[socket.socket]:
    """The sockets that systemd listens on for us, in the order of its unit; once."""
    count = os.environ.pop("LISTEN_FDS", "")
    is_for_us = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    os.environ.pop("LISTEN_FDNAMES", None)
    if not is_for_us or not count.isdigit():
        return []
    return adopt(range(_FIRST, _FIRST + int(count)))


def adopt(descriptors: range | list[int]) -> list[socket.socket]:
    """The sockets behind these descriptors; what is started later does not inherit them."""
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for each in found:
        each.set_inheritable(False)
    return found


def holder(port: int) -> str:
    """Which process listens on a port, as words; "" where that cannot be told."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in _PROC.glob("[0-9]*"):
        if not sockets.isdisjoint(_open(process)):
            with suppress(OSError):  # it may have ended meanwhile
                words = (process / "cmdline").read_bytes().split(b"\0")
                name = "runscp" if b"runscp" in words else (process / "comm").read_text().strip()
                return f"{name}, process {process.name}"
    return ""


def _open(process: Path) -> Iterator[str]:
    """What a process has open; nothing of the processes of others, unless we are root."""
    with suppress(OSError):
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(link.readlink())


def _listening(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on a port."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENS and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]
