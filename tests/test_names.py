from __future__ import annotations

import pytest
from django.utils import translation

from worklist import names
from worklist.templatetags import clerk


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Kowalski^Anna^M", "KOWALSKI, Anna M"),
        ("O'Brien^Mary^Kate^Dr.", "O'BRIEN, Mary Kate, Dr."),
        ("Smith^John^^Mr.^Jr", "SMITH, John Jr, Mr."),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "YAMADA, Tarou · 山田 太郎 · やまだ たろう"),
        ("=王^小东", "王 小东"),
        ("Cher", "CHER"),
        ("Παπαδοπούλου^Μαΐρα", "ΠΑΠΑΔΟΠΟΥΛΟΥ, Μαΐρα"),
        ("Ñuño^José", "ÑUÑO, José"),
        ("^Anna", "Anna"),
    ],
)
def test_a_name_is_shown_as_people_write_it(name: str, text: str) -> None:
    assert names.text(name) == text


@pytest.mark.parametrize(
    ("one", "other", "is_similar"),
    [
        ("Rossi^Paolo", "ROSSI^Paola", True),
        ("Müller^Jürgen", "Muller^Jurg", True),
        ("Anna^Ma", "Ma^Anna", False),
        ("Li^Wu", "Wu^Li", True),
        ("Smith^John", "Smith^Eve", False),
        ("Smith^John", "Smyth^John", False),
    ],
)
def test_similar_names_have_one_key(one: str, other: str, is_similar: bool) -> None:
    assert (names.similarity_key(one) == names.similarity_key(other)) is is_similar


def test_groups_of_a_name_come_together_again() -> None:
    for name in ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Smith^John^^Mr.^Jr", "=王^小东", "Cher"):
        assert names.join(*names.groups(name)) == name


def test_a_name_is_never_markup() -> None:
    assert "<b>" not in clerk.person("<b>^<i>=<u>")


def test_status_is_a_shape_and_a_word() -> None:
    with translation.override("en"):
        assert "□" in clerk.status("ARRIVED")
        assert "Arrived" in clerk.status("ARRIVED")
    assert clerk.status("<X>") == '<span class="status">&lt;X&gt;</span>'
