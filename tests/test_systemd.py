"""The units for systemd: read by its own reader, and held to what they promise."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import image, tools
from tests.tools import needs

FOLDER = image.ROOT / "deploy" / "systemd"
SERVICES = sorted(path.name for path in FOLDER.glob("*.service"))
# They run on: the others are started, do their work and end.
SERVERS = ("worklist-web.service", "worklist-scp.service")


class _Repeated(dict[str, str]):
    """A key that comes again adds to its value, as systemd has it."""

    def __setitem__(self, key: str, value: str) -> None:
        if isinstance(value, list) and isinstance(self.get(key), list):
            value = [*self[key], *value]
        super().__setitem__(key, value)


def unit(name: str) -> configparser.RawConfigParser:
    read = configparser.RawConfigParser(dict_type=_Repeated, strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string((FOLDER / name).read_text("utf-8").replace("\\\n", " "))
    return read


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_no_root_and_changes_nothing_but_its_own_folder(name: str) -> None:
    service = unit(name)["Service"]
    assert service["User"] == "worklist"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    for option in (
        *("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "LockPersonality"),
        *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock"),
        *("ProtectControlGroups", "ProtectHostname", "RestrictNamespaces", "RestrictRealtime"),
        "RestrictSUIDSGID",
    ):
        assert service[option] == "yes", option
    assert service["ProtectSystem"] == "strict"
    assert service["SystemCallFilter"] == "@system-service\n~@privileged"
    assert service["StateDirectory"] == "worklist"
    assert "ReadWritePaths" not in service


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_comes_back_whatever_ended_it(name: str) -> None:
    read = unit(name)
    assert read["Service"]["Type"] == "notify"
    assert read["Service"]["Restart"] == "always"
    assert read["Service"]["KillMode"] == "mixed"
    # Never given up, however often it had to be started.
    assert read["Unit"]["StartLimitIntervalSec"] == "0"
    assert "worklist-migrate.service" in read["Unit"]["Requires"]


def test_the_dicom_port_is_opened_by_systemd() -> None:
    assert unit("worklist-scp.service")["Service"]["Sockets"] == "worklist-scp.socket"
    assert unit("worklist-scp.service")["Service"]["WatchdogSec"] == "10"
    assert unit("worklist-scp.socket")["Socket"]["ListenStream"] == "11112"


def test_secrets_stand_in_one_file_of_roots() -> None:
    files = {unit(name)["Service"]["EnvironmentFile"] for name in SERVICES}
    # The owner of the tables, if they have one of their own, is the migration's alone.
    owner = "/etc/worklist/environment\n-/etc/worklist/migrate"
    assert files == {"/etc/worklist/environment", owner}
    assert [name for name in SERVICES if re.search(r"^Environment=", text(name), re.M)] == []
    install = (image.ROOT / "docs" / "install-systemd.md").read_text("utf-8")
    assert "install -m 600 deploy/systemd/environment /etc/worklist/environment" in install


def text(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def test_each_setting_of_the_file_is_one() -> None:
    lines = [line for line in text("environment").splitlines() if not line.startswith("#")]
    assert {line.partition("=")[0] for line in lines} <= set(image.settings_names())


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_unit_runs_is_there(name: str) -> None:
    program, *words = shlex.split(unit(name)["Service"]["ExecStart"])
    if program.endswith("/python"):
        assert words[0] == "manage.py"
        asked = subprocess.run(
            [sys.executable, *words, "--help"],
            cwd=image.ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "worklist.settings"},
        )
    else:
        assert Path(program).name == "gunicorn"
        asked = subprocess.run(
            [sys.executable, "-m", "gunicorn", *words, "--check-config"],
            cwd=image.ROOT,
            capture_output=True,
            text=True,
        )
    assert asked.returncode == 0, asked.stderr


def test_the_web_tells_systemd_when_it_is_ready(tmp_path: Path) -> None:
    """systemd waits for this word (Type=notify) before it calls the service started."""
    _, *words = shlex.split(unit("worklist-web.service")["Service"]["ExecStart"])
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(60)
        at = words.index("--bind") + 1
        web = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *words[:at], "127.0.0.1:0", *words[at + 1 :]],
            cwd=image.ROOT,
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(address),
                "DATABASE_URL": f"sqlite:///{tmp_path}/worklist.sqlite3",
                "DJANGO_SETTINGS_MODULE": "worklist.settings",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert b"READY=1" in listening.recv(1000)
        finally:
            web.terminate()
            web.wait(30)


@needs("systemd")
def test_systemd_understands_every_unit(tmp_path: Path) -> None:
    """In a root of their own, where the programs that they start are to be found."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    programs = tmp_path / "opt/worklist/.venv/bin"
    programs.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for program in (programs / "python", programs / "gunicorn", tmp_path / "bin/kill"):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    for target in (
        "network-online",
        "multi-user",
        "sockets",
        "timers",
        "sysinit",
        "basic",
        "shutdown",
    ):
        (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    ours = [path for path in FOLDER.iterdir() if path.suffix]
    names = [path.name for path in ours]
    for path in ours:
        (units / path.name).write_text(path.read_text("utf-8"))
    read = subprocess.run(
        [
            str(tools.systemd_analyze()),
            "verify",
            "--man=no",
            f"--root={tmp_path}",
            *names,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    said = [line for line in read.stderr.splitlines() if "worklist-" in line]
    assert (read.returncode, said) == (0, []), read.stderr
