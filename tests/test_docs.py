"""Every Python example of the README and the docs is run as it stands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import sentry_sdk

from .apps import configure_django
from .support import CORE, PACKAGE, Sentry, call, exception_values, http_scope

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CODE_OF_CONDUCT.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    )
]


# Each once: a framework may keep its routes for the whole process.
FAILING = [
    one for one in EXAMPLES if str(one.id).startswith("quickstart.md") and "nope" in str(one.values)
]

# Frameworks that the docs show and the tests' environment lacks; scripts/test -s docs has them.
ELSEWHERE = {"quart", "falcon", "blacksheep", "mcp"}


def run_example(code: str, sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs an example as a module of its own; its events stay here."""
    real = sentry_sdk.init
    options: dict[str, Any] = {"transport": sentry.transport, "auto_enabling_integrations": False}
    monkeypatch.setattr(sentry_sdk, "init", partial(real, **options))
    settings = {"SECRET_KEY": "x", "ROOT_URLCONF": "shop.urls", "ALLOWED_HOSTS": ["*"]}
    for name, content in {"shop": {}, "shop.settings": settings}.items():  # Django's example's
        monkeypatch.setitem(sys.modules, name, cast("Any", SimpleNamespace(**content)))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    configure_django()
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    loop = asyncio.new_event_loop()  # for Mangum, which makes one that it leaves open
    asyncio.set_event_loop(loop)
    try:
        exec(compile(code, "example.py", "exec"), vars(module))
    except ModuleNotFoundError as error:
        if error.name not in ELSEWHERE or "SENTRY_ASGI_ALL_EXAMPLES" in os.environ:
            raise
        pytest.skip(f"{error.name} is not installed here")
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return vars(module)


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize("code", [one for one in EXAMPLES if one not in FAILING])
def test_the_example_runs(code: str, sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
    run_example(code, sentry, monkeypatch)


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize("code", FAILING)
def test_a_quick_start_reports_its_error_once(
    code: str, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "litestar" in code and sys.version_info < (3, 12):
        pytest.skip("its failures are found by sys.monitoring alone")
    example = run_example(code, sentry, monkeypatch)
    if "mcp" in code:
        pytest.skip("its tool is called over a session")

    async def ask() -> None:
        await started(example["app"])
        with contextlib.suppress(ValueError):
            await served(example["app"])

    asyncio.run(ask())
    assert exception_values(sentry.event)[-1] == ("ValueError", "nope")


async def served(app: Any) -> None:
    """Ask for a page, and be gone when it has come, as servers tell."""
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]
    over = asyncio.Event()

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    await app(http_scope("/"), receive, send)


async def started(app: Any) -> None:
    """Have an app start as a server would; BlackSheep serves nothing before."""
    if "blacksheep" in type(getattr(app, "app", app)).__module__:
        await app.app.start()


def test_the_first_example_of_the_readme_reports_its_error(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = run_example(EXAMPLES[0].values[0], sentry, monkeypatch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nope"):
        asyncio.run(call(example["app"], http_scope("/")))
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    assert sentry.event["transaction"] == "example.homepage"
    assert sentry.event["request"]["url"] == "http://example.org/"


def test_the_wrapped_application_keeps_its_own_name_in_the_readme(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrapper has no attributes of a framework's, and the app beneath may still change."""
    (code,) = (
        block.values[0]
        for block in EXAMPLES
        if str(block.id).startswith("README") and "SentryMiddleware(api)" in str(block.values)
    )
    example = run_example(code, sentry, monkeypatch)  # type: ignore[arg-type]
    api, app = example["api"], example["app"]
    assert app.app is api
    for name in ("state", "dependency_overrides", "get", "mount"):
        assert hasattr(api, name)
        assert not hasattr(app, name)

    async def broken() -> None:
        raise ValueError(api.state.version)

    api.add_api_route("/late", broken)
    with pytest.raises(ValueError, match=r"1\.0"):
        asyncio.run(call(app, http_scope("/late")))
    assert exception_values(sentry.event) == [("ValueError", "1.0")]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not link.startswith(("http", "../../security")):  # GitHub's own pages
            assert (page.parent / link).exists(), link


def test_every_module_is_on_the_page_that_explains_them() -> None:
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    for path in CORE:
        if path.name not in {"__init__.py", "__main__.py"}:
            assert f"`{path.name}`" in text, path
        if path.parent != PACKAGE:
            assert f"`{path.parent.name}/`" in text, path


def test_the_functions_of_a_failing_requests_life_are_where_the_page_says() -> None:
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    life = text[text.index("## The life") : text.index("## The rooms")]
    named = re.findall(r"`(\w+)(?:\.\w+)*`\s+\(`([\w/]+\.py)`\)", life)
    assert len(named) > 8
    for name, path in named:
        code = (PACKAGE / path).read_text()
        assert re.search(rf"(?:def|class) {name}\b", code), (name, path)
