from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from worklist import code128


def test_patterns_are_those_of_a_code_that_can_be_told_apart() -> None:
    patterns = code128._PATTERNS
    assert len(patterns) == len(set(patterns)) == 107
    assert all(sum(map(int, pattern)) == 11 for pattern in patterns[:-1])
    assert sum(map(int, patterns[-1])) == 13
    # ISO/IEC 15417: the bars of a symbol take an even number of modules.
    assert all(sum(map(int, pattern[::2])) % 2 == 0 for pattern in patterns[:-1])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        # The check value weighs each value by its place: (104 + 33*1 + 34*2 + 35*3) % 103.
        ("ABC", (104, 33, 34, 35, 1, 106)),
        ("1234", (105, 12, 34, 82, 106)),
        ("12345", (105, 12, 34, 100, 21, 54, 106)),
        ("A261122008", (104, 33, 99, 26, 11, 22, 0, 100, 24, 90, 106)),
        ("A12", (104, 33, 17, 18, 19, 106)),
    ],
)
def test_text_becomes_start_data_check_and_stop(text: str, values: tuple[int, ...]) -> None:
    made = code128.values(text)
    assert (made[:-2], made[-1]) == (values[:-2], values[-1])
    weighed = made[0] + sum(place * value for place, value in enumerate(made[:-2]))
    assert made[-2] == weighed % 103


@pytest.mark.parametrize("text", ["", "Ä1", "A\n"])
def test_what_the_code_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        code128.values(text)


def test_drawing_has_a_bar_for_each_bar_and_quiet_zones() -> None:
    drawn = ElementTree.fromstring(code128.svg("A<1", label='Number "A<1"'))
    assert drawn.get("aria-label") == 'Number "A<1"'
    path = drawn[0].get("d") or ""
    bars = [tuple(map(int, bar)) for bar in re.findall(r"M(\d+) 0h(\d+)", path)]
    symbols = len(code128.values("A<1"))
    assert len(bars) == symbols * 3 + 1
    assert bars[0][0] == 10
    width = int((drawn.get("viewBox") or "").split()[2])
    assert width == bars[-1][0] + bars[-1][1] + 10
