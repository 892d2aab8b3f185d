"""CSV as spreadsheets read and write it: a text never becomes a formula on its way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from django.utils.formats import get_format

# A cell that begins so is a formula, or ends one, to a spreadsheet (OWASP, CSV injection).
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTE = "'"
BYTE_ORDER_MARK = "\ufeff"


def safe(text: str) -> str:
    """The text with an apostrophe before it when a spreadsheet would run it; `plain` undoes it."""
    return _QUOTE + text if text.startswith((*_STARTS_A_FORMULA, _QUOTE)) else text


def plain(text: str) -> str:
    """The text that `safe` was given."""
    if text.startswith(_QUOTE) and text[1:].startswith((*_STARTS_A_FORMULA, _QUOTE)):
        return text[1:]
    return text


def delimiter() -> str:
    """What separates cells for spreadsheets in the language of the screen."""
    return ";" if get_format("DECIMAL_SEPARATOR") == "," else ","


def lines(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The rows as a CSV file, a line at a time, with the mark by which spreadsheets know UTF-8."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter())
    buffer.write(BYTE_ORDER_MARK)
    for row in rows:
        writer.writerow([safe(cell) for cell in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
