"""Of many requests every slow and every failed one arrives whole, and the others as the dice say."""

from __future__ import annotations

import random

import pytest

from sentry_asgi._tracing import sampling

from .keep_soak import paths, soak
from .test_tracing import WAYS

REQUESTS = 600


@pytest.mark.parametrize("way", WAYS)
def test_what_was_slow_or_failed_arrives_whole_and_weighs_one(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "random", random.Random(3).random)
    arrived = soak(REQUESTS, streams=way == "stream")
    for kind in ("slow", "failed"):
        for path in paths(REQUESTS, kind):
            assert arrived.kept[path] in {kind, None}
            assert arrived.children[path] >= 2
    assert arrived.events == len(paths(REQUESTS, "failed"))
    sampled = [path for path, why in arrived.kept.items() if why is None]
    assert len(sampled) > 0
    assert all(arrived.children[path] >= 2 for path in sampled)
    assert arrived.deviation < 4
    assert arrived.held == 0
    roots = REQUESTS - len(arrived.kept)
    if way == "static":
        assert arrived.lost["sample_rate transaction"] == roots
