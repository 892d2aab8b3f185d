"""Machines on a network of the test's own: network namespaces of Linux, which are gone after it.

Nothing of this machine's own network is touched. It takes root, and `ip` of iproute2.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_PLACE = Path("/var/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """A switch, and machines by their names."""

    def __init__(self) -> None:
        self._mark = f"wl{os.getpid()}"
        self._made: list[str] = []
        self._switch = self._namespace("switch")
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")

    def add(self, name: str, address: str) -> None:
        """A machine with this address, such as 192.0.2.1/24, by a cable to the switch."""
        machine = self._namespace(name)
        cable = ("link", "add", "cable", "netns", machine, "type", "veth")
        _ip(*cable, "peer", "name", name, "netns", self._switch)
        _ip("-n", self._switch, "link", "set", name, "master", "switch", "up")
        _ip("-n", machine, "address", "add", address, "dev", "cable")
        for link in ("lo", "cable"):
            _ip("-n", machine, "link", "set", link, "up")

    def cut(self, name: str) -> None:
        """Pull the cable: neither side hears of the other any more."""
        _ip("-n", self._switch, "link", "set", name, "down")

    def mend(self, name: str) -> None:
        _ip("-n", self._switch, "link", "set", name, "up")

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """What this thread opens and starts in this block is on that machine."""
        with Path("/proc/thread-self/ns/net").open("rb") as here:
            with (_PLACE / f"{self._mark}-{name}").open("rb") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def close(self) -> None:
        for namespace in self._made:
            subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def _namespace(self, name: str) -> str:
        namespace = f"{self._mark}-{name}"
        _ip("netns", "add", namespace)
        self._made.append(namespace)
        return namespace


@contextmanager
def network() -> Iterator[Network]:
    """A network of one's own; the test is skipped where none can be had."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces take root, and ip (Debian: apt-get install iproute2)")
    try:
        made = Network()
    except OSError as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield made
    finally:
        made.close()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.returncode, done.stderr.strip())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
