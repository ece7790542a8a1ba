from __future__ import annotations

from .processes.stop import EVENTS, SERVERS, arrived


def test_the_events_of_the_last_second_before_a_sigterm_arrive() -> None:
    """From uvicorn, which never runs `atexit` then; `scripts/processes` has the other servers."""
    answered, events, _ = arrived(SERVERS["uvicorn"], "sentry_asgi")
    assert (answered, events) == (EVENTS, EVENTS)
