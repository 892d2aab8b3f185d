"""Which version of the broker this is, as CHANGELOG.md names it; `.dev` until it is released."""

from __future__ import annotations

VERSION = "0.1.0.dev0"
