"""What the site's builder is told besides mkdocs.yml: `mkdocs build` calls these.

The repository's address stands in pyproject.toml alone. CHANGELOG.md and CONTRIBUTING.md are pages as well, though they
stand outside docs/; what they link to besides leads to the repository.
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
    """Add the pages that stand outside docs/, as if they stood within."""
    for source, page in BESIDES.items():
        text = re.sub(r"\]\(([\w.][^):#]*)", _moved, (ROOT / source).read_text())
        files.append(File.generated(config, page, content=text))
    return files


def _moved(match: re.Match[str]) -> str:
    target = match[1]
    inner = target.removeprefix("docs/")
    outer = BESIDES.get(target) or f"{URLS['Source']}/blob/main/{target}"
    return f"]({inner if inner != target else outer}"
