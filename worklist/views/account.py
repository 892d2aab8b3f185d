"""Signing in and out, one's own password, and how one likes the screens."""

from __future__ import annotations

import time
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from worklist.actor import actor
from worklist.audit import trail
from worklist.models import User
from worklist.models.people import themes
from worklist.roles import needs
from worklist.views import kept, notices

# Fields of a form that was sent after the session had ended, carried through the sign-in.
_KEPT = "kept-"
_KEPT_PATH = "kept_path"
# Who was signed in last in this browser, and so has typed what stands on its pages.
_PERSON = "person"


class SignInMiddleware(LoginRequiredMiddleware):
    """Every view is closed to who is not signed in; a form that was sent then is not lost."""

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> Any:
        if request.headers.get("HX-Request"):
            # Part of a page: the page itself asks for the password and goes on.
            return HttpResponse(status=401)
        if request.method == "POST":
            return SignInView.as_view(kept=kept.fields(request), kept_path=request.get_full_path())(
                request
            )
        return super().handle_no_permission(request, view_func)


@method_decorator(login_not_required, name="dispatch")
class SignInView(auth_views.LoginView):
    """Asks for name and password. One text for every failure."""

    template_name = "account/sign_in.html"
    redirect_authenticated_user = True
    # A form of somebody else is kept: the way out is to leave it.
    is_of_another = False
    kept: list[tuple[str, str]] = []
    kept_path = ""

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        if self.kept_path:
            # The form of another page came here: show the question, do not read that form as ours.
            return self.render_to_response(
                self.get_context_data(form=self.get_form_class()(request)), status=401
            )
        if request.method == "POST" and not self.kept:
            self.kept = [
                (name.removeprefix(_KEPT), value)
                for name, values in request.POST.lists()
                if name.startswith(_KEPT)
                for value in values
            ]
            self.kept_path = ""
        return super().dispatch(request, *args, **options)

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)
        form.error_messages = {
            "invalid_login": _(
                "That user name and password do not match. Check Caps Lock and try again."
            ),
            "inactive": _(
                "That user name and password do not match. Check Caps Lock and try again."
            ),
        }
        return form

    def form_valid(self, form: Any) -> HttpResponse:
        person = form.get_user()
        path = self.request.POST.get(_KEPT_PATH, "")
        is_inline = bool(self.request.headers.get("X-Inline"))
        typist = _typist(self.request) if path or is_inline else None
        if typist and typist != person:
            # What one has typed, another does not sign.
            who = typist.get_full_name() or typist.get_username()
            told = _(
                "%(who)s has typed what is kept here. Sign in as %(who)s to send it, or leave it."
            )
            form.add_error(None, told % {"who": who})
            self.is_of_another = True
            return self.form_invalid(form)
        response = super().form_valid(form)
        # Not seen for half an hour counts from here, whatever comes next.
        self.request.session["seen"] = int(time.time())
        trail.note("sign-in", form.get_user(), by=actor(self.request))
        if is_inline:
            # The page stays as it is; its forms need the token of the new session.
            response = JsonResponse({"token": get_token(self.request)})
        elif path and url_has_allowed_host_and_scheme(path, {self.request.get_host()}):
            context = {"path": path, "kept": self.kept}
            response = render(self.request, "account/go_on.html", context)
        response.set_cookie(
            _PERSON,
            signing.dumps(person.pk, salt=_PERSON),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        if self.request.headers.get("X-Inline"):
            return JsonResponse({"errors": form.non_field_errors()}, status=422)
        return self.render_to_response(self.get_context_data(form=form), status=422)

    def get_context_data(self, **options: Any) -> dict[str, Any]:
        path = self.kept_path or self.request.POST.get(_KEPT_PATH, "")
        context = super().get_context_data(
            **options,
            kept=self.kept,
            kept_path=path,
            kept_prefix=_KEPT,
            is_of_another=self.is_of_another,
        )
        # Django's own view names the host here.
        return {**context, "site_name": settings.SITE_NAME}


def _typist(request: HttpRequest) -> User | None:
    """Who was signed in last in this browser, as far as it knows."""
    try:
        key = signing.loads(request.COOKIES.get(_PERSON, ""), salt=_PERSON)
    except signing.BadSignature:
        return None
    return User.objects.filter(pk=key).first()


def locked_out(request: HttpRequest, credentials: Any, *args: Any, **options: Any) -> HttpResponse:
    """The answer to who has tried too often (django-axes)."""
    message = _("Too many tries. Wait 15 minutes or ask an administrator.")
    if request.headers.get("X-Inline"):
        return JsonResponse({"errors": [message]}, status=429)
    return render(request, "account/locked_out.html", {"message": message}, status=429)


@require_POST
@needs()
def stay(request: HttpRequest) -> HttpResponse:
    """A sign of life: the idle clock starts anew."""
    return HttpResponse(status=204)


@require_POST
@needs()
def switch_user(request: HttpRequest) -> HttpResponse:
    """Sign out, and come back to the same page as somebody else."""
    response = auth_views.LogoutView.as_view(next_page=reverse("sign-in"))(request)
    came_from = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(came_from, {request.get_host()}):
        response["Location"] = f"{reverse('sign-in')}?{urlencode({'next': came_from})}"
    return response


class PreferencesForm(forms.ModelForm):
    """How a person likes the screens."""

    class Meta:
        model = User
        fields = ("theme", "language", "single_keys")
        widgets = {"theme": forms.RadioSelect}


@require_POST
@needs()
def theme(request: HttpRequest) -> HttpResponse:
    """Choose the colours of the screens."""
    user = request.user
    assert isinstance(user, User)
    wanted = request.POST.get("theme", "")
    if wanted in dict(themes()):
        user.theme = wanted
        trail.save(user, by=actor(request))
    return redirect(_came_from(request, "home"))


@needs()
def preferences(request: HttpRequest) -> HttpResponse:
    """Colours, language and shortcut keys of one's own."""
    user = request.user
    assert isinstance(user, User)
    form = PreferencesForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        trail.save(form.instance, by=actor(request))
        notices.done(request, _("Your preferences are saved."))
        return redirect("preferences")
    status = 422 if form.errors else 200
    return render(request, "account/preferences.html", {"form": form}, status=status)


@require_POST
@login_not_required
def language(request: HttpRequest) -> HttpResponse:
    """Choose the language of the screens: kept with the account, or until one signs in."""
    wanted = request.POST.get("language", "")
    if wanted in dict(settings.LANGUAGES):
        if isinstance(request.user, User):
            request.user.language = wanted
            trail.save(request.user, by=actor(request))
        request.session["language"] = wanted
    return redirect(_came_from(request, "sign-in"))


def _came_from(request: HttpRequest, otherwise: str) -> str:
    """The page that a button of the frame was pressed on, else the page of this name."""
    path: str = request.POST.get("next", "")
    return (
        path if url_has_allowed_host_and_scheme(path, {request.get_host()}) else reverse(otherwise)
    )


class SignedPasswordChangeForm(PasswordChangeForm):
    """Changes one's own password; the write is signed, and wrong tries are counted as anywhere."""

    by: Any = None
    request: Any = None

    def clean_old_password(self) -> str:
        name, typed = self.user.get_username(), self.cleaned_data["old_password"]
        if authenticate(self.request, username=name, password=typed) is None:
            raise ValidationError(
                self.error_messages["password_incorrect"], code="password_incorrect"
            )
        return str(typed)

    def save(self, commit: bool = True) -> Any:
        user = super().save(commit=False)
        if commit:
            trail.save(user, by=self.by)
        return user


@method_decorator(needs(), name="dispatch")
class PasswordView(auth_views.PasswordChangeView):
    """One's own password."""

    form_class = SignedPasswordChangeForm
    template_name = "account/password.html"
    success_url = reverse_lazy("preferences")

    def get_form(self, form_class: Any = None) -> Any:
        form: Any = super().get_form(form_class)
        form.by, form.request = actor(self.request), self.request
        return form
