"""The addresses of the web application."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from worklist.health import healthz, readyz
from worklist.roles import needs
from worklist.views import (
    account,
    afternoon,
    audit,
    board,
    booking,
    exam_edit,
    exams,
    moves,
    paper,
    patients,
    taking_back,
    walk_in,
    wall,
)
from worklist.views.setup import (
    closed_days,
    hours,
    order_sets,
    procedures,
    procedures_csv,
    scanners,
)

urlpatterns = [
    path("", board.home, name="home"),
    # Account
    path("sign-in/", account.SignInView.as_view(), name="sign-in"),
    path("sign-out/", needs()(LogoutView.as_view()), name="sign-out"),
    path("switch-user/", account.switch_user, name="switch-user"),
    path("stay/", account.stay, name="stay"),
    path("language/", account.language, name="language"),
    path("theme/", account.theme, name="theme"),
    path("preferences/", account.preferences, name="preferences"),
    path("password/", account.PasswordView.as_view(), name="password"),
    # Board
    path("today/", board.today, name="today"),
    path("wall/<str:key>/", wall.wall, name="wall"),
    path("help/keys/", board.keys, name="keys"),
    # Booking
    path("exams/new/", booking.exam_new, name="exam-new"),
    path("exams/new/patients/", booking.patients, name="exam-new-patients"),
    path("exams/new/procedures/", booking.procedures, name="exam-new-procedures"),
    path("exams/new/slots/", booking.parts, name="exam-new-slots"),
    path("walk-in/", walk_in.walk_in, name="walk-in"),
    # Exams
    path("exams/<int:pk>/", exams.page, name="exam"),
    path("exams/<int:pk>/edit/", exam_edit.edit, name="exam-edit"),
    # The modality's door shows what scanners receive; nothing here imports it.
    path("", include("dicomscp.urls")),
    path("exams/<int:pk>/move/", moves.move, name="exam-move"),
    path("exams/<int:pk>/cancel/", exams.cancel_exam, name="exam-cancel"),
    path("exams/<int:pk>/status/", exams.status, name="exam-status"),
    path("move/", afternoon.move, name="bulk-move"),
    path("undo/", taking_back.take_back, name="undo"),
    # Patients
    path("patients/", patients.search, name="patients"),
    path("patients/<int:pk>/", patients.page, name="patient"),
    path("patients/<int:pk>/edit/", patients.edit, name="patient-edit"),
    path("patients/<int:pk>/merge/", patients.merge_patients, name="patient-merge"),
    path("patients/<int:pk>/unmerge/", patients.unmerge_patients, name="patient-unmerge"),
    # Set-up
    path("setup/scanners/", scanners.scanners, name="setup-scanners"),
    path("setup/scanners/new/", scanners.scanner, name="setup-scanner-new"),
    path("setup/scanners/<int:pk>/", scanners.scanner, name="setup-scanner"),
    path("setup/hours/", hours.hours_list, name="setup-hours"),
    path("setup/hours/new/", hours.hours, name="setup-hours-new"),
    path("setup/hours/<int:pk>/", hours.hours, name="setup-hours-edit"),
    path("setup/closed-days/", closed_days.closed_days, name="setup-closed-days"),
    path("setup/closed-days/new/", closed_days.closed_day, name="setup-closed-day-new"),
    path("setup/closed-days/<int:pk>/", closed_days.closed_day, name="setup-closed-day"),
    path(
        "setup/closed-days/<int:pk>/delete/",
        closed_days.closed_day_delete,
        name="setup-closed-day-delete",
    ),
    path("setup/procedures/", procedures.procedures, name="setup-procedures"),
    path("setup/procedures/new/", procedures.procedure, name="setup-procedure-new"),
    path("setup/procedures/<int:pk>/", procedures.procedure, name="setup-procedure"),
    path(
        "setup/procedures/<int:pk>/active/",
        procedures.procedure_active,
        name="setup-procedure-active",
    ),
    path("setup/procedures/import/", procedures_csv.procedures_import, name="setup-import"),
    path("setup/procedures.csv", procedures_csv.procedures_csv, name="setup-procedures-csv"),
    path("setup/order-sets/", order_sets.order_sets, name="setup-order-sets"),
    path("setup/order-sets/new/", order_sets.order_set, name="setup-order-set-new"),
    path("setup/order-sets/<int:pk>/", order_sets.order_set, name="setup-order-set"),
    # Print and export
    path("print/day/", paper.day, name="print-day"),
    path("exams/<int:pk>/slip/", paper.slip, name="exam-slip"),
    path("export/exams.csv", paper.exams_csv, name="exams-csv"),
    # Audit
    path("audit/", audit.audit, name="audit"),
    path("audit/events.csv", audit.audit_csv, name="audit-csv"),
    # Administration and health
    path("admin/login/", RedirectView.as_view(pattern_name="sign-in", query_string=True)),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
]

handler400 = "worklist.views.errors.bad_request"
handler403 = "worklist.views.errors.permission_denied"
handler404 = "worklist.views.errors.not_found"
handler500 = "worklist.views.errors.server_error"
