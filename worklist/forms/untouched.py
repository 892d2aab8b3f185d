"""What is stored and was not touched in a form stands, whatever the form thinks of it."""

from __future__ import annotations

from typing import Any

from django import forms


def is_untouched(form: forms.BaseForm, name: str, stored: Any) -> bool:
    """Whether this field was sent as the form had shown it, when that was `stored`.

    A browser sends its own line ends.
    """
    field = form.fields[name]
    shown: Any = field.widget.format_value(field.prepare_value(stored))
    if isinstance(shown, list):
        shown = next(iter(shown), "")
    return _lines(shown) == _lines(form[name].data)


def _lines(text: Any) -> str:
    return "" if text is None else str(text).replace("\r\n", "\n").replace("\r", "\n")


class KeepsUntouched(forms.ModelForm):
    """A form of a row: what nobody has touched is neither judged nor changed.

    It may have come from elsewhere, by other rules than those of the form.
    """

    untouched: frozenset[str] = frozenset()

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]
        self.untouched = frozenset(
            name
            for name, field in self.fields.items()
            if is_untouched(self, name, self.get_initial_for_field(field, name))
        )
        for name in self.untouched:
            self.errors.pop(name, None)
            self.cleaned_data[name] = self._stored(name)

    def _stored(self, name: str) -> Any:
        """What a field that shows `name` would answer for the row as it is."""
        if name in self.Meta.fields:  # type: ignore[attr-defined]
            return getattr(self.instance, name)
        return self.initial.get(name)

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | self.untouched
