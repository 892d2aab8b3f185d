"""What stands in front, run as it is shipped: HAProxy before two hosts, Caddy before the web."""

from __future__ import annotations

import csv
import http.client
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dicomscp import trial
from dicomscp.trial import Verdict
from tests import image, tools
from tests.processes import Start, first_line, runscp
from tests.test_deployment import free_port
from tests.tools import needs
from tests.waiting import until

__all__ = ["runscp"]  # a fixture

HAPROXY = image.ROOT / "deploy" / "haproxy.cfg"
CADDYFILE = image.ROOT / "deploy" / "Caddyfile"
FORGED = "8.8.8.8"
Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a program whose words go to a file; it is gone after the test."""
    started = []

    def start(*words: object, **environment: str) -> subprocess.Popen[str]:
        with (tmp_path / "said").open("a") as said:
            process = subprocess.Popen(
                [str(word) for word in words],
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment},
                stdout=said,
                stderr=said,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


# --- a web that tells what it was asked -----------------------------------------------------------


class Upstream(BaseHTTPRequestHandler):
    asked: list[Mapping[str, str]] = []

    def do_GET(self) -> None:
        type(self).asked.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[ThreadingHTTPServer]:
    Upstream.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    # Checks hang up as soon as they know.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(port: int, path: str = "/", *, tls: bool = True) -> tuple[int, Mapping[str, str], str]:
    """Status, headers and text of a page, whoever vouches for its certificate."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    asked = (
        http.client.HTTPSConnection("localhost", port, timeout=10, context=trusting)
        if tls
        else http.client.HTTPConnection("localhost", port, timeout=10)
    )
    try:
        asked.request("GET", path, headers={"X-Forwarded-For": FORGED, "X-Forwarded-Proto": "http"})
        answer = asked.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        asked.close()


def answers(port: int, **options: Any) -> bool:
    try:
        return ask(port, **options)[0] == 200
    except OSError:
        return False


# --- Caddy ----------------------------------------------------------------------------------------


@needs("caddy")
def test_caddy_brings_https_and_says_who_asks(
    run: Run, upstream: ThreadingHTTPServer, tmp_path: Path
) -> None:
    web, ports = upstream.server_port, {name: free_port() for name in ("HTTP", "HTTPS", "HEALTH")}
    run(
        *(tools.caddy(), "run", "--config", CADDYFILE, "--adapter", "caddyfile"),
        WEB=f"127.0.0.1:{web}",
        XDG_DATA_HOME=str(tmp_path / "data"),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        **{f"{name}_PORT": str(port) for name, port in ports.items()},
    )
    until(lambda: answers(ports["HTTPS"]))
    seen = Upstream.asked[-1]
    assert seen["x-forwarded-for"] in ("127.0.0.1", "::1")
    assert seen["x-forwarded-proto"] == "https"
    status, headers, _ = ask(ports["HTTP"], "/today/?day=1", tls=False)
    assert (status, headers["Location"]) == (301, "https://localhost/today/?day=1")
    assert ask(ports["HEALTH"], tls=False)[0] == 200
    # The web is away: the page comes again, and what was asked for is in no log.
    upstream.shutdown()
    upstream.server_close()
    status, headers, text = ask(ports["HTTPS"], "/patients/?q=SENTINEL")
    assert (status, headers["Refresh"]) == (503, "5")
    assert "tries again" in text
    assert "SENTINEL" not in (tmp_path / "said").read_text()


# --- HAProxy --------------------------------------------------------------------------------------


