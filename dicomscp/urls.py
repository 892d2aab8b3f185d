"""The addresses at which the modality's door shows what it does; worklist/urls.py includes them."""

from __future__ import annotations

from django.urls import path

from dicomscp.views import connection, data_set, health, metrics, mode, queries, shown

urlpatterns = [
    path("exams/<int:pk>/dicom/", data_set.data_set, name="exam-dicom"),
    path("exams/<int:pk>/dicom.wl", data_set.worklist_file, name="exam-dicom-wl"),
    path("exams/<int:pk>/dicom.json", data_set.json_file, name="exam-dicom-json"),
    path("metrics", metrics.told),
    path("status/", health.status, name="status"),
    path("queries/", queries.queries, name="queries"),
    path("queries/<int:pk>/", queries.query, name="query"),
    path("setup/scanners/<int:pk>/list/", shown.shown, name="setup-scanner-shown"),
    path("setup/scanners/<int:pk>/list/now/", shown.shown_now, name="setup-scanner-shown-now"),
    path("setup/scanners/<int:pk>/test/", connection.try_connection, name="setup-scanner-test"),
    path(
        "setup/scanners/<int:pk>/certificate/",
        connection.certificate,
        name="setup-scanner-certificate",
    ),
    path("setup/scanners/mode/", mode.switch, name="setup-mode"),
]
