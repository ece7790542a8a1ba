"""The house rules that no other test would notice: rooms, names, imports, weight."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata, requires, version
from pathlib import Path

import sentry_sdk

import sentry_asgi
import sentry_asgi.executor

from .support import CORE, PACKAGE

# The rooms from the top down, each with all that it imports of the package. A room imports none that stands above it.
ROOMS: dict[str, set[str]] = {
    "__init__": {"_connection", "_scopes", "_watch", "middleware"},
    "middleware": {
        *("_events", "_reporting", "_watch", "_tracing", "_scopes", "_connection", "_failures"),
        "_sdk",
        *("_python", "privacy"),
    },
    "logging": {"_scopes", "_connection", "_sdk"},
    "privacy": {"_scopes", "_events", "_redaction", "_sdk"},
    "testing": {"_sdk"},
    "executor": set(),
    "_reporting": {
        *(
            "_watch",
            "_scopes",
            "_events",
            "_connection",
            "_failures",
            "_frameworks",
            "_stacktrace",
            "_sdk",
        ),
        "_python",
    },
    "_watch": {"_scopes", "_connection", "_failures", "_stacktrace", "_sdk", "_python"},
    "_tracing": {"_scopes", "_events", "_connection", "_frameworks", "_sdk", "_python"},
    "_scopes": {"_events", "_connection", "_sdk", "_python"},
    "_events": {"_connection", "_failures", "_frameworks", "_redaction", "_stacktrace", "_sdk"},
    "_connection": {"_failures", "_frameworks", "_redaction", "_sdk"},
    "_failures": {"_frameworks", "_stacktrace", "_sdk", "_python"},
    "_redaction": {"_sdk", "_python"},
    "_frameworks": {"_python"},
    "_stacktrace": {"_sdk", "_python"},
    "_sdk": {"_python"},
    "_python": set(),
}


def room_of(path: Path) -> str:
    """The room that a module stands in; a public module is one of its own."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(module: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each import of a module, with the names; of the package's own, `.` and the room."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def rooms_imported(module: Path) -> set[str]:
    """The other rooms that a module imports from."""
    found: set[str] = set()
    for source, names in imports(module):
        top, *rest = source.lstrip(".").split(".")
        if source.startswith("."):
            # Within a room that is the room itself; in a public module, what stands beside it.
            if module.parent == PACKAGE:
                found.update([top] if top else names)
        elif top == "sentry_asgi":
            found.update(rest[:1] or names)
    return found - {room_of(module)}


def test_the_rooms_and_what_each_imports_are_these() -> None:
    found: dict[str, set[str]] = {}
    for path in CORE:
        if path.name != "__main__.py":
            found.setdefault(room_of(path), set()).update(rooms_imported(path))
    assert found == ROOMS


def test_no_room_imports_one_that_stands_above_it() -> None:
    above: set[str] = set()
    for room, imported in ROOMS.items():
        above.add(room)
        if room != "__init__":
            assert not imported & above, room


def test_each_room_says_what_it_is_for() -> None:
    for room in ROOMS:
        if (PACKAGE / room).is_dir():
            (said,) = ast.parse((PACKAGE / room / "__init__.py").read_text()).body
            assert isinstance(said, ast.Expr), f"{room} exports something"


def test_at_run_time_the_core_needs_the_sdk_alone() -> None:
    for path in CORE:
        if path.name == "__main__.py":  # of the inspector, which is an extra
            continue
        for source, _ in imports(path):
            top = source.split(".")[0]
            own = {"", "sentry_asgi", "sentry_sdk"}
            assert top in own or top in sys.stdlib_module_names, (path, source)
    core = [one for one in requires("sentry-asgi") or [] if "extra ==" not in one]
    assert [one.split(">")[0].split("<")[0] for one in core] == ["sentry-sdk"]


# Private names of the SDK's

