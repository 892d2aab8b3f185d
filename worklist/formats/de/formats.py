"""Dates as nobody misreads them: 12. Apr. 1979."""

from __future__ import annotations

DATE_FORMAT = "j. M Y"
SHORT_DATE_FORMAT = "j. M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j. M Y H:i"
