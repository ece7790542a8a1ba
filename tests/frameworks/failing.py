"""What the matrix's applications fail with."""

from __future__ import annotations

from typing import NoReturn


def fail(cell: str) -> NoReturn:
    raise ValueError(cell)


class Handled(ValueError):
    """What an application has a handler of its own for, which answers with a 500."""
