"""What can be wrong or unwise about an app's reporting: one function for each, over what is known of the app. Pure.

The rules:

- Each finding says what is the case, why it matters, and what to do. `wrong`: something is lost or
  does not work. `unwise`: it works, at a cost or a risk. `advice`: it depends.
- Checks know nothing of each other, and say nothing of what another one says already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sentry_asgi import SentryMiddleware, Watch

from .layers import Layer, listed_middleware, trusted_hops, watch


@dataclass(frozen=True, slots=True)
class Finding:
    """`weight` is fine, advice, unwise, wrong or fatal; `mend` is empty if nothing is to be done."""

    weight: str
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class AppReport:
    """What is known of an app when it was loaded, and perhaps started."""

    layers: list[Layer]
    options: dict[str, Any] | None
    """The SDK's options, None if it was never initialised."""
    early: bool
    """Whether the SDK was initialised when the app was wrapped."""
    integrations: frozenset[str]
    aside: frozenset[str]
    """Those of them that leave their work to a SentryMiddleware that takes over."""
    start_failure: str
    start_place: str
    """Where that is, as `file:line`, or nothing."""
    keeps_context: bool
    """Whether work in the default executor sees its request's context; true if not known."""
    trusted_proxies: str
    """The FORWARDED_ALLOW_IPS of the app's environment."""
    has_gil: bool = True
    """Whether threads can be looked at while they run."""

    @property
    def ours(self) -> list[int]:
        """Which layers are SentryMiddleware."""
        return [n for n, one in enumerate(self.layers) if issubclass(one.type, SentryMiddleware)]


def _middleware(patient: AppReport) -> Iterator[Finding]:
    ours = patient.ours
    if not ours:
        yield Finding(
            "wrong",
            "The app is not wrapped in SentryMiddleware.",
            "Wrap it last of all: app = SentryMiddleware(app)",
        )
        return
    # A framework's application shows its list after itself.
    outside = [one.name for one in patient.layers[: ours[0]] if not _is_framework(one)]
    if outside:
        yield Finding(
            "unwise",
            f"SentryMiddleware is not outermost: {', '.join(outside)} is around it, and what fails"
            " there is not reported.",
            "Wrap the app last of all: app = SentryMiddleware(app)",
        )
    elif _is_framework(patient.layers[0]):
        yield Finding(
            "advice",
            "SentryMiddleware is within the framework's application: what fails further out is not"
            " reported.",
            "Wrap the finished app instead: app = SentryMiddleware(app)",
        )
    else:
        yield Finding("fine", "SentryMiddleware is outermost.")
    if len(ours) > 1:
        yield Finding(
            "unwise",
            f"SentryMiddleware is applied {len(ours)} times; the outermost works, the others idle.",
            "Keep the outermost.",
        )


def _is_framework(layer: Layer) -> bool:
    # Quart's and Flask's idiom is to wrap what is held so.
    return listed_middleware(layer.thing) is not None or "asgi_app" in layer.options


def _initialised(patient: AppReport) -> Iterator[Finding]:
    if patient.options is None:
        yield Finding(
            "wrong",
            "sentry_sdk.init is not called: nothing is reported.",
            'Call sentry_sdk.init(dsn="…") before the app is made.',
        )
        return
    if not patient.options.get("dsn"):
        yield Finding(
            "wrong",
            "The SDK has no DSN: nothing is reported.",
            "Give it one: sentry_sdk.init(dsn=…), or SENTRY_DSN in the environment.",
        )
    if not patient.early:
        yield Finding(
            "unwise",
            "The SDK is initialised after the app was wrapped: what fails before is not reported.",
            "Call sentry_sdk.init at the top, before the app is made.",
        )
    else:
        yield Finding("fine", "The SDK is initialised before the app.")


def _integrations(patient: AppReport) -> Iterator[Finding]:
    if any(layer.type.__name__ == "SentryAsgiMiddleware" for layer in patient.layers):
        yield Finding(
            "unwise",
            "The SDK's SentryAsgiMiddleware does the same work as SentryMiddleware, at its cost.",
            "Remove SentryAsgiMiddleware.",
        )
    same = sorted(patient.integrations & {"starlette", "fastapi"} - patient.aside)
    if same and patient.ours:
        yield Finding(
            "unwise",
            f"The SDK's {' and '.join(same)} integration is on, and does the same work as"
            " SentryMiddleware, at its cost.",
            "Leave it out of init(integrations=[…]), and SentryMiddleware's take_over on.",
        )


