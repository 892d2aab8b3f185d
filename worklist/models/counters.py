"""The counters behind the identifiers that the site gives (PS3.4 K.6.1.2.2): each number once."""

from __future__ import annotations

from django.db import models


class Counter(models.Model):
    """The last number given under one name."""

    name = models.CharField(max_length=64, primary_key=True)
    value = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"
