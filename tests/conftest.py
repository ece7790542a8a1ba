from __future__ import annotations

from collections.abc import Iterator

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope

from .support import Sentry, problems


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    """An initialised SDK whose events stay here; each must be one that Sentry takes whole."""
    fixture = Sentry()
    with use_isolation_scope(Scope(ty=ScopeType.ISOLATION)), use_scope(Scope(ty=ScopeType.CURRENT)):
        fixture.init()
        yield fixture
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().clear()
        sentry_sdk.get_global_scope().set_client(None)
    for event in fixture.events + fixture.transport.items("transaction"):
        assert problems(event) == []