def _traces(patient: AppReport) -> Iterator[Finding]:
    options = patient.options or {}
    on = options.get("traces_sample_rate") is not None or options.get("traces_sampler") is not None
    if on and "strict_trace_continuation" in options and not options["strict_trace_continuation"]:
        yield Finding(
            "unwise",
            "Tracing is on, and traces that anybody begins are continued: a stranger's header"
            " decides what is sampled.",
            "sentry_sdk.init(…, strict_trace_continuation=True)",
        )


def _personal_data(patient: AppReport) -> Iterator[Finding]:
    options = patient.options or {}
    collected = options.get("data_collection")
    told = isinstance(collected, dict) and collected.get("provided_by_user", True)
    if options.get("send_default_pii") or (told and collected and collected.get("user_info")):
        yield Finding(
            "unwise",
            "Personal data is sent: addresses, cookies and what identifies users.",
            "Leave send_default_pii (or data_collection's user_info) off unless you must have it.",
        )


def _logs(patient: AppReport) -> Iterator[Finding]:
    options = patient.options or {}
    on = patient.options is not None and options.get("enable_logs", True)
    if on and not patient.integrations & {"logging", "loguru"}:
        yield Finding(
            "advice",
            "Logs are on, and nothing collects them: no integration for logging or loguru is on.",
            "sentry_sdk.init(…, integrations=[LoggingIntegration()]), from sentry_sdk.integrations.logging.",
        )


def _release(patient: AppReport) -> Iterator[Finding]:
    if patient.options is not None and not patient.options.get("release"):
        yield Finding(
            "unwise",
            "Events name no release: nobody can tell which deploy brought an error.",
            'sentry_sdk.init(…, release="shop@1.2.3"), or SENTRY_RELEASE in the environment.',
        )


def _startup(patient: AppReport) -> Iterator[Finding]:
    if patient.start_failure:
        yield Finding(
            "wrong",
            f"The app's start-up fails: {patient.start_failure}",
            f"See {patient.start_place or 'its own log'}.",
        )
    if not patient.keeps_context:
        yield Finding(
            "advice",
            "Work given to loop.run_in_executor loses its request: its events name none.",
            "At start-up: loop.set_default_executor(ContextPreservingExecutor()), from"
            " sentry_asgi.executor; or use asyncio.to_thread.",
        )


def _proxies(patient: AppReport) -> Iterator[Finding]:
    hops = trusted_hops(patient.layers[patient.ours[0]]) if patient.ours else 0
    trusted = _trusted(patient)
    if trusted == "*":
        yield Finding(
            "unwise",
            "Everybody is trusted as a proxy: any client can claim any address, and events say so.",
            "Name your proxies in FORWARDED_ALLOW_IPS, or in trusted_hosts.",
        )
    elif hops:
        yield Finding(
            "advice",
            f"trusted_hops={hops}: who a client is, its proxies say. Where requests can come past them,"
            " any client can claim any address.",
            "Let the server be reached through its proxies alone.",
        )
    elif not trusted:
        yield Finding(
            "advice",
            "No proxy is trusted but one on this machine: behind another, events have its address.",
            "If there is one: SentryMiddleware(app, trusted_hops=1), or name it in FORWARDED_ALLOW_IPS.",
        )


def _trusted(patient: AppReport) -> str:
    """`*`, something else if some proxies are trusted, or nothing; what is nearest to the app decides."""
    trusted = patient.trusted_proxies.strip()
    for layer in patient.layers:
        if layer.type.__name__ == "ProxyHeadersMiddleware":
            hosts = getattr(layer.thing, "trusted_hosts", layer.options.get("trusted_hosts", ""))
            # Which of the two says it, differs between uvicorns.
            always = any(getattr(one, "always_trust", False) for one in (hosts, layer.thing))
            always = always or hosts in ("*", ["*"])
            trusted = "*" if always else "some"
    return trusted


def _watching(patient: AppReport) -> Iterator[Finding]:
    if not patient.ours:
        return
    if not patient.has_gil:
        yield Finding(
            "advice",
            "No blocked event loop and no stuck request is reported: this Python runs without the GIL.",
            "Where they are to be found, run it with PYTHON_GIL=1.",
        )
        return
    watched = watch(patient.layers[patient.ours[0]]) or Watch(None, None)
    for what, limit in (
        ("blocked event loop", watched.blocked_after),
        ("stuck request", watched.stuck_after),
    ):
        if limit is None:
            yield Finding(
                "advice",
                f"No {what} is reported: SentryMiddleware's option watch says so.",
                "Leave the option out, or give it seconds: watch=Watch(blocked_after=1, stuck_after=60)",
            )


CHECKS: tuple[Callable[[AppReport], Iterator[Finding]], ...] = (
    _middleware, _initialised, _startup, _integrations, _traces, _personal_data, _logs, _release, _proxies,
    _watching,
)  # fmt: skip
