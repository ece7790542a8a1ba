"""Links that open a file at a line in an editor. Pure.

The link's scheme is the inspector's, never an event's; of an event it has only an absolute path,
encoded, and a number.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

EDITORS = {
    "vscode": "vscode://file{path}:{line}",
    "cursor": "cursor://file{path}:{line}",
    "windsurf": "windsurf://file{path}:{line}",
    "zed": "zed://file{path}:{line}",
    "pycharm": "pycharm://open?file={path}&line={line}",
    "idea": "idea://open?file={path}&line={line}",
    "sublime": "subl://open?url=file://{path}&line={line}",
    "none": "",
}
"""What editors register with the desktop for opening a file, by the name of the editor."""


def opener(editor: str) -> Callable[[str, int | None], str]:
    """A function from an absolute path and a line to a link, or to nothing where there is none."""
    template = EDITORS[editor]

    def link(path: str, line: int | None) -> str:
        if not (template and path):
            return ""
        slashes = path.replace("\\", "/")
        rooted = slashes if slashes.startswith("/") else f"/{slashes}"
        return template.format(path=quote(rooted, safe="/:"), line=line or 1)

    return link
