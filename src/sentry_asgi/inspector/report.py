"""`sentry-asgi doctor --report`: what a maintainer asks first, as Markdown that can be pasted into a public issue.

The rules:

- It tells versions, which options are set, and the doctor's findings. Of an option it shows numbers, booleans and
  the words in `_WORDS`. Of all else (DSN, release, hooks, proxies, headers) it says that it is set.
- Findings quote the app's errors and files. Secrets in them are removed, and so is the home folder.
- Nothing is requested, and nothing is sent.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import sentry_sdk
import sentry_sdk.consts
from uvicorn.importer import import_from_string

from sentry_asgi import SentryMiddleware
from sentry_asgi.privacy import scrub

from .checks import Finding
from .layers import layers

_PACKAGES: Final = (
    *("sentry-asgi", "sentry-sdk"),
    *("starlette", "fastapi", "litestar", "quart", "django", "channels", "falcon", "blacksheep"),
    *("sanic", "mcp", "flask", "a2wsgi", "mangum", "connexion", "asgiref", "anyio"),
    *("uvicorn", "gunicorn", "uvicorn-worker", "hypercorn", "granian", "daphne"),
    *("uvloop", "httptools", "h11", "opentelemetry-sdk", "opentelemetry-instrumentation-asgi"),
)
_WORDS: Final = frozenset(
    {
        *("transaction_style", "trace_lifecycle", "profile_lifecycle", "max_request_body_size"),
        *("profiler_mode", "mode"),
    }
)
_LONGEST: Final = 300
"""Characters of a finding."""


def written(target: str, findings: list[Finding], *, factory: bool) -> str:
    """Return the report on the app `module:attribute`, of which the doctor has said what it has found.

    Args:
        target: the app. Its module has been imported.
        findings: what `examine` returned of it.
        factory: whether the target makes the app: then the middleware's options are not told.

    """
    unknown = factory or any(one.weight == "fatal" for one in findings)
    parts = [
        _section("Versions", _versions()),
        _section("sentry_sdk.init", _options()),
        _section("SentryMiddleware", () if unknown else _middleware(target)),
        # As code: what an app's errors say is neither Markdown nor a mention of anybody.
        "\n".join(["### Findings", "", "```text", *(_finding(one) for one in findings), "```"]),
    ]
    return "\n".join(["<!-- sentry-asgi doctor --report -->", *parts])


def _section(title: str, lines: Iterable[str]) -> str:
    listed = [f"- {line}" for line in lines] or ["- nothing"]
    return "\n".join([f"### {title}", "", *listed, ""])


def _versions() -> Iterator[str]:
    built = " free-threaded" if "t" in getattr(sys, "abiflags", "") else ""
    yield f"{platform.python_implementation()} {platform.python_version()}{built}"
    yield f"{platform.system()} {platform.machine()}"
    for name in _PACKAGES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _options() -> Iterator[str]:
    client = sentry_sdk.get_client()
    if not client.is_active():
        yield "was not called"
        return
    usual = getattr(sentry_sdk.consts, "DEFAULT_OPTIONS", {})
    for name, value in sorted(client.options.items()):
        if name != "integrations" and _differs(value, usual.get(name)):
            yield f"{name}: {shown(name, value)}"
    yield f"integrations: {', '.join(sorted(getattr(client, 'integrations', None) or ()))}"


def _middleware(target: str) -> Iterator[str]:
    for number, layer in enumerate(layers(import_from_string(target)), 1):
        if issubclass(layer.type, SentryMiddleware):
            yield f"layer {number}, counted from the outermost"
            for name, value in sorted({**layer.options, **_settings(layer.thing)}.items()):
                if not name.startswith("_") and name != "app":
                    yield f"{name}: {shown(name, value)}"


def _settings(middleware: Any) -> dict[str, Any]:
    told = getattr(middleware, "_settings", None)
    names = [one.name for one in fields(told)] if is_dataclass(told) else []
    return {name: getattr(told, name) for name in names}


def shown(name: str, value: Any) -> str:
    """Return what may be told of an option's value to everybody."""
    if value is None or type(value) in {bool, int, float, range}:
        return repr(value)
    if name in _WORDS and type(value) is str:
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown(str(key), one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"{len(value)} entries"
    return "set"


def _differs(value: Any, usual: Any) -> bool:
    try:
        return bool(value != usual)
    except Exception:  # what has no plain answer is nobody's default
        return True


def _finding(finding: Finding) -> str:
    text = " ".join(f"{finding.weight}: {finding.what}".split()).replace("```", "")
    told = scrub(text)  # before it is cut: a piece of a secret has other looks
    return told.replace(str(Path.home()), "~")[:_LONGEST]
