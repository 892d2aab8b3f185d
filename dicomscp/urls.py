"""The addresses at which the modality's door shows what it does; worklist/urls.py includes them."""

from __future__ import annotations

from django.urls import path

from dicomscp.views import (
    adding,
    connection,
    data_set,
    explain,
    explain_query,
    health,
    listen,
    metrics,
    mode,
    queries,
    readiness,
    sheet,
    shown,
)

urlpatterns = [
    path("exams/<int:pk>/dicom/", data_set.data_set, name="exam-dicom"),
    path("exams/<int:pk>/dicom.wl", data_set.worklist_file, name="exam-dicom-wl"),
    path("exams/<int:pk>/dicom.json", data_set.json_file, name="exam-dicom-json"),
    path("metrics", metrics.told),
    path("status/", health.status, name="status"),
    path("status/test/", health.test_all, name="status-test"),
    path("queries/", queries.queries, name="queries"),
    path("queries/<int:pk>/", queries.query, name="query"),
    path("queries/<int:pk>/case.dump", explain_query.case, name="query-case"),
    path("exams/<int:pk>/explain/", explain.exam, name="exam-explain"),
    path("explain/", explain.explain, name="explain"),
    path("readiness/exam/<int:pk>/", readiness.exam, name="readiness-exam"),
    path("readiness/notice/", readiness.notice, name="readiness-notice"),
    path("readiness/lanes/", readiness.lanes, name="readiness-lanes"),
    path("setup/scanners/<int:pk>/list/", shown.shown, name="setup-scanner-shown"),
    path("setup/scanners/<int:pk>/list/now/", shown.shown_now, name="setup-scanner-shown-now"),
    path("setup/scanners/<int:pk>/test/", connection.try_connection, name="setup-scanner-test"),
    path(
        "setup/scanners/<int:pk>/certificate/",
        connection.certificate,
        name="setup-scanner-certificate",
    ),
    path("setup/scanners/add/", adding.add, name="setup-scanner-add"),
    path("setup/scanners/<int:pk>/listen/", listen.listen, name="setup-scanner-listen"),
    path("setup/scanners/<int:pk>/take/", listen.take, name="setup-scanner-take"),
    path("setup/scanners/<int:pk>/added/", adding.added, name="setup-scanner-added"),
    path("setup/scanners/<int:pk>/sheet/", sheet.sheet, name="setup-scanner-sheet"),
    path("setup/scanners/mode/", mode.switch, name="setup-mode"),
]
