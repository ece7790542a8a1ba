"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "sentry-asgi",
    "sentry-sdk",
    "opentelemetry-instrumentation-asgi",
    "opentelemetry-sdk",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
)


def describe() -> dict[str, Any]:
    """The interpreter, the processor, how busy it is, and the packages' versions."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": load(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def load() -> float | None:
    """How many processes want to run, over the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
