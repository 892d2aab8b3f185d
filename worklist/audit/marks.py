"""The mark of an event: a keyed digest of all that it holds, made when it is written."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

_PURPOSE = b"worklist.audit"
# All columns but the key, which is the database's, and the mark.
_COLUMNS = (
    "actor",
    "action",
    "outcome",
    "reason",
    "model",
    "object_id",
    "object_label",
    "before",
    "after",
)


def known_keys() -> Iterator[bytes]:
    """The key in use, and then those that were: AUDIT_KEY, else one drawn from SECRET_KEY."""
    if settings.AUDIT_KEY:
        yield settings.AUDIT_KEY.encode()
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        yield hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)


def digest(content: bytes, key: bytes) -> str:
    """HMAC-SHA256 in 64 hexadecimal digits."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def content(event: Any) -> bytes:
    """What an event holds, in the same bytes whether it is about to be written or was read."""
    held = {column: getattr(event, column) for column in _COLUMNS}
    held["at"] = event.at.astimezone(dt.UTC).isoformat(timespec="microseconds")
    # Databases spell an address in their own ways.
    held["address"] = _spelled(event.address) if event.address else ""
    return json.dumps(held, cls=DjangoJSONEncoder, sort_keys=True).encode()


@lru_cache(maxsize=1024)
def _spelled(address: str) -> str:
    return str(ipaddress.ip_address(address))


def is_good(event: Any) -> bool:
    """Whether an event holds what it was marked for, under any of the keys."""
    said = content(event)
    return any(hmac.compare_digest(digest(said, key), event.mark) for key in known_keys())


class MarkField(models.CharField):
    """Filled in whenever an event is inserted, alone or with many."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        if add:
            setattr(
                model_instance, self.attname, digest(content(model_instance), next(known_keys()))
            )
        return str(getattr(model_instance, self.attname))
