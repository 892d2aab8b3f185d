"""The catalogue of procedures: what a clerk chooses when an exam is booked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from worklist import catalogue, values
from worklist.actor import actor
from worklist.catalogue import CodedText, StaleError
from worklist.lookup import has_words, words_of
from worklist.modalities import modalities
from worklist.models import Code, ProcedureType, Station
from worklist.roles import needs
from worklist.views import asked, notices
from worklist.views.setup.closed_days import ScannerChoice, scanner_label
from worklist.views.setup.editing import Page, SetupForm, edit, seen_version

PERMISSION = "worklist.manage_catalogue"
_PER_PAGE = 100


class CodeForm(forms.Form):
    """A code as value, scheme and meaning; all empty: none."""

    value = forms.CharField(required=False, max_length=1024, label=gettext_lazy("Code value"))
    scheme = forms.CharField(required=False, max_length=16, label=gettext_lazy("Coding scheme"))
    meaning = forms.CharField(required=False, max_length=64, label=gettext_lazy("Meaning"))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors or self.code is None:
            return data
        if not self.code.value:
            self.add_error("value", _("Enter the value, or clear the whole code."))
            return data
        try:
            Code(**self.code.columns).clean_fields()
        except ValidationError as error:
            for name, messages in error.error_dict.items():
                self.add_error(name if name in self.fields else "value", messages)
        return data

    @property
    def code(self) -> CodedText | None:
        """What was typed; None when nothing was."""
        data = getattr(self, "cleaned_data", {})
        text = CodedText(*(data.get(name, "") for name in ("value", "scheme", "meaning")))
        return text if any((text.value, text.scheme, text.meaning)) else None


def _initial(code: Code) -> dict[str, str]:
    said = CodedText.of(code)
    return {"value": said.value, "scheme": said.scheme, "meaning": said.meaning}


CodeFormSet = forms.formset_factory(CodeForm, extra=3, max_num=50)


class ScannerChoices(forms.ModelMultipleChoiceField):
    """Scanners to tick."""

    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> str:
        return scanner_label(obj)


class ProcedureForm(SetupForm):
    """One line of the catalogue, with its codes."""

    class Meta:
        model = ProcedureType
        fields = (
            "description",
            "code",
            "modality",
            "minutes",
            "allowed_stations",
            "default_station",
            "uses_contrast",
            "asks_pregnancy",
            "preparation",
            "is_active",
        )
        labels = {
            "description": gettext_lazy("Procedure"),
            "code": gettext_lazy("Short name"),
            "minutes": gettext_lazy("Minutes"),
            "uses_contrast": gettext_lazy("Uses a contrast agent"),
            "asks_pregnancy": gettext_lazy("Ask whether the patient may be pregnant"),
            "preparation": gettext_lazy("Preparation"),
            "is_active": gettext_lazy("In use: it can be booked"),
        }
        help_texts = {
            "description": gettext_lazy("As clerks and scanners see it: CT abdomen with contrast"),
            "code": gettext_lazy("For booking and orders: letters, digits, - and _"),
            "preparation": gettext_lazy("What the patient is told: nothing to eat for 3 hours"),
            "is_active": "",
        }
        widgets = {"preparation": forms.Textarea(attrs={"rows": 3})}

    _COPIED = (
        "description",
        "modality",
        "minutes",
        "default_station",
        "uses_contrast",
        "asks_pregnancy",
        "preparation",
    )

    list_labels = {
        "protocol_codes": gettext_lazy("Protocol codes"),
        "requested_procedure_code": gettext_lazy("Procedure code"),
    }

    modality = forms.ChoiceField(label=gettext_lazy("Modality"))
    allowed_stations = ScannerChoices(
        Station.objects.order_by("name", "ae_title"),
        required=False,
        label=gettext_lazy("Allowed scanners"),
    )
    default_station = ScannerChoice(
        Station.objects.order_by("name", "ae_title"),
        required=False,
        label=gettext_lazy("Usual scanner"),
        empty_label="–",
    )

    def __init__(self, *args: Any, source: ProcedureType | None = None, **options: Any) -> None:
        """`source` is the procedure that a new one is filled from."""
        if source is not None:
            copied = {name: getattr(source, name) for name in self._COPIED}
            options["initial"] = {**copied, "allowed_stations": source.allowed_stations.all()}
        super().__init__(*args, **options)
        field = self.fields["modality"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "–"), *modalities(self.instance.modality)]
        filled_from = source or (self.instance if self.instance.pk else None)
        requested = filled_from.requested_procedure_code if filled_from else None
        rows = filled_from.proceduretypecode_set.select_related("code") if filled_from else []
        data = self.data if self.is_bound else None
        self.requested = CodeForm(
            data, prefix="requested", initial=_initial(requested) if requested else None
        )
        self.protocols = CodeFormSet(
            data, prefix="protocol", initial=[_initial(row.code) for row in rows]
        )
        self.others = (self.requested, self.protocols)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        usual, allowed = data.get("default_station"), data.get("allowed_stations")
        if usual and allowed and usual not in allowed:
            self.add_error(
                "default_station", _("It is not one of the allowed scanners: tick it there too.")
            )
        return data

    def protocol_codes(self) -> list[CodedText]:
        codes = (form.code for form in self.protocols.forms)
        return list(dict.fromkeys(code for code in codes if code))


@needs(PERMISSION)
def procedures(request: HttpRequest) -> HttpResponse:
    """The catalogue, narrowed by words of which accents and case do not count."""
    words = words_of(request.GET.get("q", ""))
    kinds = [
        kind
        for kind in ProcedureType.objects.select_related("default_station")
        if has_words(values.searched_by(f"{kind.code} {kind.description}"), words)
    ]
    page = Paginator(kinds, _PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "setup/procedures.html", {"page": page, "q": request.GET.get("q", "")})


@needs(PERMISSION)
def procedure(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """One procedure, or a new one, which may start as a copy."""
    kind = get_object_or_404(ProcedureType, pk=pk) if pk else ProcedureType()
    source = None
    if not pk and "copy" in request.GET:
        source = get_object_or_404(ProcedureType, pk=asked.number(request.GET, "copy"))
    form = ProcedureForm(request.POST or None, instance=kind, source=source)
    return edit(
        request,
        form,
        lambda seen: catalogue.save_procedure_type(
            form.instance,
            allowed_stations=list(form.cleaned_data["allowed_stations"]),
            requested_code=form.requested.code,
            protocol_codes=form.protocol_codes(),
            seen=seen,
            by=actor(request),
        ),
        Page(
            "setup/procedure.html",
            "setup-procedures",
            kind.description if pk else _("New procedure"),
        ),
        copied=source,
    )


@require_POST
@needs(PERMISSION)
def procedure_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a procedure into use, or out of it, from the list."""
    kind = get_object_or_404(ProcedureType, pk=pk)
    try:
        catalogue.set_procedure_type_active(
            kind, request.POST.get("active") == "1", seen=seen_version(request), by=actor(request)
        )
    except StaleError:
        told = _("Somebody else has changed %(name)s. Look at it, then try again.")
        notices.failed(request, told % {"name": kind.description})
    else:
        told = (
            _("%(name)s can be booked again.")
            if kind.is_active
            else _("%(name)s is no longer offered for booking.")
        )
        notices.done(request, told % {"name": kind.description})
    query = request.META.get("QUERY_STRING", "")
    response = redirect("setup-procedures")
    if query:
        response["Location"] += f"?{query}"
    return response
