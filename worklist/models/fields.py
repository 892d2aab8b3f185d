"""Columns that hold a DICOM attribute: each is named by the attribute's keyword.

VR, VM and label come from pydicom's dictionary; text is validated for its VR, so that what cannot
be sent cannot be saved. No model lives here.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext
from pydicom.datadict import dictionary_description, dictionary_VM, dictionary_VR

from worklist import values

# Several values in one column: far more than a person can read on a console.
_MULTI_VALUE_LENGTH = 4096
_SEARCH_LENGTH = 512
_LONG_TEXT_VRS = ("LT", "ST")


class _DicomColumn(models.Field):
    """A column that knows which DICOM attribute it holds."""

    def __init__(self, keyword: str, **options: Any) -> None:
        self.keyword = keyword
        self.vr = dictionary_VR(keyword)
        self.is_multi_valued = dictionary_VM(keyword) != "1"
        options.setdefault("verbose_name", dictionary_description(keyword))
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        if options.get("verbose_name") == dictionary_description(self.keyword):
            del options["verbose_name"]
        return name, path, args, {"keyword": self.keyword, **options}


class OnePerLine(forms.CharField):
    """A multi-valued column in a form: one value a line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return value.replace("\\", "\n") if isinstance(value, str) else value

    def to_python(self, value: Any) -> str:
        text = super().to_python(value) or ""
        if "\\" in text:
            raise ValidationError(
                gettext("a backslash separates values in DICOM: one value a line")
            )
        return values.join([line.strip() for line in text.splitlines() if line.strip()])


class DicomText(_DicomColumn, models.CharField):
    """A text attribute, "" when unknown; several values of a multi-valued one stand as on the wire.

    With `single` the column holds one value of an attribute that may have several.
    """

    def __init__(self, keyword: str, *, single: bool = False, **options: Any) -> None:
        vr = dictionary_VR(keyword)
        if vr not in values.TEXT_VRS:
            raise TypeError(f"{keyword} has VR {vr}, which is not kept as text")
        self.single = single
        if dictionary_VM(keyword) != "1" and not single:
            options.setdefault("max_length", _MULTI_VALUE_LENGTH)
        elif vr == "PN":
            options.setdefault("max_length", values.PN_VALUE_LENGTH)
        else:
            options.setdefault("max_length", values.MAX_LENGTH[vr])
        if options.setdefault("blank", True):
            options.setdefault("default", "")
        super().__init__(keyword, **options)
        self.is_multi_valued = self.is_multi_valued and not single

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "single": True} if self.single else options

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        # PS3.5 6.2: spaces that are not significant are never stored.
        return values.strip(value, self.vr) if isinstance(value, str) else value

    def pre_save(self, instance: models.Model, add: bool) -> Any:
        value = self.to_python(super().pre_save(instance, add))
        setattr(instance, self.attname, value)
        return value

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        for one in values.split(value) if self.is_multi_valued else (value,):
            try:
                values.check_text(one, self.vr)
            except values.TextError as error:
                raise ValidationError(gettext(error.sentence), params=error.details) from None

    def formfield(self, **options: Any) -> Any:
        if self.is_multi_valued:
            options.setdefault("form_class", OnePerLine)
        if self.vr in _LONG_TEXT_VRS:
            options.setdefault("strip", False)
        if self.is_multi_valued or self.vr in _LONG_TEXT_VRS:
            # The administration asks for a single line for every CharField: it would join lines.
            widget = options.get("widget", forms.TextInput)
            if isinstance(widget, type) and issubclass(widget, forms.TextInput):
                options["widget"] = forms.Textarea(attrs={"rows": 3})
        return super().formfield(**options)


class DicomDate(_DicomColumn, models.DateField):
    """A DA: a date of the site's calendar, NULL when unknown."""


class DicomTime(_DicomColumn, models.TimeField):
    """A TM: the site's wall-clock time, no zone, NULL when unknown."""


class DicomInteger(_DicomColumn, models.PositiveIntegerField):
    """A US, NULL when unknown."""


class FoldedName(models.CharField):
    """The form of a PN column in which names are compared, written with the row.

    It stands beside the column `of`; values.fold_name makes it, value by value.
    """

    def __init__(self, of: str, **options: Any) -> None:
        self.of = of
        # NFC makes up to three characters of a few that it decomposes.
        options.setdefault("max_length", _MULTI_VALUE_LENGTH)
        options.update(editable=False, default="", blank=True)
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for given in ("editable", "default", "blank"):
            options.pop(given, None)
        return name, path, args, {"of": self.of, **options}

    def pre_save(self, instance: models.Model, add: bool) -> str:
        names = values.split(getattr(instance, self.of))
        folded = values.join([values.fold_name(name) for name in names])
        setattr(instance, self.attname, folded)
        return folded


class SearchWords(models.CharField):
    """What people search a row by, without accents and case, alike on every database.

    Words with an umlaut stand in both spellings (values.searched_by).
    """

    def __init__(self, of: tuple[str, ...] = (), **options: Any) -> None:
        self.of = tuple(of)
        options.setdefault("max_length", _SEARCH_LENGTH)
        options.update(editable=False, default="", blank=True)
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for given in ("editable", "default", "blank"):
            options.pop(given, None)
        return name, path, args, {"of": self.of, **options}

    def pre_save(self, instance: models.Model, add: bool) -> str:
        words = values.searched_by(" ".join(str(getattr(instance, name)) for name in self.of))
        words = words[: self.max_length]
        setattr(instance, self.attname, words)
        return words
