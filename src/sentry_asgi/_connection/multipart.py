"""The fields of a multipart form, of which only the beginning may be here.

`python-multipart` does the reading, where it is installed; it is imported when the first form is to be told
of. Of a file there is name, type and size, and whether its end was seen; its content is dropped as it passes.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any, Final

_PARTS: Final = 1_000

# What the parser makes of a form is nothing for the app's log, nor a breadcrumb of the next event.
_SILENT: Final = logging.Logger(__name__, level=logging.CRITICAL + 1)  # noqa: LOG001  # unlisted


def fields(kept: bytes, parameters: str) -> list[tuple[str, Any]]:
    """Name and value of each part that is all here, and of files whatever is.

    Raises:
        ImportError: without `python-multipart`.
        Exception: whatever that raises of what is no multipart form.

    """
    multipart = importlib.import_module("python_multipart.multipart")
    _, options = multipart.parse_options_header(f"multipart/form-data;{parameters}")
    reader = _Reader(multipart.parse_options_header)
    parser = multipart.MultipartParser(options[b"boundary"], reader.callbacks())
    parser.logger = _SILENT
    parser.write(kept)
    reader.end(whole=False)
    return reader.found


class _Reader:
    """Hears of each thing that the parser comes by."""

    def __init__(self, options_of: Any) -> None:
        self.found: list[tuple[str, Any]] = []
        self._options_of = options_of
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()
        self._size = 0
        self._inside = False

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self.end,
        }

    def _begin(self) -> None:
        self._headers, self._data, self._size = {}, bytearray(), 0
        self._inside = len(self.found) < _PARTS

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if b"filename" not in self._headers.get(b"content-disposition", b""):
            self._data += data[start:end]

    def end(self, *, whole: bool = True) -> None:
        """Notes the part that ends here; one that is not whole is told only if it is a file."""
        if not self._inside:
            return
        self._inside = False
        _, options = self._options_of(self._headers.get(b"content-disposition", b""))
        name = _text(options.get(b"name", b""))
        if b"filename" in options:
            file = {
                "filename": _text(options[b"filename"]),
                "content_type": _text(self._headers.get(b"content-type", b"")) or None,
                "size": self._size,
            }
            self.found.append((name, file if whole else {**file, "size": f">= {self._size}"}))
        elif whole:
            self.found.append((name, _text(self._data)))


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")
