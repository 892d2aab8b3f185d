"""Dockerfile and docker-compose.yml as they are read here, where there is no container engine.

The broker's image is built in a folder by the file's own COPY and RUN lines, /app and /venv being
folders in it. What that leaves out: the base images, their programs and users (`useradd`, USER),
what a container engine itself promises (read-only root, capabilities, networks), the image of the
proxy but for its Caddyfile, and `pip install`, unless WORKLIST_REQUIRE names "index": else the
locked packages, and no others, are brought from the environment of the tests.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from tests import sbom, tools

ROOT = Path(__file__).resolve().parent.parent
# Those of an image that are folders of ours.
PLACES = re.compile(r"(?<![\w.-])/(app|venv)(?=/|\b)")
# The Python that the environment of this run was made with.
BASE_PYTHON: str = sys._base_executable  # type: ignore[attr-defined]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_IGNORED = shutil.ignore_patterns("__pycache__", ".*_cache")


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str

    def words(self) -> list[str]:
        """Those of a line that may be JSON."""
        if self.text.startswith("["):
            found: list[str] = yaml.safe_load(self.text)
            return found
        return shlex.split(self.text)


def stages() -> dict[str, list[Instruction]]:
    """The Dockerfile's stages by their names, FROM included."""
    found: dict[str, list[Instruction]] = {}
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in filter(None, lines.replace("\\\n", " ").splitlines()):
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found[rest.split(" AS ")[1]] = []
        list(found.values())[-1].append(Instruction(name, re.sub(r"\s+", " ", rest)))
    return found


def of(stage: str, name: str) -> list[Instruction]:
    """A stage's instructions of one name."""
    return [each for each in stages()[stage] if each.name == name]


# --- building -------------------------------------------------------------------------------------


@dataclass
class Image:
    """What was built: the folder that stands for its root, and the environment of its programs."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def here(self, text: str) -> str:
        """A text of the Dockerfile with its places in our folder."""
        return PLACES.sub(lambda place: f"{self.root}/{place[1]}", text)

    def files(self) -> dict[str, tuple[int, int]]:
        """All that it holds, with size and time of change."""
        return {
            str(path.relative_to(self.root)): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in self.root.rglob("*")
        }


def build(stage: str, folder: Path) -> Image:
    """Carry a stage's instructions out, and those of the stages it copies from, in this folder."""
    image = Image(folder / stage, {"PATH": f"{Path(sys.base_prefix, 'bin')}:/usr/bin:/bin"})
    image.root.mkdir()
    work = image.root
    for each in stages()[stage]:
        if each.name == "WORKDIR":
            work = Path(image.here(each.text))
            work.mkdir(parents=True, exist_ok=True)
        elif each.name == "ENV":
            for word in each.words():
                name, _, value = word.partition("=")
                value = value.replace("$PATH", image.environment["PATH"])
                image.environment[name] = image.here(value)
        elif each.name == "COPY":
            _copy(image, each, work, folder)
        elif each.name == "RUN":
            _run(image, each, work)
    return image


def _copy(image: Image, each: Instruction, work: Path, folder: Path) -> None:
    *sources, target = each.words()
    if sources[0].startswith("--from="):
        of = build(sources.pop(0).removeprefix("--from="), folder)
        from_where = [Path(of.here(source)) for source in sources]
    else:
        from_where = [ROOT / source for source in sources]
    to = work / image.here(target)
    for source in from_where:
        if source.is_dir():
            # Links stay: those of an environment lead to the Python that made it.
            shutil.copytree(source, to, ignore=_IGNORED, symlinks=True)
        else:
            shutil.copy2(source, to / source.name if to.is_dir() else to)
    for moved in (image.root / "venv" / "bin").glob("*"):
        # The environment has moved from one stage's folder to another's.
        if not moved.is_symlink():
            moved.write_text(
                re.sub(r"\A#!.*", f"#!{image.root}/venv/bin/python", moved.read_text())
            )


def _run(image: Image, each: Instruction, work: Path) -> None:
    for step in each.text.split(" && "):
        if step.startswith("useradd "):
            image.left_out.append(step)
        elif " install " in step and not tools.is_required("index"):
            image.left_out.append(step)
            _install_without_index(image)
        else:
            command = image.here(step)
            if not (image.root / "venv/bin/python").exists():
                # The base image's Python is ours, wherever it stands here.
                command = re.sub(r"^python\b", BASE_PYTHON, command)
            command = re.sub(r"^pip\b", f"{sys.executable} -m pip", command)
            subprocess.run(command, shell=True, cwd=work, env=image.environment, check=True)


def _install_without_index(image: Image) -> None:
    """Bring the locked packages, and no others, from the environment that runs the tests."""
    (packages,) = (image.root / "venv").glob("lib/python3*/site-packages")
    for package in sbom.pinned():
        installed = metadata.distribution(package.name)
        assert installed.version == package.version, package.name
        for file in installed.files or ():
            source = Path(str(installed.locate_file(file)))
            if file.suffix == ".pyc" or not source.is_file():
                continue
            is_program = file.parts[0] == ".."
            to = image.root / "venv/bin" / file.name if is_program else packages / file
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to)


# --- docker-compose.yml ---------------------------------------------------------------------------


def compose(settings: Mapping[str, str] = {}) -> dict[str, Any]:
    """The file as Docker Compose reads it, with these settings in .env."""

    def value(variable: re.Match[str]) -> str:
        return settings.get(variable[1]) or variable[2] or ""

    def filled_in(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled_in(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [filled_in(inner) for inner in part]
        # As Docker Compose does it, after the YAML was read: what is empty is a text.
        return _VARIABLE.sub(value, part) if isinstance(part, str) else part

    found: dict[str, Any] = filled_in(
        yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    )
    return found


def command(service: Mapping[str, Any]) -> list[str]:
    """What a service of the broker runs: its own command, else its image's."""
    own: list[str] | None = service.get("command")
    return own or of(service["build"]["target"], "CMD")[-1].words()


def environment(image: Image, service: Mapping[str, Any], secrets: Path) -> dict[str, str]:
    """What it runs with, its secrets being files in this folder."""
    named = {
        name: str(value).replace("/run/secrets", str(secrets))
        for name, value in service["environment"].items()
    }
    temporary = secrets.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**image.environment, **named, "TMPDIR": str(temporary), "HOME": "/nonexistent"}


def settings_names() -> Iterator[str]:
    """Every name that worklist/settings.py reads from the environment."""
    text = (ROOT / "worklist" / "settings.py").read_text("utf-8")
    yield from dict.fromkeys(re.findall(r"env\.\w+\(\s*\"(\w+)\"", text))
