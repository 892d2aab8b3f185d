"""What no form of ours sends: NUL characters, endless numbers, and words in the place of keys."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.core.exceptions import BadRequest
from django.http import HttpRequest

_LONGEST = 2000  # characters of a value in an address
_DIGITS = 18  # of the largest key that a column holds


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def refuse_nonsense(request: HttpRequest, *asked: str) -> None:
    """No column holds a NUL, and nothing that can be asked for in an address is endless."""
    asked = (*asked, *request.GET, *chain.from_iterable(dict(request.GET.lists()).values()))
    sent = chain(request.POST, *dict(request.POST.lists()).values())
    keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if (
        any("\0" in text or len(text) > _LONGEST for text in asked)
        or any("\0" in text for text in sent)
        or not all(map(is_number, keys))
    ):
        raise BadRequest("no value of any column")


class _KeySelect(AutocompleteSelect):
    """Shows the chosen row again when a form comes back, if it can be one."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        return super().optgroups(name, _keys(value), attr)


class _KeySelectMultiple(AutocompleteSelectMultiple):
    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        return super().optgroups(name, _keys(value), attr)


def _keys(values: Sequence[str]) -> list[str]:
    return [value for value in values if is_number(str(value))]


class KeysAlone(BaseModelAdmin):
    """Fields that are completed while one types withstand a form that was tampered with."""

    def formfield_for_foreignkey(self, db_field: Any, request: Any = None, **options: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            options.setdefault("widget", _KeySelect(db_field, self.admin_site))
        return super().formfield_for_foreignkey(db_field, request, **options)

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **options: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            options.setdefault("widget", _KeySelectMultiple(db_field, self.admin_site))
        return super().formfield_for_manytomany(db_field, request, **options)
