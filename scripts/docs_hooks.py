"""What the site's builder is told besides mkdocs.yml: `mkdocs build` calls these.

The repository's address stands in pyproject.toml alone. CHANGELOG.md and CONTRIBUTING.md are pages as well, though they
stand outside docs/; what links to other files of the repository leads to them there.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
BESIDES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def on_config(config: Any) -> Any:
    """Say where the site and the repository are. As `repo_url` the theme would ask GitHub about it with each page."""
    config.site_url = URLS["Documentation"]
    config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": URLS["Source"]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/; their links are of the repository's root."""
    for source, page in BESIDES.items():
        text = (ROOT / source).read_text().replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to files that are no pages to the repository."""

    def lead(match: re.Match[str]) -> str:
        target = match[1].removeprefix("../")
        page_there = BESIDES.get(target)
        return f"]({page_there or URLS['Source'] + '/blob/main/' + target})"

    outside = r"\]\(((?:\.\./[^)#\s]+)|(?:[A-Z]+\.md))\)"
    return re.sub(outside, lead, markdown)
