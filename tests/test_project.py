"""What surrounds the code keeps to its own rules: one place for each fact, actions by hash, commands that are there."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import sentry_asgi

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SESSIONS = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
NAMING = [*WORKFLOWS, ROOT / "CONTRIBUTING.md", ROOT / ".pre-commit-config.yaml"]

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has none of it")


def texts() -> dict[Path, str]:
    """All that stands in the repository, but data and what others lock."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    suffixes = {".py", ".md", ".toml", ".yml", ".yaml", ".mjs", ""}
    paths = [ROOT / name for name in listed.split("\0") if name]
    found = [one for one in paths if one.suffix in suffixes and one.is_file()]
    return {one: one.read_text(encoding="utf-8", errors="replace") for one in found}


def test_the_repositorys_address_stands_in_one_place() -> None:
    owner = "/".join(PROJECT["urls"]["Source"].split("/")[2:])
    naming = {path.name for path, text in texts().items() if owner in text}
    assert naming <= {"pyproject.toml"}
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())


def test_the_version_stands_in_one_place_and_the_changelog_has_it() -> None:
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    released = re.split(r"rc|\.dev", sentry_asgi.__version__)[0]
    assert re.search(
        rf"^## {re.escape(released)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_fragments_of_the_changelog_are_of_a_kind_that_it_has() -> None:
    towncrier = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
    kinds = {one["directory"] for one in towncrier["type"]}
    for fragment in (ROOT / "changelog.d").glob("*.md"):
        if fragment.name != "README.md":
            assert fragment.suffixes[-2].lstrip(".") in kinds, fragment.name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash_with_their_version_beside(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())
    assert used
    for one in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", one), one


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_nothing_that_a_job_does_not_ask_for(workflow: Path) -> None:
    text = workflow.read_text()
    assert "\npermissions: {}\n" in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@pytest.mark.parametrize("page", NAMING, ids=lambda path: path.name)
def test_scripts_and_sessions_that_are_named_are_there(page: Path) -> None:
    text = page.read_text()
    for script in re.findall(r"\bscripts/([\w-]+)", text):
        assert (ROOT / "scripts" / script).exists(), script
    named = re.findall(r"scripts/test -s ([\w ]+)", text) + re.findall(r'sessions: "(.*?)"', text)
    for session in " ".join(named).split():
        assert session in SESSIONS, session


def test_what_ci_runs_is_there() -> None:
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("an sdist has none of it")
    text = script.read_text()
    for session in " ".join(re.findall(r"scripts/test -s ([a-z_ ]+)", text)).split():
        assert session in SESSIONS, session
