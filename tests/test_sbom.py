"""The bill of materials is that of the locked requirements."""

from __future__ import annotations

import json

from tests import sbom


def test_the_file_is_what_the_locked_requirements_say() -> None:
    assert sbom.FILE.read_text("utf-8") == sbom.text(), "run: make sbom"


def test_every_package_is_there_with_its_hashes_and_its_licence() -> None:
    found = {each["name"]: each for each in json.loads(sbom.text())["components"]}
    assert {"django", "pydicom", "pynetdicom", "psycopg-binary", "gunicorn"} <= found.keys()
    assert "colorama" not in found  # of Windows alone
    for package in sbom.pinned():
        component = found[package.name]
        (files,) = component["externalReferences"]
        assert component["version"] == package.version
        assert files["hashes"]
        (licence,) = component["licenses"]
        assert licence.get("expression") or licence["license"]["name"], package.name


def test_what_is_needed_is_named() -> None:
    needs = {each["ref"]: each["dependsOn"] for each in json.loads(sbom.text())["dependencies"]}
    own = next(iter(needs))
    (django,) = (ref for ref in needs if ref.startswith("pkg:pypi/django@"))
    assert django in needs[own]
    assert [ref for ref in needs[django] if ref.startswith("pkg:pypi/asgiref@")]
