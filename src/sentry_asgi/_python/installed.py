"""What is installed: which files beside the application are libraries', and which library is built on which.

The rules:

- What a folder of the import path, or an archive in it, says of itself counts: the `RECORD` of each `*.dist-info` names
  the files of that distribution. A file that no record names is not installed, whatever lies beside it.
- A folder is read once, when a file in it is first asked for. Where it cannot be read, nothing in it is installed.
- A library is built on what its distribution requires, extras aside. Asked once for each.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import zipfile
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final


def installed_as(filename: str) -> str | None:
    """Return an installed file's path below the folder or archive that it is imported from; None for any other."""
    for folder in sorted(filter(None, sys.path), key=len, reverse=True):
        prefix = folder.rstrip(os.sep) + os.sep
        if filename.startswith(prefix):
            inner = filename[len(prefix) :].replace(os.sep, "/")
            return inner if inner in _files(folder) else None
    return None


@functools.lru_cache(maxsize=100)
def _files(folder: str) -> frozenset[str]:
    try:
        records = _of_archive(folder) if Path(folder).is_file() else _of_folder(folder)
        lines = [line for record in records for line in record.splitlines()]
    except (OSError, ValueError, zipfile.BadZipFile):
        return frozenset()
    # As `name,hash,size`, and quoted where a name has a comma; modules have none.
    return frozenset(name for line in lines if (name := line.partition(",")[0]).endswith(".py"))


def _of_folder(folder: str) -> Iterator[str]:
    for record in Path(folder).glob("*.dist-info/RECORD"):
        yield record.read_text(encoding="utf-8")


def _of_archive(archive: str) -> Iterator[str]:
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith(".dist-info/RECORD"):
                yield opened.read(name).decode()


def is_built_on(package: str, others: Collection[str | None]) -> bool:
    """Whether an installed package requires one of the others, as `emmett` does `emmett_core`."""
    return not _required_by(package).isdisjoint(others)


# Of frameworks' plug-ins, those whose distribution has another name. To look for it takes half a second.
_DISTRIBUTIONS: Final = {
    "ninja": "django-ninja",
    "rest_framework": "djangorestframework",
    "strawberry": "strawberry-graphql",
    "strawberry_django": "strawberry-graphql-django",
}


@functools.lru_cache(maxsize=100)
def _required_by(package: str) -> frozenset[str]:
    try:
        required = metadata.requires(_DISTRIBUTIONS.get(package, package)) or ()
    except Exception:  # it is called otherwise, or its metadata cannot be read
        return frozenset()
    names = [re.match(r"[\w.-]*", one) for one in required if "extra ==" not in one]
    return frozenset(name[0].lower().replace("-", "_") for name in names if name)