# A documented option in spite of its name.
PUBLIC = {"_experiments"}
# Python's, Sentry's and Django's, which the SDK uses, too.
NOT_THE_SDKS = {"_", "_current_frames", "_fields", "_getframe", "_meta", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC | NOT_THE_SDKS


def private_names_of_the_sdk() -> set[str]:
    """Every private name that the SDK defines or keeps something under."""
    found: set[str] = set()
    for path in Path(sentry_sdk.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return {name for name in found if is_private(name)}


def names_asked_for(tree: ast.Module) -> set[str]:
    """What a module asks of objects: their attributes, as such or as a text; none that it sets or defines itself.

    The lazy scopes, which are of a subclass of the SDK's, define what they replace.
    """
    own: set[str] = set()
    asked: set[str] = set()
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    written = {id(part) for node in parts for part in node.values}
    for node in ast.walk(tree):
        if id(node) in written:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) else asked).add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            asked.add(node.value)
    return asked - own


def test_private_names_of_the_sdk_stand_in_one_room() -> None:
    private = private_names_of_the_sdk()
    assert "_propagation_context" in private
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if room_of(path) == "_sdk":
            continue
        for source, names in imports(path):
            if source.startswith("sentry_sdk"):
                assert not any(map(is_private, [*source.split("."), *names])), path
        if asked := names_asked_for(ast.parse(path.read_text())) & private:
            found[path.name] = asked
    assert found == {}


# Weight


def test_importing_it_imports_nothing_but_itself_and_what_the_sdk_imports() -> None:
    code = (
        "import sys, sentry_sdk, sentry_sdk.integrations.logging; before = set(sys.modules)\n"
        "import sentry_asgi.executor\n"
        "from sentry_asgi import SentryMiddleware, detached\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert new - set(sys.stdlib_module_names) == {'sentry_asgi'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_works_where_a_thread_has_no_clock_of_its_own() -> None:
    """As under Pyodide."""
    code = (
        "import time; del time.thread_time\n"
        "import asyncio, sentry_sdk\n"
        "from sentry_sdk.transport import Transport\n"
        "class Kept(Transport):\n"
        "    kept = []\n"
        "    def capture_envelope(self, envelope): self.kept.append(envelope)\n"
        "sentry_sdk.init(dsn='https://k@sentry.invalid/1', transport=Kept, auto_session_tracking=False)\n"
        "from sentry_asgi import SentryMiddleware\n"
        "class Shown:\n"
        "    def __repr__(self): return 'shown'\n"
        "async def app(scope, receive, send):\n"
        "    local = Shown()\n"
        "    raise ValueError(local)\n"
        "async def no(*_): pass\n"
        "try: asyncio.run(SentryMiddleware(app)({'type': 'http', 'path': '/', 'headers': []}, no, no))\n"
        "except ValueError: pass\n"
        "assert len(Kept.kept) == 1 and b'shown' in Kept.kept[0].serialize()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_works_beside_a_trio_that_cannot_say_whether_it_runs() -> None:
    """As an old Trio, and one that another thread is importing."""
    code = (
        "import trio.lowlevel\n"
        "if hasattr(trio.lowlevel, 'in_trio_run'): del trio.lowlevel.in_trio_run\n"
        "from sentry_asgi import SentryMiddleware\n"
        "from sentry_asgi._python.in_trio import trio_task\n"
        "async def task(): return trio_task() is trio.lowlevel.current_task()\n"
        "assert trio.run(task) and trio_task() is None\n"
        "del trio.lowlevel; assert trio_task() is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_it_changes_no_logger() -> None:
    code = (
        "import logging, sentry_sdk\n"
        "from sentry_sdk.integrations import logging as integration\n"
        "sdks = logging.getLogger('sentry_sdk.errors')\n"
        "def state(): return list(sdks.filters), {k: set(v) for k, v in vars(integration).items() if type(v) is set}\n"
        "before = state()\n"
        "from sentry_asgi import SentryMiddleware\n"
        "assert state() == before\n"
        "SentryMiddleware(lambda scope, receive, send: None)\n"
        "assert state() != before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_these() -> None:
    names = ["Keep", "SentryMiddleware", "Watch", "__version__", "detached"]
    assert sorted(sentry_asgi.__all__) == names
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
