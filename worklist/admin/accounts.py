"""Accounts and groups: Django's own pages, signed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, UserChangeForm
from django.contrib.auth.models import Group
from django.http import HttpRequest

from worklist.actor import actor
from worklist.admin.seen import SeenForm
from worklist.admin.signed import SignedAdmin
from worklist.audit import trail
from worklist.models import User

admin.site.unregister(Group)


class SignedPasswordForm(AdminPasswordChangeForm):
    """It is given an account, and no request: the page notes on the account who asks."""

    def save(self, commit: bool = True) -> Any:
        user = super().save(commit=False)
        if commit:
            trail.save(user, by=user.asked_by)
        return user


class SeenUserForm(SeenForm, UserChangeForm):
    pass


@admin.register(User)
class SignedUserAdmin(SignedAdmin, UserAdmin):
    form = SeenUserForm
    change_password_form = SignedPasswordForm
    # Set by signing in and by making the account: nobody types them.
    readonly_fields = ("last_login", "date_joined")
    list_display = ("username", "last_name", "first_name", "is_staff", "is_active", "last_login")

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        user = super().get_object(request, object_id, from_field)
        if user is not None:
            user.asked_by = actor(request)
        return user


@admin.register(Group)
class SignedGroupAdmin(SignedAdmin, GroupAdmin):
    pass
