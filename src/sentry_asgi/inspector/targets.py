"""Which app `dev` is to serve, where it was told by a path, by a module, or not at all.

The rules:

- Nothing is imported: what fails there shall fail in the app's process, and be reported.
- Without a target: `main.py`, `app.py`, `api.py`, `asgi.py` here, in `app`, in `src`, or in a package here; the first
  in which an app stands. Only one package may have one.
- In a file the app is called `app`, `api`, `application` or `asgi`; else it is what a framework's class makes, or the
  function `create_app` or `make_app`, which makes it.
- A file in packages is named by them all, and looked for from above them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILES = ("main.py", "app.py", "api.py", "asgi.py")
_FOLDERS = (".", "app", "src")
_NAMES = ("app", "api", "application", "asgi")
_FACTORIES = ("create_app", "make_app", "get_app")
_CLASSES = frozenset(
    {
        "FastAPI",
        "Starlette",
        "Litestar",
        "Quart",
        "Sanic",
        "BlackSheep",
        "Lilya",
        "SentryMiddleware",
    }
    | {"get_asgi_application", "ProtocolTypeRouter"}
)


class NoTargetError(Exception):
    """There is no app to serve, or it is not clear which; the text says what to say."""


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is `module:attribute`; `folder` is where the module is looked for; `file` is where it stands."""

    name: str
    folder: Path
    file: Path


def find(given: str, here: Path) -> Target:
    """The app that a path, a module, or nothing (an empty text) names. Raises NoTargetError."""
    files = list(_files(given, here))
    found = [target for file in files if (target := _target(file, here)) is not None]
    names = " or ".join(one.name for one in found)
    if not found:
        where = f"in {given}" if given else "here"
        looked = (
            f"; looked in {', '.join(str(one.relative_to(here)) for one in files)}" if files else ""
        )
        raise NoTargetError(
            f"No app {where}{looked}. Say which: `sentry-asgi dev shop:app`, or `dev shop.py`."
        )
    if not given and len(found) > 1 and found[0].file.parent not in _first(here):
        raise NoTargetError(f"Several apps here: say which, `sentry-asgi dev {names}`.")
    return found[0]


def _first(here: Path) -> list[Path]:
    return [here / folder for folder in _FOLDERS]


def _files(given: str, here: Path) -> Iterator[Path]:
    if given:
        yield from _of(here / given)
        if not (here / given).exists():
            yield from _of(here / given.replace(".", "/"))
        return
    packages = sorted(path.parent for path in here.glob("*/__init__.py"))
    for folder in dict.fromkeys([*_first(here), *packages]):
        yield from (folder / name for name in FILES if (folder / name).is_file())


def _of(path: Path) -> Iterator[Path]:
    """The files that a path may mean: itself, a module without its ending, or those in a folder."""
    module = path.with_name(f"{path.name}.py")
    if path.is_file():
        yield path
    elif module.is_file():
        yield module
    elif path.is_dir():
        names = ("__init__.py", *FILES)
        yield from (path / name for name in names if (path / name).is_file())


def _target(file: Path, here: Path) -> Target | None:
    attribute = app_in(file)
    if not attribute:
        return None
    file = file.resolve()
    parts, folder = [file.stem], file.parent
    if parts == ["__init__"]:
        parts = []
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    # A folder without __init__.py is a package, too, if it stands beneath this one.
    plain = folder != here.resolve() and folder.parent == here.resolve() and folder.name != "src"
    if plain and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = here.resolve()
    return Target(f"{'.'.join(parts)}:{attribute}", folder, file)


def app_in(file: Path) -> str:
    """What the app in a file is called; nothing if there is none, or it cannot be read."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return "app" if file.name in FILES else ""  # it shall fail where it is reported
    assigned = dict(_assigned(body))
    functions = {
        node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = [name for name in _NAMES if name in assigned or name in functions]
    made = [name for name, made_by in assigned.items() if made_by in _CLASSES]
    factories = [name for name in _FACTORIES if name in functions]
    return next(iter([*named, *made, *factories]), "")


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names of a module, with the name of what is called to make them."""
    for node in body:
        if isinstance(node, ast.ImportFrom):
            yield from ((one.asname or one.name, "") for one in node.names)
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = getattr(node, "value", None)
        called = value.func if isinstance(value, ast.Call) else None
        made_by = getattr(called, "attr", getattr(called, "id", ""))
        yield from ((one.id, made_by) for one in targets if isinstance(one, ast.Name))
