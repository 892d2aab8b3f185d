"""CSV as spreadsheets read and write it: a text never becomes a formula on its way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.utils import translation
from django.utils.formats import get_format

# A cell that begins so is a formula, or ends one, to a spreadsheet (OWASP, CSV injection).
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTE = "'"
BYTE_ORDER_MARK = "\ufeff"
SEPARATORS = (";", ",", "\t")


def safe(text: str) -> str:
    """The text with an apostrophe before it when a spreadsheet would run it; `plain` undoes it."""
    return _QUOTE + text if text.startswith((*_STARTS_A_FORMULA, _QUOTE)) else text


def plain(text: str) -> str:
    """The text that `safe` was given."""
    if text.startswith(_QUOTE) and text[1:].startswith((*_STARTS_A_FORMULA, _QUOTE)):
        return text[1:]
    return text


def delimiter() -> str:
    """What separates cells: the site's choice, else what spreadsheets in this language expect."""
    if settings.CSV_SEPARATOR:
        return settings.CSV_SEPARATOR
    return ";" if get_format("DECIMAL_SEPARATOR") == "," else ","


def lines(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The rows as a CSV file, a line at a time, with the mark by which spreadsheets know UTF-8.

    They are made in the language of now: what is streamed is asked for after the request is over.
    """
    return _lines(iter(rows), language=translation.get_language() or settings.LANGUAGE_CODE)


def _lines(rows: Iterator[Iterable[str]], *, language: str) -> Iterator[str]:
    buffer = io.StringIO(newline="")
    with translation.override(language):
        writer = csv.writer(buffer, delimiter=delimiter())
    buffer.write(BYTE_ORDER_MARK)
    while True:
        with translation.override(language):
            row = next(rows, None)
        if row is None:
            return
        writer.writerow([safe(cell) for cell in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
