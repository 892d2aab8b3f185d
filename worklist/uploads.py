"""What is sent to the web is bounded: Django alone would write a file of any length to the disk."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler


class BoundedUpload(FileUploadHandler):
    """Stands before the others, and takes no file itself."""

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: Any = None
    ) -> None:
        """Raise RequestDataTooBig (400) before the first byte is read."""
        if content_length > settings.UPLOAD_MAX_BYTES:
            raise RequestDataTooBig(f"a body of more than {settings.UPLOAD_MAX_BYTES} bytes")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Hand it on."""
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave it to the others."""
