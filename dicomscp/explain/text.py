"""An explanation as plain text: for a console, and for a message to support. Without names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from textwrap import wrap

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from dicomscp.explain import short, words
from dicomscp.explain.keys import KeyVerdict
from dicomscp.explain.story import Explanation

_WIDTH = 98
_NO_PERSON = frozenset({"Scheduled Procedure Step", "Requested Procedure"})


def title(told: Explanation) -> str:
    """What is asked, of the exam by its number and time."""
    step = told.step
    values = {
        "scanner": told.caller.name,
        "title": told.caller.titles[0],
        "number": step.requested_procedure.request.accession_number or step.step_id,
        "date": date_format(step.start_date),
        "time": f"{step.start_time:%H:%M}",
    }
    return (
        _("Why does %(scanner)s (%(title)s) not see exam %(number)s of %(date)s, %(time)s?")
        % values
    )


def lines(told: Explanation, *, is_for_others: bool = False) -> Iterator[str]:
    """The whole way on lines; for others, without what keys say of patients."""
    yield title(told)
    yield ""
    for sentence in short.answer(_masked(told) if is_for_others else told):
        yield from wrap(sentence, _WIDTH)
    yield ""
    sections = words.sections(_masked(told) if is_for_others else told)
    width = max(len(section.title) for section in sections)
    for section in sections:
        yield f"{section.number} {section.title:<{width}} {section.sign}"
        for line in section.lines:
            yield from wrap(
                line.text, _WIDTH, initial_indent=f"    {line.sign} ", subsequent_indent=" " * 6
            )


def _masked(told: Explanation) -> Explanation:
    verdicts = tuple(map(_without_person, told.keys.verdicts))
    return replace(told, keys=replace(told.keys, verdicts=verdicts))


def _without_person(verdict: KeyVerdict) -> KeyVerdict:
    """A key whose values may say who somebody is, with signs in place of letters."""
    if verdict.attributes and all(
        each.module in _NO_PERSON and each.vr != "PN" for each in verdict.attributes
    ):
        return verdict
    held = tuple(map(_signs, verdict.held))
    return replace(verdict, asked=_signs(verdict.asked), held=held)


def _signs(text: str) -> str:
    """The text with its letters and digits hidden: what separates them is often the matter."""
    return "".join("x" if one.isalpha() else "9" if one.isdigit() else one for one in text)
