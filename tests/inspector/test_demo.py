"""The demo shows what it promises, and says so where it does not."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import sentry_asgi
from sentry_asgi.__main__ import main
from sentry_asgi.inspector.demo import EXPECTED, Demo, run, running
from tests.support import respond

from .support import kept

COMMAND = Path(sys.executable).parent / "sentry-asgi"


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], cwd=cwd, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The demo after its requests; made anew if another module's tests come in between."""
    with running() as demo:
        assert run(demo)
        yield demo


@pytest.mark.parametrize("options", [["--once"], []], ids=["asked to", "without a terminal"])
def test_the_demo_ends_by_itself_with_success_once_everything_arrived(options: list[str]) -> None:
    result = command("demo", *options)
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        *("8 requests", "ZeroDivisionError", "KeyError", "Only 2 teapots left"),
        *(
            "6\N{MULTIPLICATION SIGN} the same query",
            "in tea_price",
            "A query that takes",
            "Everything arrived.",
        ),
    ):
        assert text in result.stdout
    assert "/events/" in result.stdout
    assert "/requests/" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_serves_its_pages_until_it_is_ended_and_leaves_nothing(
    end: signal.Signals, tmp_path: Path
) -> None:
    terminal, output = pty.openpty()
    with (
        os.fdopen(terminal) as lines,
        subprocess.Popen(
            [sys.executable, "-m", "sentry_asgi", "demo"],
            stdout=output,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as process,
    ):
        os.close(output)
        for line in lines:
            if found := re.search(r"See it at .*?(http://[\w.:]+)", line):
                break
        assert found is not None
        page = httpx.get(found[1], trust_env=False)
        process.send_signal(end)
        assert process.wait(20) == 0
    assert "ZeroDivisionError" in page.text
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(found[1], trust_env=False)


def test_each_failure_made_exactly_one_event(demo: Demo) -> None:
    assert [view.summary.title for _, view in demo.events()] == [
        expected.title for expected in EXPECTED if expected.title
    ]


def test_each_request_has_a_page_and_what_is_wrong_is_said(demo: Demo) -> None:
    facts = {one.listed.summary.title: one for one in demo.requests()}
    assert set(facts) == {f"{one.method} {one.target.partition('?')[0]}" for one in EXPECTED}
    (many,) = (one for one in facts["GET /baskets/1"].findings if one.rule == "n-plus-one")
    assert (many.count, many.where.partition(":")[0]) == (6, "demo_shop.py")
    assert "SELECT price FROM tea" in many.subject
    (slow,) = (one for one in facts["GET /sales"].findings if one.rule == "slow-query")
    assert slow.lasts >= 100
    page = httpx.get(
        f"{demo.url}/requests/{facts['GET /baskets/1'].listed.span_id}", trust_env=False
    ).text
    assert "What stands out" in page
    assert "waterfall" in page
    assert "N+1" in httpx.get(demo.url, trust_env=False).text


def test_the_failure_in_the_thread_has_the_request_and_the_threads_tag(demo: Demo) -> None:
    (view,) = (view for _, view in demo.events() if view.summary.title == "KeyError")
    assert view.request is not None
    assert (view.request.method, view.request.url) == ("POST", f"{demo.app_url}/invoices/7")
    assert ("invoice", "7") in view.tags
    assert [frame.function for frame in view.exceptions[0].frames if frame.application] == [
        "print_invoice",
        "invoice",
    ]


def test_the_demos_own_frames_have_their_variables(demo: Demo) -> None:
    (view,) = (view for _, view in demo.events() if view.summary.title == "ZeroDivisionError")
    first = view.exceptions[0].frames[0]
    assert (first.function, first.module, first.application) == ("average_price", "demo_shop", True)
    assert dict(first.variables)["order"] == "Order(number=7, prices=())"


@pytest.mark.parametrize(
    "change",
    [{"title": "Other"}, {"endpoint": "other"}, {"method": "PUT"}, {"target": "/other"},
     {"target": "/invoices/7?a=b"}, {"tag": ("invoice", "8")}],
)  # fmt: skip
def test_an_event_that_is_not_quite_the_expected_one_is_not_accepted(
    demo: Demo, change: dict[str, object]
) -> None:
    expected = next(entry for entry in EXPECTED if entry.title == "KeyError")
    (view,) = (view for _, view in demo.events() if view.summary.title == "KeyError")
    assert expected.arrived_as(view, demo.app_url)
    assert not replace(expected, **change).arrived_as(view, demo.app_url)  # type: ignore[arg-type]


async def silent(scope: dict[str, object], receive: object, send: object) -> None:
    """An app where all is well, and nobody tells Sentry anything."""
    await respond(send)  # type: ignore[arg-type]


def test_what_does_not_arrive_is_named_and_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with running("tests.inspector.test_demo:silent") as demo:
        demo.store.add("1", kept(("event", {"message": "Unasked for"})), received=0)
        assert not run(demo, seconds=0.2)
    printed, complaints = capsys.readouterr()
    assert "Unasked for" in printed
    assert "Everything arrived" not in printed
    assert "POST /invoices/7: 500 was expected." in complaints
    assert "GET /stock: no 'Only 2 teapots left' with its request arrived." in complaints
    assert "GET /sales: no 'slow-query' with its request arrived." in complaints
    assert "GET /orders/1: no trace arrived." in complaints


def test_the_command_fails_if_the_app_does_not_start(tmp_path: Path) -> None:
    # The app's process looks for modules in the current directory, the command does not.
    (tmp_path / "sentry_sdk.py").write_text("raise SystemExit")
    result = command("demo", "--once", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "Error: demo_shop:app did not start.\n"


def test_the_version_is_told() -> None:
    assert command("--version").stdout == f"sentry-asgi, version {sentry_asgi.__version__}\n"


def test_without_the_extra_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "sentry_asgi.inspector.cli", raising=False)
    # How Python itself spells "cannot be imported".
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    message = "This needs click; run: pip install 'sentry-asgi[inspector]'\n"
    assert capsys.readouterr().err == message


def test_importing_the_package_imports_none_of_the_inspectors_needs() -> None:
    script = "import sys, sentry_asgi; print({'starlette', 'uvicorn', 'jinja2', 'click'} & {*sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert result.stdout == "set()\n"
