"""The pytest plugin of sentry-asgi: the fixture `sentry_events`, and the marker `sentry_options`.

It stands outside the package, because pytest imports it in every run on every machine where
sentry-asgi is installed: it imports nothing until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sentry_asgi.testing import CapturedEvents


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker is for."""
    config.addinivalue_line(
        "markers",
        "sentry_options(**options): options of sentry_sdk.init for the fixture sentry_events",
    )


@pytest.fixture
def sentry_events(request: pytest.FixtureRequest) -> Iterator[CapturedEvents]:
    """What would have been sent to Sentry during the test, as `capture_events` gives it.

    `@pytest.mark.sentry_options(traces_sample_rate=1.0)` gives it options; the nearest one's.
    """
    from sentry_asgi.testing import capture_events  # noqa: PLC0415

    marker = request.node.get_closest_marker("sentry_options")
    with capture_events(**(marker.kwargs if marker else {})) as events:
        yield events
