from __future__ import annotations

import pytest


@pytest.fixture(params=[False, True], ids=["plain", "integrations"])
def integrated(request: pytest.FixtureRequest) -> bool:
    """Whether the SDK's integrations are on."""
    given: bool = request.param
    return given
