"""Order sets: one choice that books several exams."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from worklist import catalogue
from worklist.actor import actor
from worklist.models import OrderSet, ProcedureType
from worklist.roles import needs
from worklist.views.setup.editing import Page, SetupForm, edit
from worklist.views.setup.procedures import PERMISSION


class ItemForm(forms.Form):
    """One exam of the set, at its place; without an exam: none."""

    position = forms.IntegerField(
        required=False, min_value=0, max_value=99, label=gettext_lazy("Place")
    )
    procedure_type = forms.TypedChoiceField(required=False, label=gettext_lazy("Exam"))

    def __init__(self, *args: Any, kinds: dict[int, ProcedureType], **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields["procedure_type"]
        assert isinstance(field, forms.TypedChoiceField)
        field.coerce = lambda key: kinds[int(key)]
        field.empty_value = None
        field.choices = [("", "–"), *((key, str(kind)) for key, kind in kinds.items())]


class ItemFormSet(forms.BaseFormSet):
    """The exams of the set, in the order of their places."""

    def chosen(self) -> list[ProcedureType]:
        rows = [form.cleaned_data for form in self.forms if form.cleaned_data.get("procedure_type")]
        # Rows without a number stay behind those that have one, as they stand.
        rows.sort(key=lambda row: (row["position"] is None, row["position"] or 0))
        return [row["procedure_type"] for row in rows]

    def clean(self) -> None:
        if any(self.errors):
            return
        kinds = self.chosen()
        if not kinds:
            raise ValidationError(_("Choose at least one exam."))
        if len({kind.pk for kind in kinds}) < len(kinds):
            raise ValidationError(_("An exam stands twice in the set."))


Items = forms.formset_factory(ItemForm, formset=ItemFormSet, extra=3, max_num=30)


class OrderSetForm(SetupForm):
    """Name, short name, and the exams in their order."""

    class Meta:
        model = OrderSet
        fields = ("name", "code", "is_active")
        labels = {
            "name": gettext_lazy("Name"),
            "code": gettext_lazy("Short name"),
            "is_active": gettext_lazy("In use: it can be booked"),
        }
        help_texts = {"code": gettext_lazy("For booking and orders: letters, digits, - and _")}

    list_labels = {"procedure_types": gettext_lazy("Exams")}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        rows = self.instance.ordersetitem_set.all() if self.instance.pk else []
        initial = [
            {"position": place, "procedure_type": row.procedure_type_id}
            for place, row in enumerate(rows, 1)
        ]
        there = {row["procedure_type"] for row in initial}
        kinds = {
            kind.pk: kind
            for kind in ProcedureType.objects.all()
            if kind.is_active or kind.pk in there
        }
        self.items: Any = Items(
            self.data if self.is_bound else None,
            prefix="item",
            initial=initial,
            form_kwargs={"kinds": kinds},
        )
        self.others = (self.items,)


@needs(PERMISSION)
def order_sets(request: HttpRequest) -> HttpResponse:
    """All order sets and what each books."""
    sets = OrderSet.objects.prefetch_related("ordersetitem_set__procedure_type")
    return render(request, "setup/order_sets.html", {"sets": sets})


@needs(PERMISSION)
def order_set(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One order set, or a new one."""
    row = get_object_or_404(OrderSet, pk=pk) if pk else OrderSet()
    form = OrderSetForm(request.POST or None, instance=row)
    return edit(
        request,
        form,
        lambda seen: catalogue.save_order_set(
            form.instance, form.items.chosen(), seen=seen, by=actor(request)
        ),
        Page("setup/order_set.html", "setup-order-sets", row.name if pk else _("New order set")),
    )
