"""Brings the packages that `manage.py demo` and `manage.py test` need, where there is only Python.

Standard library only, in a form that an older Python reads far enough to say that it is too old.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
WHEELS = ROOT / "wheels"
OLDEST = (3, 11)
QUIET_SECONDS = 10

# Not the lines with a marker, mostly another platform's: judging markers takes a package.
PINNED = re.compile(r"^([\w.-]+)==(\S+) \\$", re.MULTILINE)

NO_VENV = """\
This Python ({python}) cannot make virtual environments: ensurepip is missing.
Debian and Ubuntu ship it apart:  apt-get install python3-venv"""

PIP_FAILED = """\
The packages are not all installed; pip's own words are above. Nothing is lost: the same command
goes on from here once pip reaches its package index.
No network on this machine? On one that has it, with the same system and Python version:
    python3 -m pip download -d wheels --only-binary=:all: {files}
Then copy the folder wheels beside manage.py and run this command again."""

NO_DJANGO = """\
Django is not installed for this Python ({python}).
To look at the broker with demo data:  python3 manage.py demo
For an installation, make the environment once:
    python3 -m venv .venv
    .venv/bin/pip install --require-hashes --only-binary=:all: -r requirements.txt
and then run:  .venv/bin/python manage.py {command}"""


def check_python() -> None:
    """End when this Python is too old to run the broker."""
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        version = platform.python_version()
        raise SystemExit(
            f"The broker needs Python {oldest} or newer; {sys.executable} is {version}."
        )


def check_django(command: str) -> None:
    """End, saying what to do, when this Python has no Django; nothing is installed unasked."""
    if importlib.util.find_spec("django") is None:
        raise SystemExit(NO_DJANGO.format(python=sys.executable, command=command))


def ensure(*files: str) -> None:
    """Come back in a Python that has every package of these requirement files.

    An active environment that has them all is used as it is. Otherwise `.venv` is made or completed
    and this process becomes its Python, with the same command line.
    """
    if is_complete(files):
        return
    if os.name != "posix":
        raise SystemExit("The demo and the tests run on Linux and macOS; on Windows, use WSL.")
    if outdated(files):
        with locked():
            if missing := outdated(files):
                install(missing)
    if not in_venv():
        os.execv(venv_python(), [str(venv_python()), *sys.orig_argv[1:]])


def in_venv() -> bool:
    """Say whether this process runs in our `.venv`."""
    return Path(sys.prefix).resolve() == VENV.resolve()


def is_complete(files: Sequence[str]) -> bool:
    """Say whether this Python has the packages of these files, each in the version they pin."""
    for file in files:
        for name, version in PINNED.findall((ROOT / file).read_text("utf-8")):
            try:
                if metadata.version(name) != version:
                    return False
            except metadata.PackageNotFoundError:
                return False
    return True


def venv_python() -> Path:
    return VENV / "bin" / "python"


def stamp(file: str) -> Path:
    return VENV / f"{file}.installed"


def fingerprint(file: str) -> str:
    """Tell this requirement file, this environment and the Python behind it from all others."""
    parts = [sys.platform, platform.machine(), str(VENV)]
    parts += [path.read_text("utf-8") for path in (VENV / "pyvenv.cfg", ROOT / file)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def outdated(files: Sequence[str]) -> list[str]:
    """Return those of the files that `.venv` does not hold as they are now."""
    if not os.access(venv_python(), os.X_OK):
        return list(files)
    return [file for file in files if not is_installed(file)]


def is_installed(file: str) -> bool:
    try:
        return stamp(file).read_text("utf-8") == fingerprint(file)
    except FileNotFoundError:
        return False


@contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time change `.venv`; the lock is on this file and leaves no litter."""
    import fcntl

    with Path(__file__).open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command is preparing .venv; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(files: Sequence[str]) -> None:
    """Install the files' packages into a usable `.venv`; stamp each file last."""
    prepare_venv()
    say(f"installing {' and '.join(files)} into .venv (the first time takes a minute or two)")
    requirements = [word for file in files for word in ("-r", file)]
    command = [str(venv_python()), "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    if WHEELS.is_dir():
        command += ["--no-index", "--find-links", str(WHEELS)]
    if run(command + requirements) != 0:
        raise SystemExit("\n" + PIP_FAILED.format(files=" ".join(requirements)))
    for file in files:
        stamp(file).write_text(fingerprint(file), "utf-8")


def prepare_venv() -> None:
    """Leave a `.venv` that has pip, keeping one that works: it may be a developer's own."""
    if venv_can("pass"):
        if venv_can("import pip") or run([str(venv_python()), "-m", "ensurepip"]) == 0:
            return
        raise SystemExit("\n" + NO_VENV.format(python=venv_python()))
    if importlib.util.find_spec("ensurepip") is None:
        raise SystemExit(NO_VENV.format(python=sys.executable))
    say(f"making .venv with Python {platform.python_version()}")
    if run([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        # What is half-made would pass for an environment with the next tool that comes by.
        shutil.rmtree(VENV, ignore_errors=True)
        raise SystemExit("\n" + NO_VENV.format(python=sys.executable))


def venv_can(statement: str) -> bool:
    """Say whether the Python of `.venv` is there and gets through this statement."""
    if not os.access(venv_python(), os.X_OK):
        return False
    command = [str(venv_python()), "-c", statement]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def run(command: Sequence[str]) -> int:
    """Run to the end and return the exit status, saying every ten seconds that it still goes on."""
    environment = {**os.environ, "PIP_USER": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        waited = 0
        while True:
            try:
                return process.wait(QUIET_SECONDS)
            except subprocess.TimeoutExpired:
                waited += QUIET_SECONDS
                say(f"… still at it ({waited} s)")


def say(text: str) -> None:
    print(f"manage.py: {text}", file=sys.stderr, flush=True)
