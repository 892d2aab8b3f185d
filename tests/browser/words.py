"""The pages' own words in the language of a test, so that one test reads them in every language."""

from __future__ import annotations

import re

from django.utils.translation import gettext, ngettext, override


class Words:
    """`words("Move")` is what the button says in this language; a locale as Chromium has it."""

    def __init__(self, locale: str) -> None:
        self.locale = locale

    def __call__(self, english: str, **values: object) -> str:
        with override(self.locale.partition("-")[0]):
            told = gettext(english)
        return told % values if values else told

    def one(self, english: str) -> str:
        """The sentence that counts, about one."""
        with override(self.locale.partition("-")[0]):
            return ngettext(english, english, 1)

    def fits(self, english: str) -> re.Pattern[str]:
        """The sentence with anything in place of its variables."""
        parts = re.split(r"%\(\w+\)[sd]", self(english))
        return re.compile(".*".join(map(re.escape, parts)))