class Balancer:
    """HAProxy by the shipped file, on these ports."""

    def __init__(self, run: Run, folder: Path, *, hosts: tuple[int, int], web: int) -> None:
        self.port, self.https, self.socket = free_port(), free_port(), folder / "admin.sock"
        certificate = folder / "worklist.pem"
        self_signed(certificate)
        text = HAPROXY.read_text("utf-8")
        for ours, shipped in (
            (f"bind 127.0.0.1:{self.port}", "bind :11112"),
            (f"bind 127.0.0.1:{free_port()}", "bind :80"),
            (f"bind 127.0.0.1:{self.https}", "bind :443"),
            (str(certificate), "/etc/haproxy/worklist.pem"),
            (f"stats socket {self.socket}", "stats socket /run/haproxy/admin.sock"),
            (f"127.0.0.1:{hosts[0]}", "192.0.2.11:11112"),
            (f"127.0.0.1:{hosts[1]}", "192.0.2.12:11112"),
            (f"127.0.0.1:{web}", "192.0.2.11:8000"),
            (f"127.0.0.1:{free_port()}", "192.0.2.12:8000"),
        ):
            assert shipped in text
            text = re.sub(rf"{re.escape(shipped)}\b", ours, text)
        configuration = folder / "haproxy.cfg"
        configuration.write_text(text)
        run(tools.haproxy(), "-db", "-f", configuration)

    def say(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.socket))
            line.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def state(self, server: str) -> str:
        """UP or DOWN, and why: "dicom/host1" → "UP L7OK"."""
        if not self.socket.exists():
            return ""
        row = self._row(server)
        return f"{row['status'].split()[0]} {row['check_status'].lstrip('* ')}"

    def is_empty(self, server: str) -> bool:
        return self._row(server)["scur"] == "0"

    def _row(self, server: str) -> dict[str, str]:
        rows = csv.DictReader(self.say("show stat").removeprefix("# ").splitlines())
        (row,) = [each for each in rows if f"{each['pxname']}/{each['svname']}" == server]
        return row

    def is_up(self, server: str) -> bool:
        return self.state(server) == "UP L7OK"


def self_signed(path: Path) -> None:
    tools.require("openssl")
    subprocess.run(
        f"{tools.openssl()} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-keyout {path} -out {path}.crt && cat {path}.crt >> {path}",
        shell=True,
        check=True,
        capture_output=True,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    return int(re.search(r":(\d+), database", first_line(process))[1])  # type: ignore[index]


def is_answered(port: int) -> bool:
    made = trial.attempt("127.0.0.1", port, calling="CT1", called="WORKLIST", within=10)
    return made.verdict is Verdict.GOOD


@needs("haproxy")
@pytest.mark.django_db(transaction=True)
def test_haproxy_sends_scanners_to_the_host_that_answers(
    run: Run, runscp: Start, upstream: ThreadingHTTPServer, tmp_path: Path
) -> None:
    scp = runscp("--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = (port_of(scp), silent.getsockname()[1])
        balancer = Balancer(run, tmp_path, hosts=hosts, web=upstream.server_port)
        until(lambda: balancer.is_up("dicom/host1"))
        # It is connected to, and does not answer as a worklist does.
        until(lambda: balancer.state("dicom/host2").startswith("DOWN L7TOUT"))
        assert [is_answered(balancer.port) for _ in range(5)] == [True] * 5
    until(lambda: balancer.is_up("web/host1"))
    assert answers(balancer.https)
    # Beside this one, there are the checks.
    (seen,) = [asked for asked in Upstream.asked if asked["host"].startswith("localhost")]
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "https")
    # Checks are associations as any other: nothing is amiss in the log.
    scp.send_signal(signal.SIGTERM)
    _, said = scp.communicate(timeout=15)
    assert [line for line in said.splitlines() if re.search(r"WARNING|ERROR|abort", line)] == []


@needs("haproxy")
@pytest.mark.django_db(transaction=True)
def test_a_host_that_was_drained_stops_without_a_failed_association(
    run: Run, runscp: Start, upstream: ThreadingHTTPServer, tmp_path: Path
) -> None:
    first, second = (runscp("--port", "0") for _ in range(2))
    hosts = (port_of(first), port_of(second))
    balancer = Balancer(run, tmp_path, hosts=hosts, web=upstream.server_port)
    until(lambda: balancer.is_up("dicom/host1") and balancer.is_up("dicom/host2"))
    results: list[bool] = []
    is_over = threading.Event()

    def scanner() -> None:
        while not is_over.wait(0.1):
            results.append(is_answered(balancer.port))

    asking = threading.Thread(target=scanner)
    asking.start()
    try:
        until(lambda: len(results) >= 5)
        balancer.say("set server dicom/host1 state drain")
        until(lambda: balancer.is_empty("dicom/host1"))
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=15)
        count = len(results)
        until(lambda: len(results) >= count + 5)
    finally:
        is_over.set()
        asking.join()
    assert results == [True] * len(results)
