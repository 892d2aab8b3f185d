"""Screens on the wall: made here, and taken away by deleting them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from worklist.admin.signed import SignedAdmin
from worklist.models import WallScreen


@admin.register(WallScreen)
class WallScreenAdmin(SignedAdmin):
    list_display = ("name", "link")
    search_fields = ("name",)
    fields = ("name", "link")
    readonly_fields = ("link",)

    @admin.display(description=_("link"))
    def link(self, screen: WallScreen) -> Any:
        """The address to open on the screen; whoever has it sees the day without names."""
        if screen.pk is None:
            return _("given when it is saved")
        address = screen.get_absolute_url()
        return format_html('<a href="{}">{}</a>', address, address)
