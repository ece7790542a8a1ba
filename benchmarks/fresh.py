"""Functions of this package, called in fresh interpreters.

The function, its arguments and its result travel as pickles, so a function is named by its module:
it has to stand at the top of one. Whatever the child prints goes to standard error. Settings of
Sentry and OpenTelemetry in the environment do not reach the child: they would change the figures.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

COMMAND = [sys.executable, "-m", "benchmarks.fresh"]


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, called in a fresh interpreter."""
    done = subprocess.run(
        COMMAND,
        input=pickle.dumps((function, args, kwargs)),
        stdout=subprocess.PIPE,
        env=environment(),
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{function.__name__}{args} failed; what it said stands above.")
    return cast("T", pickle.loads(done.stdout))


def start(
    function: Callable[P, object], pass_fds: tuple[int, ...], *args: P.args, **kwargs: P.kwargs
) -> subprocess.Popen[bytes]:
    """The process of a fresh interpreter that is in the function until somebody ends it."""
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment(),
        pass_fds=pass_fds,
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(pickle.dumps((function, args, kwargs)))
    return process


def environment() -> dict[str, str]:
    """The environment without what configures the contenders."""
    configures = ("SENTRY_", "OTEL_", "PYTHONTRACEMALLOC", "PYTHONASYNCIODEBUG")
    return {name: value for name, value in os.environ.items() if not name.startswith(configures)}


def main() -> None:
    """Do what standard input asks for."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    function, args, kwargs = pickle.load(sys.stdin.buffer)
    with answer:
        answer.write(pickle.dumps(function(*args, **kwargs)))


if __name__ == "__main__":
    main()
