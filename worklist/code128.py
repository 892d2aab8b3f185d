"""Code 128 bar codes (ISO/IEC 15417) as SVG. Pure: no database, no network."""

from __future__ import annotations

import re

# Widths of bar, space, bar, … of each value from 0 to 106, which is the stop.
_TABLE = """
212222 222122 222221 121223 121322 131222 122213 122312 132212 221213
221312 231212 112232 122132 122231 113222 123122 123221 223211 221132
221231 213212 223112 312131 311222 321122 321221 312212 322112 322211
212123 212321 232121 111323 131123 131321 112313 132113 132311 211313
231113 231311 112133 112331 132131 113123 113321 133121 313121 211331
231131 213113 213311 213131 311123 311321 331121 312113 312311 332111
314111 221411 431111 111224 111422 121124 121421 141122 141221 112214
112412 122114 122411 142112 142211 241211 221114 413111 241112 134111
111242 121142 121241 114212 124112 124211 411212 421112 421211 212141
214121 412121 111143 111341 131141 114113 114311 411113 411311 113141
114131 311141 411131 211412 211214 211232 2331112
"""
_PATTERNS = tuple(_TABLE.split())
_TO_C, _TO_B = 99, 100
_START_B, _START_C, _STOP = 104, 105, 106
_QUIET = 10  # modules that stay white at either side
_HEIGHT = 60

# Code set C holds two digits a symbol: worth a switch for four of them, at either end or between.
_DIGITS = re.compile(r"(?:[0-9]{2}){2,}", re.ASCII)


def values(text: str) -> tuple[int, ...]:
    """The symbol values of a text: start, data, check value, stop.

    Raises ValueError for what code set B does not have: it has printable ASCII.
    """
    if not text or not all(" " <= character <= "~" for character in text):
        raise ValueError("Code 128 is for printable ASCII")
    data: list[int] = []
    at = 0
    for match in _DIGITS.finditer(text):
        if at < match.start():
            data += [_TO_B if data else _START_B, *_b(text[at : match.start()])]
        digits = match.group()
        data += [_TO_C if data else _START_C]
        data += [int(digits[n : n + 2]) for n in range(0, len(digits), 2)]
        at = match.end()
    if at < len(text):
        data += [_TO_B if data else _START_B, *_b(text[at:])]
    check = (data[0] + sum(place * value for place, value in enumerate(data))) % 103
    return (*data, check, _STOP)


def _b(text: str) -> list[int]:
    return [ord(character) - 32 for character in text]


def svg(text: str, *, label: str) -> str:
    """The bar code as an SVG element, one unit a module; `label` is plain text.

    It has no style of its own: bars are drawn in black, which is what readers want.
    """
    bars = []
    at = _QUIET
    for value in values(text):
        for place, width in enumerate(map(int, _PATTERNS[value])):
            if place % 2 == 0:
                bars.append(f"M{at} 0h{width}v{_HEIGHT}h-{width}z")
            at += width
    named = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return (
        f'<svg class="barcode" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{named}"'
        f' viewBox="0 0 {at + _QUIET} {_HEIGHT}" preserveAspectRatio="none"'
        f' shape-rendering="crispEdges"><path d="{"".join(bars)}"/></svg>'
    )
