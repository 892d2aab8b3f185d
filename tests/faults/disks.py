"""A disk without room: a small file system of a test's own, or files that may not grow.

The first is as it will be in a hospital, and takes root; the second is to be had everywhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import postgres

MEGABYTES = 160
_PIECE = bytes(1 << 16)


class Disk:
    """A file system in memory, mounted on this folder; the test is skipped where none may be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        account = postgres.unprivileged_account()
        owner = f"uid={account.pw_uid},gid={account.pw_gid}" if account else ""
        options = ",".join(filter(None, (f"size={MEGABYTES}m,mode=0700", owner)))
        folder.mkdir(exist_ok=True)
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "none", folder],
                check=True,
                capture_output=True,
                text=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            pytest.skip(f"no file system may be mounted here, which takes root: {said}".strip())

    def fill(self) -> None:
        """Leave no room at all."""
        with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            for piece in (_PIECE, b"\0"):
                with suppress(OSError):
                    while filler.write(piece):
                        pass

    def free(self) -> None:
        self._filler.unlink()

    def close(self) -> None:
        # Whoever still has a file open there keeps it; the name is free.
        subprocess.run(["umount", "--lazy", self.folder], check=False)


def let_nothing_grow(pids: Iterable[int], *, may: bool = False) -> None:
    """What these processes write to any file fails from now on, or no more."""
    for pid in pids:
        # As whoever it belongs to: root itself may lack the right in a container.
        run_as: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            owner = Path(f"/proc/{pid}").stat()
            if os.geteuid() == 0:
                run_as = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
            subprocess.run(
                ["prlimit", f"--pid={pid}", f"--fsize={'unlimited' if may else 0}:"],
                **run_as,
                capture_output=True,
                check=False,
            )
