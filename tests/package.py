"""What is published, checked as whoever installs it gets it: `python -m tests.package FOLDER`.

Builds the sdist, and the wheel from it, twice, and judges them:

- Both builds are the same, byte by byte.
- twine and check-wheel-contents have nothing to say; PyPI's page has no link that leads nowhere.
- The wheel installs in a bare environment, without git and without caches, and README's first example reports.
- The sdist tests itself: what `TESTS` lists passes in it, as unpacked, with the wheel that was built from it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from .test_docs import EXAMPLES

ROOT = Path(__file__).parent.parent
TESTS = [f"tests/test_{name}.py" for name in ("middleware", "architecture", "sdk_versions", "docs")]
# As good as any, if it is no commit that is built.
EPOCH = "1577836800"
REPORTS = """
import asyncio
sent = []
sentry_sdk.get_client().transport.capture_envelope = sent.append
scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
async def message(*_): return {"type": "http.request"}
try: asyncio.run(app(scope, message, message))
except ValueError: pass
assert [one.get_event()["exception"]["values"][0]["value"] for one in sent if one.get_event()] == ["nope"], sent
"""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command, show it, and return its output; exit if it fails. `env` is the whole environment."""
    shown = " ".join(Path(str(one)).name for one in command if "\n" not in str(one))
    print(f"  {shown}", flush=True)
    done = subprocess.run(
        [str(one) for one in command],
        cwd=cwd,
        env=env,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
        raise SystemExit(f"failed: {shown}")
    return done.stdout


def built(folder: Path) -> dict[str, str]:
    """Build sdist and wheel into a folder; return each file's digest."""
    of_commit = {**os.environ, "SOURCE_DATE_EPOCH": epoch()}
    run("uv", "build", "--quiet", "--out-dir", folder, ROOT, env=of_commit)
    files = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def epoch() -> str:
    """Return the time of the commit that is built, in seconds."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return EPOCH
    return done.stdout.strip() or EPOCH


def told(wheel: Path) -> str:
    """Return the wheel's metadata, after a look at what PyPI shows of it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    lost = re.findall(r"\]\((?!https?://)([^)]+)\)", text)
    if lost:
        raise SystemExit(f"links that lead nowhere on PyPI: {lost}")
    return text


def installs(wheel: Path) -> None:
    """Install the wheel in a bare environment and run README's first example there."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "env"
        # The interpreter itself, not that of the environment which this runs in.
        run(Path(sys.base_prefix) / "bin/python3", "-m", "venv", environment, cwd=Path(folder))
        kept = {k: v for k, v in os.environ.items() if "proxy" in k.lower() or k.startswith("PIP_")}
        bare = {**kept, "PATH": str(environment / "bin"), "HOME": folder, "PIP_NO_CACHE_DIR": "1"}
        python = environment / "bin/python"
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        run(*pip, wheel, cwd=Path(folder), env=bare)
        listing = "from sentry_asgi import SentryMiddleware; import sys; print(*sys.modules)"
        if "starlette" in run(python, "-c", listing, cwd=Path(folder), env=bare).split():
            raise SystemExit("the package imports a framework")
        run(*pip, "starlette", cwd=Path(folder), env=bare)
        example = str(EXAMPLES[0].values[0]).replace("sentry.example", "localhost")
        run(python, "-c", example + REPORTS, cwd=Path(folder), env=bare)


def tests_itself(sdist: Path) -> str:
    """Run `TESTS` in the sdist as unpacked; return pytest's last line."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        shutil.rmtree(unpacked / "src")  # what is tested is what is installed
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        return run(*pytest, cwd=unpacked).strip().splitlines()[-1]


def main(folder: Path) -> None:
    """Build into a folder and judge what was built; leave it there."""
    shutil.rmtree(folder, ignore_errors=True)
    first = built(folder)
    with tempfile.TemporaryDirectory() as again:
        if built(Path(again)) != first:
            raise SystemExit("two builds of one commit differ")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    run("check-wheel-contents", wheel)
    run("validate-pyproject", ROOT / "pyproject.toml")
    told(wheel)
    installs(wheel)
    # The wheel, not the checkout: this file's own environment has it from here on.
    run("uv", "pip", "install", "--quiet", "--no-deps", "--reinstall-package=sentry-asgi", wheel)
    last = tests_itself(sdist)
    for name, digest in sorted(first.items()):
        print(f"{digest}  {name}")
    print(last)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
