"""Sentry's envelopes, from bytes to items. Pure: no I/O, no clock.

The rules:

- An envelope is one line of JSON (its headers), then items: one line of JSON (the item's headers)
  and a payload. The payload is as long as the header `length` says and then ends with a newline
  or the end; without `length` it ends at the next newline. Empty lines between items are nothing.
- Whatever is wrong raises `BadEnvelopeError`, which knows the HTTP status to answer with.
- Nothing is ever decompressed beyond the limit, not even for a moment.
- Limits are those of a whole request: many small parts may cost no more than one large one.
- JSON is UTF-8, as the protocol has it: what was taken may be written into other JSON as it is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import brotli
import zstandard

MEBIBYTE = 1024 * 1024
MOST_FRAMES = 16
"""How many gzip members or zstd frames may follow one another; SDKs send one, and each costs a copy of the rest."""
MAX_JSON = 10 * MEBIBYTE
"""How long JSON may be in one request, all together: decoded, it takes up to fifty times as much memory.

Sentry takes events of 1 MB.
"""


MAX_HEADER = 8192
"""How long the headers of an envelope, and of each of its items, may be."""


class BadEnvelopeError(ValueError):
    """What was sent cannot be taken; `status` is the HTTP status that says so."""

    def __init__(self, detail: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        """Take a text for the sender, and the status."""
        super().__init__(detail)
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may carry: bytes as sent, bytes when decompressed, and items."""

    body: int = 20 * MEBIBYTE
    decompressed: int = 100 * MEBIBYTE
    items: int = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an envelope: its headers as sent, and its payload's bytes."""

    headers: dict[str, Any]
    payload: bytes

    @property
    def kind(self) -> str:
        """The item's type: event, transaction, log and so on."""
        return str(self.headers["type"])


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope's headers as sent, and its items in the order sent."""

    headers: dict[str, Any]
    items: tuple[Item, ...]


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding (gzip, deflate, br, zstd, or none).

    Raises BadEnvelopeError: 415 for another encoding, 413 if more than `limit` bytes come out,
    400 if the data are damaged or cut short.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        check_size(len(body), limit, "The envelope")
        return body
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise BadEnvelopeError(
            f"Content-Encoding {name!r} is not known here; gzip, deflate, br and zstd are.",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    # One byte more than allowed tells that there is more.
    data, complete = decoder(body, limit + 1)
    check_size(len(data), limit, "The envelope")
    if not complete:
        raise BadEnvelopeError(f"The {name} data are damaged or cut short.")
    return data


def check_size(size: int, most: int, what: str) -> None:
    """Raise BadEnvelopeError, with 413, if `what` has more bytes than that."""
    if size > most:
        raise BadEnvelopeError(
            f"{what} is larger than {most} bytes.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )


def _inflate(body: bytes, most: int) -> tuple[bytes, bool]:
    # Says "gzip" or "deflate" and sends either, or deflate without zlib's header: all are seen.
    zlib_or_gzip, bare = 47, -15
    gzipped = body[:2] == b"\x1f\x8b"
    headed = gzipped or (body[:1] == b"\x78" and int.from_bytes(body[:2], "big") % 31 == 0)
    data = b""
    for _ in range(MOST_FRAMES if gzipped else 1):
        decoder = zlib.decompressobj(zlib_or_gzip if headed else bare)
        try:
            data += decoder.decompress(body, most - len(data))
        except zlib.error:
            return data, False
        body = decoder.unused_data
        if not (decoder.eof and body):
            return data, decoder.eof
    return data, False


def _unbrotli(body: bytes, most: int) -> tuple[bytes, bool]:
    decoder = brotli.Decompressor()
    try:
        # It stops soon after `most`, not exactly there.
        data = decoder.process(body, output_buffer_limit=most)
    except brotli.error:
        return b"", False
    return data, decoder.is_finished()


def _unzstd(body: bytes, most: int) -> tuple[bytes, bool]:
    try:
        reader = _zstd().stream_reader(body, read_across_frames=True)
        data = reader.read(most)
        # What is cut short reads as if it had ended. Looked at only when it is known to be small.
        return data, len(data) == most or _zstd_complete(body)
    except zstandard.ZstdError:
        return b"", False


def _zstd_complete(body: bytes) -> bool:
    for _ in range(MOST_FRAMES):
        frame = _zstd().decompressobj()
        frame.decompress(body)
        body = frame.unused_data
        if not (frame.eof and body):
            return frame.eof
    return False


def _zstd() -> zstandard.ZstdDecompressor:
    # A window says how much memory a frame wants; SDKs' stay below 8 MiB.
    return zstandard.ZstdDecompressor(max_window_size=128 * MEBIBYTE)


_DECODERS: dict[str, Callable[[bytes, int], tuple[bytes, bool]]] = {
    "gzip": _inflate,
    "x-gzip": _inflate,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


def parse(data: bytes, *, max_items: int) -> Envelope:
    """Take an envelope apart.

    Raises BadEnvelopeError, with 413 if it has more than `max_items` items.
    """
    line, position = _line(data, 0)
    headers = json_object(line, "The envelope's first line", MAX_HEADER)
    items: list[Item] = []
    for item in _items(data, position):
        if len(items) == max_items:
            raise BadEnvelopeError(
                f"The envelope has more than {max_items} items.",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        items.append(item)
    return Envelope(headers, tuple(items))


def _items(data: bytes, position: int) -> Iterator[Item]:
    number = 0
    while position < len(data):
        line, position = _line(data, position)
        if not line.strip():
            continue
        number += 1
        headers = json_object(line, f"The header of item {number}", MAX_HEADER)
        if not isinstance(headers.get("type"), str):
            raise BadEnvelopeError(f"The header of item {number} names no type.")
        payload, position = _payload(data, position, headers.get("length"), number)
        yield Item(headers, payload)


def _payload(data: bytes, start: int, length: Any, number: int) -> tuple[bytes, int]:
    if length is None:
        return _line(data, start)
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise BadEnvelopeError(f"The length of item {number} is not a number of bytes.")
    end = start + length
    if end > len(data):
        raise BadEnvelopeError(f"Item {number} ends before its {length} bytes are complete.")
    if data[end : end + 1] not in {b"", b"\n"}:
        raise BadEnvelopeError(f"Item {number} is longer than the {length} bytes it claims.")
    return data[start:end], end + 1


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    end = data.find(b"\n", start)
    return (data[start:], len(data)) if end < 0 else (data[start:end], end + 1)


def json_object(data: bytes, what: str, most: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object of at most so many bytes; `what` names it in the text of the error.

    Raises BadEnvelopeError.
    """
    check_size(len(data), most, what)
    try:
        value = json.loads(data.decode(), parse_constant=_no_number)
    # Too deep for the decoder, not UTF-8, not JSON, or a number too long to read.
    except (RecursionError, ValueError):
        raise BadEnvelopeError(f"{what} is not JSON.") from None
    if not isinstance(value, dict):
        raise BadEnvelopeError(f"{what} is not a JSON object.")
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
