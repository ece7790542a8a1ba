"""The house rules that no other test would notice: names, imports, weight."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import metadata, requires, version
from pathlib import Path

import pytest

import sentry_asgi
import sentry_asgi.executor

PACKAGE = Path(sentry_asgi.__file__).parent

# Who may import whom within the package; a module that is not named here needs a decision.
ALLOWED = {
    "__init__": {"_isolation", "middleware"},
    "middleware": {
        "_asgi",
        "_budget",
        "_capture",
        "_exchange",
        "_failsafe",
        "_fork",
        "_frames",
        "_isolation",
        "_once",
        "_request",
        "_sdk",
        "_sessions",
        "_takeover",
        "_tracing",
        "_lifespan",
        "_settings",
        "_unwinding",
    },
    "_lifespan": {
        "_capture",
        "_exchange",
        "_failsafe",
        "_flush",
        "_isolation",
        "_once",
        "_swallowed",
    },
    "_flush": {"_failsafe", "_sdk"},
    "_fork": {"_failsafe", "_locks", "_sdk"},
    "_capture": {
        "_answered",
        "_exceptions",
        "_event",
        "_budget",
        "_exchange",
        "_failsafe",
        "_isolation",
        "_noise",
        "_once",
        "_request",
        "_sdk",
        "_sessions",
        "_swallowed",
        "_traceback",
    },
    "_traceback": {"_exceptions", "_frames", "_objects", "_render", "_sdk", "_source"},
    "_objects": {"_exceptions", "_render", "_sdk"},
    "_render": set(),
    "_source": set(),
    "_budget": {"_exceptions", "_frames", "_locks"},
    "_unwinding": {"_exchange", "_frames", "_isolation", "_locks"},
    "_isolation": {
        "_event",
        "_exchange",
        "_failsafe",
        "_locks",
        "_plain",
        "_process",
        "_request",
        "_sdk",
        "_user",
    },
    "_process": {"_failsafe", "_sdk"},
    "_event": {
        "_body",
        "_exchange",
        "_failsafe",
        "_failures",
        "_privacy",
        "_redaction",
        "_request",
        "_response",
        "_sdk",
        "_secrets",
        "_texts",
        "_user",
    },
    "_response": {"_body", "_exchange", "_privacy", "_request"},
    "_redaction": {"_frames", "_privacy", "_sdk", "_secrets", "_shapes", "_texts"},
    "_secrets": {"_privacy", "_texts"},
    "_texts": {"_privacy", "_shapes"},
    "_shapes": set(),
    "privacy": {"_event", "_failsafe", "_isolation", "_privacy", "_redaction"},
    "_body": {"_multipart"},
    "_multipart": set(),
    "_user": {"_request"},
    "_answered": {"_exceptions", "_frames"},
    "_failures": {"_answered", "_exchange", "_once", "_request", "_traceback"},
    "_exchange": {"_failsafe", "_body", "_noise", "_once", "_request", "_settings", "_swallowed"},
    "_once": {"_exceptions", "_budget", "_frames", "_locks", "_noise", "_swallowed", "_traceback"},
    "_swallowed": {"_exceptions", "_failsafe", "_frames", "_installed"},
    "_noise": {"_exceptions", "_frames"},
    "_exceptions": set(),
    "_locks": set(),
    "_frames": {"_installed"},
    "_installed": set(),
    "_settings": {"_budget", "_failsafe"},
    "_takeover": {"_failsafe", "_sdk"},
    "_tracing": {
        "_event",
        "_exchange",
        "_failsafe",
        "_isolation",
        "_request",
        "_sdk",
        "_span_facts",
        "_texts",
    },
    "_span_facts": {"_exchange", "_request"},
    "_sessions": {"_exchange", "_failsafe", "_sdk"},
    "_asgi": set(),
    "_request": {"_names", "_privacy", "_settings"},
    "_names": {"_frames"},
    "_plain": {"_failsafe", "_sdk"},
    "_privacy": set(),
    "_failsafe": set(),
    "_sdk": {"_exceptions"},
    "executor": set(),
    "testing": {"_redirect"},
    "_redirect": set(),
}


def imports(module: Path) -> list[tuple[str, list[str]]]:
    """Each import of a module, as (module, names); relative ones begin with a dot."""
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found.extend((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            found.append((source, [alias.name for alias in node.names]))
    return found


@pytest.mark.parametrize("name", ALLOWED)
def test_modules_import_only_what_lies_beneath_them(name: str) -> None:
    own = set()
    for source, names in imports(PACKAGE / f"{name}.py"):
        if source == ".":
            own.update(names)
        elif source.startswith("."):
            own.add(source.lstrip("."))
    assert own <= ALLOWED[name]


def test_every_module_has_its_place() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__main__"}
    assert modules == set(ALLOWED)


def test_at_run_time_the_core_needs_the_sdk_alone() -> None:
    for name in ALLOWED:
        for source, _ in imports(PACKAGE / f"{name}.py"):
            top = source.split(".")[0]
            assert top in {"", "sentry_sdk"} or top in sys.stdlib_module_names, (name, source)
    core = [one for one in requires("sentry-asgi") or [] if "extra ==" not in one]
    assert [one.split(">")[0].split("<")[0] for one in core] == ["sentry-sdk"]


def test_private_names_of_the_sdk_stand_in_one_module() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name == "_sdk.py":
            continue
        for source, names in imports(path):
            if source.startswith("sentry_sdk"):
                private = [name for name in [*source.split("."), *names] if name.startswith("_")]
                assert private == [], path


def test_importing_it_imports_nothing_but_itself_and_what_the_sdk_imports() -> None:
    code = (
        "import sys, sentry_sdk, sentry_sdk.integrations.logging; before = set(sys.modules)\n"
        "import sentry_asgi.executor\n"
        "from sentry_asgi import SentryMiddleware, detached\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert new - set(sys.stdlib_module_names) == {'sentry_asgi'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_these() -> None:
    assert sorted(sentry_asgi.__all__) == ["SentryMiddleware", "__version__", "detached"]
    assert sentry_asgi.executor.__all__ == ["ContextPreservingExecutor"]
    assert all(hasattr(sentry_asgi, name) for name in sentry_asgi.__all__)
    assert not hasattr(sentry_asgi, "SentryMidleware")


def test_public_names_bring_the_sdk_when_they_are_asked_for() -> None:
    code = (
        "import sys, sentry_asgi\n"
        "assert 'sentry_sdk' not in sys.modules\n"
        "assert sentry_asgi.SentryMiddleware is vars(sentry_asgi)['SentryMiddleware']\n"
        "from sentry_asgi import *\n"
        "from sentry_asgi.middleware import SentryMiddleware as same\n"
        "assert SentryMiddleware is same and callable(detached)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_sdk_that_lacks_something_is_told_from_a_name_that_does_not_exist() -> None:
    code = "import sentry_sdk; del sentry_sdk.VERSION\nfrom sentry_asgi import SentryMiddleware"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = told.stderr.splitlines()[-1]
    assert last.startswith("ImportError: SentryMiddleware cannot be imported: ")
    assert "VERSION" in last


def test_the_version_is_the_packages() -> None:
    assert version("sentry-asgi") == sentry_asgi.__version__
    assert metadata("sentry-asgi")["Requires-Python"] == ">=3.11"
    assert (PACKAGE / "py.typed").exists()
