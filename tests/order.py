"""In which order pytest's processes take the tests, and which of them stay in one process."""

from __future__ import annotations

import zlib

import pytest
from xdist.scheduler import LoadScopeScheduling

# One site, server or image for all tests of the module, which takes long to start.
_TOGETHER = {
    "tests/faults/test_damage.py",
    "tests/faults/test_hostile.py",
    "tests/faults/test_outage_scp.py",
    "tests/faults/test_outage_web.py",
    "tests/test_deployment.py",
    "tests/test_lease.py",
    "tests/test_replica.py",
    "tests/test_wlmscpfs_peer.py",
}
# Some of whose tests take half a minute: nobody waits for one of them at the end.
_FIRST = {
    *_TOGETHER,
    "tests/faults/test_disk_full.py",
    "tests/faults/test_kill.py",
    "tests/faults/test_two_hosts.py",
    "tests/test_benchmarks.py",
    "tests/test_database_roles.py",
    "tests/test_readiness.py",
    "tests/test_restore.py",
    "tests/test_soak.py",
    "tests/test_workers.py",
}


def sort(items: list[pytest.Item]) -> None:
    """Mix tests that compute with those that wait, the same way in each process and each run."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str) -> tuple[bool, int]:
    module = nodeid.partition("::")[0]
    return module not in _FIRST, zlib.crc32(_unit(nodeid).encode())


def _unit(nodeid: str) -> str:
    module = nodeid.partition("::")[0]
    return module if module in _TOGETHER else nodeid


class Scheduling(LoadScopeScheduling):
    """Gives a process its next test, or all of a module.

    pytest-xdist's own groups (--dist=loadgroup) do nothing under pytest 9.2: its issue 1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _unit(nodeid)
