"""The addresses at which the modality's door shows what it does; worklist/urls.py includes them."""

from __future__ import annotations

from django.urls import path

from dicomscp import views

urlpatterns = [
    path("exams/<int:pk>/dicom/", views.data_set, name="exam-dicom"),
    path("exams/<int:pk>/dicom.wl", views.worklist_file, name="exam-dicom-wl"),
    path("exams/<int:pk>/dicom.json", views.json_file, name="exam-dicom-json"),
]
