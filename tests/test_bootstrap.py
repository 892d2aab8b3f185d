from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import bootstrap

FILES = ("requirements.txt", "requirements-dev.txt")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with requirement files and no environment, for bootstrap to work in."""
    for file in FILES:
        (tmp_path / file).write_text("no-such-package==1.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "WHEELS", tmp_path / "wheels")
    return tmp_path


@pytest.fixture
def venv(checkout: Path) -> Callable[[str], None]:
    """Make a `.venv` whose Python is a shell script; where pip stands, it notes its arguments."""

    def make(script: str) -> None:
        python = checkout / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\ncase "$*" in *" install "*) {script};; esac\n')
        python.chmod(0o755)
        (checkout / ".venv/pyvenv.cfg").write_text("version = 3.11.2\n")

    return make


def test_an_older_python_is_named_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST", (99, 1))
    with pytest.raises(SystemExit, match=r"needs Python 99\.1 or newer"):
        bootstrap.check_python()


def test_any_other_command_without_django_installs_nothing(tmp_path: Path) -> None:
    for name in ("manage.py", "bootstrap.py"):
        shutil.copy(bootstrap.ROOT / name, tmp_path)
    # -S: no site-packages, as with the bare Python of a fresh machine.
    command = [sys.executable, "-S", "manage.py", "migrate"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Django is not installed" in done.stderr
    assert ".venv/bin/python manage.py migrate" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.usefixtures("checkout")
def test_without_ensurepip_the_cure_is_told_and_no_environment_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        bootstrap.ensure(*FILES)
    assert not bootstrap.VENV.exists()


def test_what_is_installed_is_stamped_and_not_installed_again(
    venv: Callable[[str], None],
) -> None:
    venv("exit 0")
    assert bootstrap.outdated(FILES) == list(FILES)
    bootstrap.install(FILES)
    assert bootstrap.outdated(FILES) == []


def test_a_second_file_only_adds_to_the_first(venv: Callable[[str], None]) -> None:
    venv("exit 0")
    bootstrap.install(FILES[:1])
    assert bootstrap.outdated(FILES) == [FILES[1]]


def test_a_changed_file_is_installed_again(checkout: Path, venv: Callable[[str], None]) -> None:
    venv("exit 0")
    bootstrap.install(FILES)
    (checkout / FILES[0]).write_text("changed\n")
    assert bootstrap.outdated(FILES) == [FILES[0]]


def test_an_environment_of_another_python_is_not_taken_for_stamped(
    checkout: Path, venv: Callable[[str], None]
) -> None:
    venv("exit 0")
    bootstrap.install(FILES)
    (checkout / ".venv/pyvenv.cfg").write_text("version = 3.13.0\n")
    assert bootstrap.outdated(FILES) == list(FILES)


def test_what_pip_did_not_finish_is_not_stamped(venv: Callable[[str], None]) -> None:
    venv("exit 1")
    with pytest.raises(SystemExit, match=r"pip download -d wheels .* -r requirements.txt"):
        bootstrap.install(FILES)
    assert bootstrap.outdated(FILES) == list(FILES)


def test_packages_come_with_hashes_and_never_as_source(
    checkout: Path, venv: Callable[[str], None]
) -> None:
    venv(f'echo "$@" > {checkout}/arguments')
    bootstrap.install(FILES)
    arguments = (checkout / "arguments").read_text()
    assert "--require-hashes --only-binary=:all:" in arguments
    assert "--no-index" not in arguments


def test_a_wheels_folder_is_used_instead_of_the_network(
    checkout: Path, venv: Callable[[str], None]
) -> None:
    (checkout / "wheels").mkdir()
    venv(f'echo "$@" > {checkout}/arguments')
    bootstrap.install(FILES)
    assert f"--no-index --find-links {checkout}/wheels" in (checkout / "arguments").read_text()


@pytest.mark.parametrize(
    ("lines", "complete"),
    [
        ("pytest=={installed} \\\n    --hash=sha256:00\n", True),
        ("pytest==0.0.1 \\\n    --hash=sha256:00\n", False),
        ("no-such-package==1.0 \\\n    --hash=sha256:00\n", False),
        ("colorama==0.0.1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n", True),
    ],
)
def test_a_python_is_complete_when_it_has_every_pinned_version(
    checkout: Path, lines: str, complete: bool
) -> None:
    text = lines.format(installed=metadata.version("pytest"))
    (checkout / FILES[0]).write_text(text)
    assert bootstrap.is_complete(FILES[:1]) is complete


def test_a_long_silence_is_broken(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pipe = checkout / "pipe"
    os.mkfifo(pipe)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        # The program ends once it has read this, so after the first word of ours at the earliest.
        if len(said) == 1:
            pipe.write_text("go on\n")

    monkeypatch.setattr(bootstrap, "say", say)
    monkeypatch.setattr(bootstrap, "QUIET_SECONDS", 0.01)
    assert bootstrap.run(["cat", str(pipe)]) == 0
    assert said[0].startswith("… still at it")
