"""The doctor's report can be pasted into a public issue: it tells what helps, and nothing that is anybody's own."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi.inspector.checks import Finding
from sentry_asgi.inspector.report import shown, written
from tests.support import Sentry

from .test_doctor import App, Doctor, doctor  # noqa: F401

OWN = ["s3cr3t", "hunter22", "internal", "acme", "topsecret", "staging"]
MORE = (
    ", environment='staging-acme', server_name='db.internal', traces_sample_rate=0.25"
    ", proxy_headers={'Authorization': 'Bearer topsecret'}, before_send=lambda event, hint: event"
    ", in_app_include=['acme'], max_request_body_size='small'"
)
DSN = "http://s3cr3t@internal.invalid/1"


def sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.split("### ")[1:]:
        title, *lines = part.splitlines()
        found[title] = [line.removeprefix("- ") for line in lines if line and "```" not in line]
    return found


def test_it_tells_versions_options_and_findings(doctor: Doctor) -> None:  # noqa: F811
    code = "app = SentryMiddleware(app.app, transaction_style='route', trusted_hops=2)"
    result = doctor(App(code, more=MORE, dsn=DSN), "--report")
    told = sections(result.stdout)
    assert f"sentry-asgi {version('sentry-asgi')}" in told["Versions"]
    assert f"starlette {version('starlette')}" in told["Versions"]
    options = told["sentry_sdk.init"]
    assert {"dsn: set", "traces_sample_rate: 0.25", "before_send: set"} <= {*options}
    assert {"proxy_headers: {Authorization: set}", "in_app_include: 1 entries"} <= {*options}
    assert "max_request_body_size: 'small'" in options
    assert any(line.startswith("integrations: ") for line in options)
    assert {"transaction_style: 'route'", "trusted_hops: 2"} <= {*told["SentryMiddleware"]}
    assert "fine: SentryMiddleware is outermost." in told["Findings"]
    assert result.exit_code == 0


def test_it_tells_nothing_that_is_anybodys_own(doctor: Doctor) -> None:  # noqa: F811
    code = """
async def broken(app):
    raise OSError("cannot connect to postgres://shop:hunter22@db/shop, password=hunter22")
    yield
app = SentryMiddleware(Starlette(lifespan=asynccontextmanager(broken)), exclude=["/acme"])"""
    result = doctor(App(code, more=MORE, dsn=DSN), "--report")
    assert result.exit_code == 1
    assert "cannot connect to postgres" in result.stdout
    for secret in OWN:
        assert secret not in result.stdout, secret


def test_what_an_app_says_cannot_leave_the_code_that_it_stands_in() -> None:
    findings = [Finding("wrong", "fails: ``` @everybody <b>\n```\n### Versions")]
    text = written("nothing:here", findings, factory=True)
    assert "```text\nwrong: fails: @everybody <b> ### Versions\n```" in text.replace("  ", " ")


class Unequal:
    def __ne__(self, other: object) -> bool:
        raise ValueError("ambiguous")


def test_an_option_that_cannot_be_compared_is_set(sentry: Sentry) -> None:
    client = sentry.init()
    client.options["ignore_errors"] = Unequal()
    options = sections(written("nothing:here", [], factory=True))["sentry_sdk.init"]
    assert "ignore_errors: set" in options


def test_what_a_framework_was_told_of_the_middleware_is_in_it(doctor: Doctor) -> None:  # noqa: F811
    code = "app = Starlette(middleware=[Middleware(SentryMiddleware, error_budget=7)])"
    told = sections(doctor(App(code), "--report").stdout)
    assert told["SentryMiddleware"] == ["layer 2, counted from the outermost", "error_budget: 7"]


def test_an_app_that_says_nothing_is_reported_as_well(doctor: Doctor) -> None:  # noqa: F811
    told = sections(doctor(App("app = app.app", init=""), "--report").stdout)
    assert told["sentry_sdk.init"] == ["was not called"]
    assert told["SentryMiddleware"] == ["nothing"]
    made = App("def make():\n    return SentryMiddleware(Starlette())", target="patient:make")
    told = sections(doctor(made, "--report", "--factory").stdout)
    assert told["SentryMiddleware"] == ["nothing"]


def test_an_app_that_cannot_be_loaded_is_reported_as_well(doctor: Doctor) -> None:  # noqa: F811
    result = doctor(App("raise OSError('password=hunter22')"), "--report")
    assert result.exit_code == 2
    told = sections(result.stdout)
    assert told["Findings"][0].startswith("fatal: patient:app fails when it is imported: OSError")
    assert "hunter22" not in result.stdout


def test_the_home_folder_is_no_name_and_a_finding_has_an_end() -> None:
    sentry_sdk.get_global_scope().set_client(None)
    findings = [Finding("wrong", f"{Path.home()}/shop.py:7\nfails {'x' * 1_000}")]
    (line,) = sections(written("nothing:here", findings, factory=True))["Findings"]
    assert line.startswith("wrong: ~/shop.py:7 fails xxx")
    assert len(line) < 400


class Odd(str):
    __slots__ = ()

    def __repr__(self) -> str:
        raise OSError


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("sample_rate", 0.5, "0.5"),
        ("release", "shop@1", "set"),
        ("transaction_style", "url", "'url'"),
        ("transaction_style", Odd("url"), "set"),
        ("failing", range(500, 600), "range(500, 600)"),
        ("failing", {500, 503}, "2 entries"),
        (
            "data_collection",
            {"cookies": {"mode": "off", 7: "x"}},
            "{cookies: {mode: 'off', 7: set}}",
        ),
        ("ignore_errors", [KeyError], "1 entries"),
        ("traces_sampler", print, "set"),
    ],
)
def test_an_option_is_told_as_far_as_everybody_may_know_it(
    name: str, value: Any, told: str
) -> None:
    assert shown(name, value) == told
