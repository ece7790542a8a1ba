from __future__ import annotations

import tracemalloc

from . import fuzz


def test_no_parser_raises_hangs_or_grows() -> None:
    fuzz.fuzz(100)
    tracemalloc.start()
    try:
        fuzz.fuzz(100)
        assert fuzz.left_behind() < fuzz.GROWTH
    finally:
        tracemalloc.stop()
