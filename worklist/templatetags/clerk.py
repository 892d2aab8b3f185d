"""How the screens write names, dates of birth and statuses."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import template
from django.forms import BaseForm, BoundField
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from worklist import clock, names, values
from worklist.models import StepStatus
from worklist.views import notices

register = template.Library()


@register.filter
def person(name: str) -> SafeString:
    """A PN value on the screen, each script on its own direction."""
    first, *others = names.shown(name) or ("",)
    rest = format_html_join(
        "", ' <span class="script">· <bdi>{}</bdi></span>', ((o,) for o in others)
    )
    return format_html("<bdi>{}</bdi>{}", first, rest)


@register.filter
def person_text(name: str) -> str:
    """A PN value where there is no room for mark-up: titles, options, messages."""
    return names.text(name)


@register.filter
def several(value: str) -> str:
    """The values of a column that holds several."""
    return ", ".join(values.split(value))


@register.filter
def several_persons(value: str) -> SafeString:
    """The names of a column that holds several."""
    return format_html_join("; ", "{}", ((person(name),) for name in values.split(value)))


@register.filter
def day(value: dt.date | None) -> str:
    """A date in the language of the screen, its month in letters: 12 Apr 1979."""
    return date_format(value) if value else ""


@register.filter
def born(value: dt.date | None) -> str:
    """A date of birth with the age: 12 Apr 1979 (47 y)."""
    if value is None:
        return _("date of birth unknown")
    today = clock.today()
    years = today.year - value.year - ((today.month, today.day) < (value.month, value.day))
    # Translators: %(date)s is a date of birth, %(years)d the age.
    return _("%(date)s (%(years)d y)") % {"date": date_format(value), "years": years}


@register.filter
def listed(value: str) -> str:
    """The values of a multi-valued column, a comma between."""
    return ", ".join(values.split(value))


@register.filter
def field(form: BaseForm, name: str) -> BoundField:
    """A field of a form by its name, for templates that walk through some of them."""
    return form[name]


@register.filter
def clock_time(value: dt.time | None) -> str:
    """24 hours, hours and minutes."""
    return f"{value:%H:%M}" if value else ""


# Shape, word and colour: none of them alone.
_SHAPES = {
    StepStatus.SCHEDULED: "○",
    StepStatus.ARRIVED: "□",
    StepStatus.READY: "◇",
    StepStatus.STARTED: "◐",
    StepStatus.DEPARTED: "▷",
    StepStatus.COMPLETED: "●",
    StepStatus.DISCONTINUED: "⊘",
    StepStatus.CANCELED: "×",
}


@register.filter
def status(value: str) -> SafeString:
    """A step's status as a shape and a word."""
    try:
        known = StepStatus(value)
    except ValueError:  # imported from elsewhere
        return format_html('<span class="status">{}</span>', value)
    return format_html(
        '<span class="status status-{}"><span aria-hidden="true">{}</span> {}</span>',
        known.lower(),
        _SHAPES[known],
        known.label,
    )


@register.simple_tag(takes_context=True)
def query_with(context: Any, **changes: Any) -> str:
    """The page's own query string with these parameters changed; None or "" drops one."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None or value == "":
            query.pop(name, None)
        else:
            query[name] = value
    encoded: str = query.urlencode()
    return f"?{encoded}" if encoded else "?"


@register.filter
def undo_token(extra_tags: str | None) -> str:
    """The token of a notice that offers to undo what it tells."""
    return notices.undo_token(extra_tags or "")
