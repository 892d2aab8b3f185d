"""The addresses of the web application."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from worklist.health import healthz
from worklist.roles import needs
from worklist.views import account, afternoon, exam_edit, exams, moves, patients

urlpatterns = [
    path("", needs()(RedirectView.as_view(pattern_name="admin:index")), name="home"),
    # Account
    path("sign-in/", account.SignInView.as_view(), name="sign-in"),
    path("sign-out/", needs()(LogoutView.as_view()), name="sign-out"),
    path("switch-user/", account.switch_user, name="switch-user"),
    path("stay/", account.stay, name="stay"),
    path("language/", account.language, name="language"),
    path("preferences/", account.preferences, name="preferences"),
    path("password/", account.PasswordView.as_view(), name="password"),
    # Board
    # Booking
    # Exams
    path("exams/<int:pk>/", exams.page, name="exam"),
    path("exams/<int:pk>/edit/", exam_edit.edit, name="exam-edit"),
    # The modality's door shows what scanners receive; nothing here imports it.
    path("", include("dicomscp.urls")),
    path("exams/<int:pk>/move/", moves.move, name="exam-move"),
    path("exams/<int:pk>/cancel/", exams.cancel_exam, name="exam-cancel"),
    path("exams/<int:pk>/status/", exams.status, name="exam-status"),
    path("move/", afternoon.move, name="bulk-move"),
    path("undo/", moves.take_back, name="undo"),
    # Patients
    path("patients/", patients.search, name="patients"),
    path("patients/<int:pk>/", patients.page, name="patient"),
    path("patients/<int:pk>/edit/", patients.edit, name="patient-edit"),
    path("patients/<int:pk>/merge/", patients.merge_patients, name="patient-merge"),
    path("patients/<int:pk>/unmerge/", patients.unmerge_patients, name="patient-unmerge"),
    # Set-up
    # Print and export
    # Audit
    # Administration and health
    path("admin/login/", RedirectView.as_view(pattern_name="sign-in", query_string=True)),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
]

handler400 = "worklist.views.errors.bad_request"
handler403 = "worklist.views.errors.permission_denied"
handler404 = "worklist.views.errors.not_found"
handler500 = "worklist.views.errors.server_error"
