"""What the pages of documentation name is there: pages, tests, commands, settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests import image

ROOT = image.ROOT
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/*.md"),
]


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    here = [link for link in links if "://" not in link]
    assert [link for link in here if not (page.parent / link).exists()] == []


@each_page()
def test_commands_are_there(page: Path) -> None:
    named = set(re.findall(r"manage\.py (\w+)", page.read_text("utf-8")))
    assert named - set(get_commands()) == set()


def test_the_threats_name_tests_that_are_there() -> None:
    named = re.findall(
        r"`((?:\w+/)?test_\w+\.py)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text("utf-8")
    )
    assert len(named) > 30
    missing = []
    for file, test in named:
        path = ROOT / "tests" / file
        if not path.exists() or (test and f"def {test}(" not in path.read_text("utf-8")):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    pages = [page.name for page in ROOT.glob("docs/*.md") if page.name != "index.md"]
    assert [page for page in pages if f"({page})" not in index] == []


def test_every_setting_is_told() -> None:
    told = (ROOT / "README.md").read_text("utf-8") + (ROOT / "docs" / "audit.md").read_text("utf-8")
    told += (ROOT / "docs" / "upgrade.md").read_text("utf-8")
    # The demo's own.
    assert [
        name for name in image.settings_names() if f"`{name}`" not in told and name != "DEMO"
    ] == []
