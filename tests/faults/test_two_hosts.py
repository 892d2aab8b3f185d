"""Two hosts behind HAProxy, a primary and a replica, each a machine of a network of its own.

Under a modest load one after the other fails. Each query that fails is counted, and explained.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests import image, replicas, tools
from tests.namespaces import Network, network
from tests.raw import Peer, find
from tests.replicas import Cluster
from tests.test_fronts import HAPROXY, Balancer, self_signed
from tests.tools import needs
from tests.waiting import until

# As in deploy/haproxy.cfg: the documentation's addresses, which are nobody's.
NETWORK = "192.0.2.0/24"
FRONT, HOSTS = "192.0.2.1", {"host1": "192.0.2.11", "host2": "192.0.2.12"}
PRIMARY, REPLICA = "192.0.2.21", "192.0.2.22"
PORT = 11112
SCANNERS = 6
STEPS = 3
# Those that are associated and say nothing.
IDLE = 4
# Of a scanner: seconds from one query to the next.
PAUSE = 0.05
REFUSED = "0xA700"
BOOK = f"""
import django
django.setup()
from tests.cast import step
for number in range({STEPS}):
    step(ScheduledProcedureStepID=f"S{{number}}")
"""


class Site:
    """The machines and what runs on them."""

    def __init__(self, wires: Network, folder: Path, primary: Cluster, replica: Cluster) -> None:
        self.wires, self.folder, self.primary, self.replica = wires, folder, primary, replica
        self.environment = {
            **os.environ,
            "DATABASE_URL": f"postgres://worklist@{PRIMARY}:5432/postgres",
            "DATABASE_REPLICA_URL": f"postgres://worklist@{REPLICA}:5432/postgres",
            "DJANGO_SETTINGS_MODULE": "worklist.settings",
            "DICOM_ACCESS": "any",
            # All of them come from HAProxy.
            "DICOM_MAX_CONNECTIONS_PER_ADDRESS": "500",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def python(self, *words: str) -> None:
        with self.wires.at("host1"):
            done = subprocess.run(
                [sys.executable, *words],
                cwd=image.ROOT,
                env=self.environment,
                capture_output=True,
                text=True,
            )
        assert done.returncode == 0, done.stderr

    def start(self, host: str) -> None:
        with self.wires.at(host), self.log(host).open("ab") as said:
            self.running[host] = subprocess.Popen(
                [sys.executable, "manage.py", "runscp", "--bind", HOSTS[host], "--port", str(PORT)],
                cwd=image.ROOT,
                env=self.environment,
                stdout=said,
                stderr=said,
            )

    def log(self, host: str) -> Path:
        return self.folder / f"{host}.log"

    def reads(self, host: str) -> str:
        """What it reads queries from, as it said last."""
        told = re.findall(r"queries are read from the (\w+)", self.log(host).read_text("utf-8"))
        return told[-1] if told else ""

    def read_from(self, what: str) -> bool:
        return all(self.reads(host) == what for host in HOSTS)

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


class Front(Balancer):
    """HAProxy as it is shipped, on a machine of its own."""

    def __init__(self, wires: Network, folder: Path) -> None:
        self.socket = folder / "admin.sock"
        certificate, configuration = folder / "worklist.pem", folder / "haproxy.cfg"
        self_signed(certificate)
        text = HAPROXY.read_text("utf-8")
        assert all(f"{address}:{PORT}" in text for address in HOSTS.values())
        text = text.replace("/run/haproxy/admin.sock mode", f"{self.socket} mode")
        text = text.replace("/etc/haproxy/worklist.pem", str(certificate))
        configuration.write_text(text)
        with wires.at("front"), (folder / "haproxy.log").open("wb") as said:
            words = [str(tools.haproxy()), "-db", "-f", str(configuration)]
            self.process = subprocess.Popen(words, stdout=said, stderr=said)

    def both_up(self) -> bool:
        return all(self.is_up(f"dicom/{host}") for host in HOSTS)


@dataclass
class Load:
    """Scanners that ask, one association a query: how each one ended, and when it began."""

    answered: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    slowest: float = 0.0

    def kinds(self) -> Counter[str]:
        return Counter(kind for _, kind in self.failures)

    def __str__(self) -> str:
        failed = ", ".join(f"{count} {kind}" for kind, count in self.kinds().items())
        return f"{self.answered} answered, slowest {self.slowest:.1f} s; failed: {failed or 0}"


def scanner(wires: Network, load: Load, lock: threading.Lock, is_over: threading.Event) -> None:
    with wires.at("scanners"):
        while not is_over.wait(PAUSE):
            began = time.monotonic()
            kind = _ask()
            with lock:
                if kind:
                    load.failures.append((began, kind))
                else:
                    load.answered += 1
                    load.slowest = max(load.slowest, time.monotonic() - began)


def _ask() -> str:
    """How a query failed, "" when it was answered with what there is."""
    try:
        with Peer(PORT, host=FRONT) as peer:
            peer.associate()
            peer.send(find())
            statuses = peer.statuses()
            if statuses[-1]:
                return f"0x{statuses[-1]:04X}"
            # An answer that lacks something would be a lie: that is no failure to be explained.
            if len(statuses) != STEPS + 1:
                return f"WRONG: {len(statuses) - 1} of {STEPS}"
            peer.release()
    except (OSError, AssertionError) as error:
        return str(error) or type(error).__name__
    return ""


@contextmanager
def under_load(site: Site, what: str) -> Iterator[Load]:
    """Scanners ask from the beginning to the end of the block."""
    load, lock, is_over = Load(), threading.Lock(), threading.Event()
    asking = [
        threading.Thread(target=scanner, args=(site.wires, load, lock, is_over))
        for _ in range(SCANNERS)
    ]
    for thread in asking:
        thread.start()
    try:
        until(lambda: load.answered > 2 * SCANNERS, f"no load: {load}")
        yield load
        asked = load.answered
        until(lambda: load.answered > asked + 2 * SCANNERS, f"nobody is answered: {load}")
    finally:
        is_over.set()
        for thread in asking:
            thread.join()
        print(f"{what}: {load}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        wires = stack.enter_context(network())
        places = {"front": FRONT, "scanners": "192.0.2.50", "primary": PRIMARY, "replica": REPLICA}
        for name, address in (places | HOSTS).items():
            wires.add(name, f"{address}/24")
        primary = stack.enter_context(
            replicas.primary(
                f"listen_addresses={PRIMARY}", network=NETWORK, at=partial(wires.at, "primary")
            )
        )
        site = Site(wires, tmp_path, primary, primary)
        site.python("manage.py", "migrate", "--no-input")
        site.python("-c", BOOK)
        site.replica = stack.enter_context(
            replicas.replica(
                primary,
                f"listen_addresses={REPLICA}",
                conninfo=f"host={PRIMARY} user=worklist",
                at=partial(wires.at, "replica"),
            )
        )
        stack.callback(site.stop)
        for host in HOSTS:
            site.start(host)
        yield site


@needs("haproxy")
@pytest.mark.timeout(300)
def test_whatever_fails_of_two_hosts_and_two_databases_is_made_up_for(
    site: Site, tmp_path: Path
) -> None:
    front = Front(site.wires, tmp_path)
    try:
        until(lambda: front.socket.exists() and front.both_up(), within=40)
        until(lambda: site.read_from("replica"))
        for fault in (
            a_host_is_killed,
            a_host_is_cut_off,
            the_replica_is_killed,
            the_primary_is_restarted,
            the_primary_is_restarted_without_a_replica,
        ):
            fault(site, front)
    finally:
        front.process.kill()
        front.process.wait()


def a_host_is_killed(site: Site, front: Front) -> None:
    """Its associations are lost; who calls afterwards is answered by the other one."""
    idle = associated(site)
    with under_load(site, "a host is killed") as load:
        site.running["host1"].kill()
        # Until it is gone, its machine takes calls for it.
        site.running["host1"].wait()
        killed = time.monotonic()
        until(lambda: front.state("dicom/host1").startswith("DOWN"))
    assert [each for each in load.failures if each[0] > killed] == []
    assert len(load.failures) <= SCANNERS
    assert lost(idle) == IDLE // 2
    site.start("host1")
    until(front.both_up, within=30)


def a_host_is_cut_off(site: Site, front: Front) -> None:
    """Nothing says so: HAProxy tries the other one after two seconds, until it knows."""
    idle = associated(site)
    with under_load(site, "a host is cut off") as load:
        site.wires.cut("host2")
        cut = time.monotonic()
        until(lambda: front.state("dicom/host2").startswith("DOWN"))
    assert [each for each in load.failures if each[0] > cut] == []
    assert len(load.failures) <= SCANNERS
    assert lost(idle) == IDLE // 2
    # Nobody waits for it for minutes.
    assert time.monotonic() - cut < 20
    site.wires.mend("host2")
    until(front.both_up, within=30)
    until(lambda: site.read_from("replica"))


def associated(site: Site) -> list[Peer]:
    """Scanners that stay associated, half of them with either host."""
    with site.wires.at("scanners"):
        return [Peer(PORT, host=FRONT).associate() for _ in range(IDLE)]


def lost(idle: list[Peer]) -> int:
    """How many of these associations have ended; the others are answered."""
    ended = 0
    for peer in idle:
        with peer:
            try:
                peer.send(find())
                assert len(peer.statuses()) == STEPS + 1
                peer.release()
            except (OSError, AssertionError):
                ended += 1
    return ended


def the_replica_is_killed(site: Site, front: Front) -> None:
    """No query fails: the next one is read from the primary."""
    with under_load(site, "the replica is killed") as load:
        site.replica.kill()
        until(lambda: site.read_from("primary"))
    assert load.failures == []
    with under_load(site, "the replica is back") as load:
        site.replica.start()
        until(lambda: site.read_from("replica"))
    assert load.failures == []


def the_primary_is_restarted(site: Site, front: Front) -> None:
    """No query fails: the replica shows what is committed, and nothing is."""
    with under_load(site, "the primary is restarted") as load:
        site.primary.restart()
    assert load.failures == []
    until(lambda: site.read_from("replica"))


def the_primary_is_restarted_without_a_replica(site: Site, front: Front) -> None:
    """For as long as there is no database, and no longer, scanners are told to ask again."""
    site.replica.process.send_signal(signal.SIGINT)
    site.replica.process.wait()
    until(lambda: site.read_from("primary"))
    with under_load(site, "the primary is restarted, and there is no replica") as load:
        began = time.monotonic()
        site.primary.restart()
        ended = time.monotonic()
    assert set(load.kinds()) <= {REFUSED}
    assert [at for at, _ in load.failures if not began - 5 < at < ended + 2] == []
