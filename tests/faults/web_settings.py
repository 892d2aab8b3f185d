"""The product's own settings, on static files that nobody has collected."""

from __future__ import annotations

from worklist.settings import *  # noqa: F403
from worklist.settings import STATIC_ROOT, STORAGES

STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
