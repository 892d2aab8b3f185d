"""What every page of the administration shares: signed writes, history, search, ordered lists.

No model of the worklist is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, ValidationError
from django.db import DataError, IntegrityError, models, transaction
from django.db.models import Q, Value
from django.db.models.functions import Upper
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from worklist import changes, values
from worklist.actor import actor
from worklist.admin.nonsense import KeysAlone, refuse_nonsense
from worklist.admin.seen import FIELD, SeenForm, last_change
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models.fields import DicomText

_EVENTS_PER_PAGE = 50


class SignedAdmin(KeysAlone, admin.ModelAdmin):
    """Each write ends in the trail, the row and its lists of related rows under one signature."""

    object_history_template = "admin/signed_history.html"

    class Media:
        css = {"all": ("admin.css",)}

    form = SeenForm

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        refuse_nonsense(request, object_id)
        seen = last_change(self.model, unquote(object_id))
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            setattr(row, FIELD, getattr(row, "version", seen))
        return row

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in super().get_fields(request, obj) if name != FIELD]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A form that changes a row says which version of it it was filled from."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not self.has_change_permission(request, obj):
            return fieldsets
        (title, options), *others = fieldsets
        return ((title, {**options, "fields": (*options["fields"], FIELD)}), *others)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Wait for save_related, which knows the lists."""

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Iterable[Any], change: bool
    ) -> None:
        obj = form.instance
        lists: dict[str, Sequence[models.Model]] = {
            many.name: tuple(form.cleaned_data[many.name])
            for many in obj._meta.many_to_many
            if many.name in form.cleaned_data
        }
        for formset in formsets:
            formset.save(commit=False)  # writes nothing; the message of the page counts its rows
            lists |= _list_of(obj, formset)
        trail.save(obj, by=actor(request), lists=lists)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        trail.delete(obj, by=actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic():
            for obj in queryset:
                trail.delete(obj, by=actor(request))

    def changelist_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        refuse_nonsense(request)
        try:
            return super().changelist_view(request, *args, **options)
        except (DataError, OverflowError, ValueError) as error:
            # Filters are taken from the address as they stand: a year 99999, a number of 30 digits.
            raise BadRequest("what the list is asked for cannot be looked up") from error

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._or_say_why(request, super().changeform_view, *args, **options)

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._or_say_why(request, super().delete_view, *args, **options)

    def _or_say_why(
        self, request: HttpRequest, view: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Tell what another person's write, after the form was found valid, has made impossible."""
        refuse_nonsense(request)
        try:
            return view(request, *args, **options)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        except IntegrityError:  # ProtectedError is one
            messages.error(request, "Somebody else has changed this meanwhile. Nothing was saved.")
        except OverflowError as error:  # SQLite's, for a key of 30 digits
            raise BadRequest("no key of any row") from error
        return HttpResponseRedirect(request.get_full_path())

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Each word must stand in one of search_fields, whatever its case.

        In a column named "search" accents do not count either: "muller" finds Müller, and "müller"
        Mueller.
        """
        paths = tuple(self.get_search_fields(request))
        queryset = queryset.alias(**{_upper(path): Upper(path) for path in paths})
        for word in search_term.replace("\0", "").split():
            found = Q()
            for path in paths:
                found |= Q(**{f"{_upper(path)}__contains": Upper(Value(word))})
                if path.split("__")[-1] == "search" and (spelt := values.search_spellings(word)):
                    found |= Q(*(_one_of(path, spellings) for spellings in spelt))
            queryset = queryset.filter(found)
        return queryset, False

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        refuse_nonsense(request, object_id)
        events = AuditEvent.objects.filter(
            model=self.opts.label_lower, object_id=unquote(object_id)
        )
        paginator = self.get_paginator(request, events, _EVENTS_PER_PAGE)
        page = paginator.get_page(request.GET.get("p", 1))
        context = {
            "events": changes.tell(page),
            "action_list": page,
            "pagination_required": paginator.count > _EVENTS_PER_PAGE,
            "page_range": paginator.get_elided_page_range(page.number),
        }
        return super().history_view(request, object_id, {**context, **(extra_context or {})})


def _one_of(path: str, spellings: Sequence[str]) -> Q:
    """That the column holds the word in one of its spellings."""
    return reduce(or_, (Q((f"{path}__contains", one)) for one in spellings))


def _upper(path: str) -> str:
    return f"upper_{path.replace('__', '_of_')}"


class TextFilter(admin.AllValuesFieldListFilter):
    """The values of a text column; that of the rows without one has a name to click on."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": choice["display"] or _("none")}


admin.FieldListFilter.register(
    lambda field: isinstance(field, DicomText) and not field.choices,
    TextFilter,
    take_priority=True,
)


# --- lists of related rows ------------------------------------------------------------------------


class OrderedForm(forms.ModelForm):
    """A row of an ordered list; rows without a number stay behind those that have one."""

    position = forms.IntegerField(
        label=_("order"),
        required=False,
        min_value=0,
        max_value=999,
        widget=forms.NumberInput(attrs={"class": "order", "aria-label": _("order")}),
    )


class OrderedFormSet(forms.BaseInlineFormSet):
    """The rows of an ordered list: the box that takes one out has no label of its own."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            form.fields["DELETE"].widget.attrs["aria-label"] = _("Delete")


class OrderedInline(KeysAlone, admin.TabularInline):
    """An ordered list of related rows. Whoever may change the parent may change the list."""

    form = OrderedForm
    formset = OrderedFormSet
    extra = 1
    max_num = 200

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        # However many rows a request says that it has, no more are made for it.
        return super().get_formset(request, obj, absolute_max=self.max_num, **options)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "view") or self._may(request, "change")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "change" if obj else "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def _may(self, request: HttpRequest, verb: str) -> bool:
        parent = self.parent_model._meta
        return request.user.has_perm(f"{parent.app_label}.{verb}_{parent.model_name}")


def _list_of(obj: models.Model, formset: Any) -> dict[str, Sequence[models.Model]]:
    """The many-to-many field that these rows stand for, and what they name, in their order."""
    many = next(
        many for many in obj._meta.many_to_many if many.remote_field.through is formset.model
    )
    rows = [
        form.cleaned_data
        for form in formset.forms
        if form.cleaned_data and not form.cleaned_data.get("DELETE")
    ]
    rows.sort(key=lambda row: (row["position"] is None, row["position"]))
    return {many.name: tuple(row[many.m2m_reverse_field_name()] for row in rows)}
