"""A scanner is added: what is known of it first; who calls is the next step; what is left."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from dicomscp.views import listen
from worklist import catalogue
from worklist.actor import actor
from worklist.models import Station
from worklist.roles import needs
from worklist.views.setup.editing import add_errors
from worklist.views.setup.scanners import ScannerForm

PERMISSION = "worklist.manage_stations"


class AddForm(ScannerForm):
    """What is known of a new scanner before it has called."""

    class Meta(ScannerForm.Meta):
        fields = ("name", "modality", "ae_title", "test_host", "test_port")
        labels = {
            **ScannerForm.Meta.labels,
            "test_host": gettext_lazy("Address"),
            "test_port": gettext_lazy("Port"),
        }
        help_texts = {
            **ScannerForm.Meta.help_texts,
            "test_host": gettext_lazy(
                "Where the scanner is: 10.1.2.31, or its name. Leave it empty if you do not know it"
            ),
            "test_port": gettext_lazy(
                "Where it answers the test of the connection: often 104, 4006 or 11112"
            ),
        }

    only_from = forms.BooleanField(
        required=False, label=gettext_lazy("Answer it only when it calls from this address")
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.fields["titles"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        host = cleaned.get("test_host", "")
        if not host:
            # It stands there already, for those who fill in an address.
            cleaned["test_port"] = None
        if cleaned.get("only_from") and "test_host" not in self.errors:
            try:
                self.instance.networks = str(ip_address(host.strip()))
            except ValueError:
                self.add_error(
                    "test_host",
                    _("To answer it from there only, write its address: 10.1.2.31."),
                )
        return cleaned


@needs(PERMISSION)
def add(request: HttpRequest) -> HttpResponse:
    """What is known of it; a caller that is not set up comes with its AE title and address."""
    known = {"ae_title": request.GET.get("ae_title", ""), "test_port": 104}
    if address := request.GET.get("address", ""):
        known |= {"test_host": address, "only_from": True}
    form = AddForm(request.POST or None, instance=Station(), initial=known)
    status = 200
    if request.method == "POST":
        status = 422
        began = timezone.now()
        if form.is_valid():
            try:
                station = catalogue.save_station(form.instance, seen=None, by=actor(request))
            except ValidationError as error:
                add_errors(form, error)
            else:
                return redirect(listen.address(station, began))
    data = {"form": form, "is_first": not Station.objects.exists()}
    return render(request, "setup/add.html", data, status=status)


@require_safe
@needs(PERMISSION)
def added(request: HttpRequest, pk: int) -> HttpResponse:
    """It is set up: what is left to do."""
    return render(request, "setup/added.html", {"station": get_object_or_404(Station, pk=pk)})
