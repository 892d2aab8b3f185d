"""The addresses at which the modality's door shows what it does; worklist/urls.py includes them."""

from __future__ import annotations

from django.urls import path

from dicomscp.views import data_set, explain, explain_query, mode, queries, readiness, shown

urlpatterns = [
    path("exams/<int:pk>/dicom/", data_set.data_set, name="exam-dicom"),
    path("exams/<int:pk>/dicom.wl", data_set.worklist_file, name="exam-dicom-wl"),
    path("exams/<int:pk>/dicom.json", data_set.json_file, name="exam-dicom-json"),
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
    path("setup/scanners/mode/", mode.switch, name="setup-mode"),
]
