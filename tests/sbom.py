"""`make sbom`: what the broker is made of, as a CycloneDX file, from the locked requirements.

Names, versions and hashes are those of requirements.txt; licences and who needs whom are what the
installed packages say. No time and no serial number: the same packages give the same file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from worklist.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "sbom.json"
# The image's: Windows has packages of its own in the file, and no broker.
_PLATFORM = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "implementation_name": "cpython",
    "python_version": "3.13",
    "python_full_version": "3.13.7",
}
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pinned:
    """A package of requirements.txt: each hash is that of one of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def pinned() -> Iterator[Pinned]:
    """The packages that run in the image, in their order."""
    text = (ROOT / "requirements.txt").read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            asked = Requirement(line.partition(" --hash")[0])
            if asked.marker is None or asked.marker.evaluate(_PLATFORM):
                (version,) = asked.specifier
                yield Pinned(
                    canonicalize_name(asked.name), version.version, tuple(_HASH.findall(line))
                )


def bill() -> dict[str, Any]:
    """The whole file."""
    packages = {each.name: each for each in pinned()}
    own = f"pkg:generic/worklist-broker@{VERSION}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "worklist-broker",
                "version": VERSION,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": [_component(each) for each in packages.values()],
        "dependencies": [
            {"ref": own, "dependsOn": [packages[name].purl for name in _asked_for()]},
            *(
                {"ref": each.purl, "dependsOn": _needed(each, packages)}
                for each in packages.values()
            ),
        ],
    }


def _component(of: Pinned) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": of.purl,
        "name": of.name,
        "version": of.version,
        "purl": of.purl,
        "licenses": [_licence(metadata.metadata(of.name))],
        "externalReferences": [
            {
                "type": "distribution",
                "url": of.purl,
                "hashes": [{"alg": "SHA-256", "content": each} for each in of.hashes],
            }
        ],
    }


def _licence(of: Any) -> dict[str, Any]:
    if expression := of.get("License-Expression"):
        return {"expression": expression}
    named = [
        line.rpartition(" :: ")[2]
        for line in of.get_all("Classifier", [])
        if line.startswith("License :: ")
    ]
    return {"license": {"name": " and ".join(named) or of["License"]}}


def _asked_for() -> list[str]:
    """What requirements.in names."""
    lines = (ROOT / "requirements.in").read_text("utf-8").splitlines()
    asked = (Requirement(line.partition("#")[0]) for line in lines if not line.startswith("#"))
    return sorted(canonicalize_name(each.name) for each in asked)


def _needed(by: Pinned, packages: dict[str, Pinned]) -> list[str]:
    asked = map(Requirement, metadata.requires(by.name) or ())
    names = {
        canonicalize_name(each.name)
        for each in asked
        if each.marker is None or each.marker.evaluate({**_PLATFORM, "extra": "binary"})
    }
    return [packages[name].purl for name in sorted(names & packages.keys())]


def text() -> str:
    return json.dumps(bill(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
    print(f"{FILE.name}: {len(bill()['components'])} packages")
