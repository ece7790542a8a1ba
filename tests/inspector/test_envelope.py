"""Envelopes are taken apart as Sentry documents them, and nothing malformed or huge gets through."""

from __future__ import annotations

import contextlib
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from http import HTTPStatus

import brotli
import pytest
from hypothesis import given, strategies as st

from sentry_asgi.inspector.envelope import BadEnvelopeError, decompress, parse

from .support import envelope


def bare_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "DEFLATE ": bare_deflate,
    "br": brotli.compress,
}


def refused(data: bytes) -> BadEnvelopeError:
    with pytest.raises(BadEnvelopeError) as caught:
        parse(data, max_items=10)
    return caught.value


def test_items_come_out_as_they_went_in() -> None:
    data = envelope(("event", {"a": 1}), ("attachment", b"\n\n\x00"), event_id="e")
    parsed = parse(data, max_items=10)
    assert parsed.headers == {"event_id": "e"}
    assert [(item.kind, item.payload) for item in parsed.items] == [
        ("event", b'{"a": 1}'),
        ("attachment", b"\n\n\x00"),
    ]


def test_an_item_without_length_ends_at_the_newline_or_the_end() -> None:
    data = b'{}\n{"type":"log"}\nfirst\n\n{"type":"log"}\nlast'
    assert [item.payload for item in parse(data, max_items=10).items] == [b"first", b"last"]


def test_an_envelope_may_be_empty() -> None:
    assert parse(b"{}", max_items=0).items == ()


@given(st.lists(st.binary()))
def test_any_payload_survives(payloads: list[bytes]) -> None:
    data = envelope(*(("attachment", payload) for payload in payloads))
    assert [item.payload for item in parse(data, max_items=len(payloads)).items] == payloads


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "The envelope's first line is not JSON."),
        (b"\xff", "The envelope's first line is not JSON."),
        (b"[" * 8000, "The envelope's first line is not JSON."),
        (b"9" * 5000, "The envelope's first line is not JSON."),
        (b"[]", "The envelope's first line is not a JSON object."),
        (b"{}\nnope\n", "The header of item 1 is not JSON."),
        (b"{}\n{}\n", "The header of item 1 names no type."),
        (b'{}\n{"type":1}\n', "The header of item 1 names no type."),
        (b'{}\n{"type":"a","length":"3"}\nabc', "The length of item 1 is not a number of bytes."),
        (b'{}\n{"type":"a","length":-1}\nabc', "The length of item 1 is not a number of bytes."),
        (b'{}\n{"type":"a","length":true}\nabc', "The length of item 1 is not a number of bytes."),
        (b'{}\n{"type":"a","length":4}\nabc', "Item 1 ends before its 4 bytes are complete."),
        (b'{}\n{"type":"a","length":2}\nabc', "Item 1 is longer than the 2 bytes it claims."),
    ],
)
def test_what_is_malformed_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    error = refused(data)
    assert (error.detail, error.status) == (reason, HTTPStatus.BAD_REQUEST)


def test_too_many_items_are_refused() -> None:
    assert (
        refused(envelope(*[("attachment", b"")] * 11)).status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    )


@given(st.binary())
def test_any_bytes_are_an_envelope_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadEnvelopeError):
        assert parse(data, max_items=10).headers is not None


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.binary(max_size=5000))
def test_what_was_compressed_comes_back(encoding: str, data: bytes) -> None:
    assert decompress(ENCODINGS[encoding](data), encoding, 5000) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_refused_before_it_unfolds(encoding: str) -> None:
    bomb = ENCODINGS[encoding](bytes(5_000_000))
    tracemalloc.start()
    with pytest.raises(BadEnvelopeError) as caught:
        decompress(bomb, encoding, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000
    assert caught.value.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_exactly_the_limit_is_taken(encoding: str) -> None:
    assert len(decompress(ENCODINGS[encoding](bytes(100_000)), encoding, 100_000)) == 100_000


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda _: b"\x00garbage", lambda _: b""]
)
def test_damaged_data_are_refused(encoding: str, damage: Callable[[bytes], bytes]) -> None:
    compressed = ENCODINGS[encoding](json.dumps(list(range(100))).encode())
    with pytest.raises(BadEnvelopeError) as caught:
        decompress(damage(compressed), encoding, 5000)
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_without_encoding_only_the_size_counts() -> None:
    assert decompress(b"abc", "", 3) == b"abc"
    with pytest.raises(BadEnvelopeError, match="larger than 2 bytes"):
        decompress(b"abc", "identity", 2)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(BadEnvelopeError, match="'rot13' is not known") as caught:
        decompress(b"", "rot13", 10)
    assert caught.value.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
