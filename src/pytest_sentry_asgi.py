"""The pytest plugin of sentry-asgi: the fixture `sentry_events`.

It stands outside the package, because pytest imports it in every run on every machine where
sentry-asgi is installed: it imports nothing until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sentry_asgi.testing import CapturedEvents


@pytest.fixture
def sentry_events() -> Iterator[CapturedEvents]:
    """What would have been sent to Sentry during the test, as `capture_events` gives it."""
    from sentry_asgi.testing import capture_events  # noqa: PLC0415

    with capture_events() as events:
        yield events
