"""A profile as a flame graph: which functions the samples were in, and who called them. Pure.

The rules:

- Sentry's profiles and profile chunks are read: samples, stacks with the innermost frame first, frames.
- Of all threads the one with most samples is drawn. A box is as wide as its share of the samples.
- What is narrower than `NARROWEST` percent, deeper than `MAX_DEPTH`, or beyond `MAX_BOXES` is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Any

from .values import as_dict, as_dicts, as_line, as_list, as_number

NARROWEST = 0.3
MAX_DEPTH = 80
MAX_BOXES = 1500
MAX_SAMPLES = 50_000


@dataclass(frozen=True, slots=True)
class Box:
    """A function in the graph; `left` and `width` are percents, `own` tells the app's code from libraries'."""

    name: str
    place: str
    own: bool
    depth: int
    left: float
    width: float
    samples: int


@dataclass(frozen=True, slots=True)
class Flames:
    """A graph of `samples` samples of one thread, `deep` boxes high."""

    boxes: tuple[Box, ...]
    samples: int
    deep: int
    name: str


@dataclass(slots=True)
class _Node:
    samples: int = 0
    below: dict[int, _Node] = field(default_factory=dict)


def flames(payload: dict[str, Any]) -> Flames:
    """The graph of a profile, or of a chunk of one."""
    profile = as_dict(payload.get("profile"))
    frames = as_dicts(profile.get("frames"))
    stacks = [as_list(stack) for stack in as_list(profile.get("stacks"))]
    root = _Node()
    for stack in _of_busiest_thread(as_dicts(profile.get("samples")), stacks):
        _add(root, [number for number in reversed(stack) if as_number(number) is not None])
    boxes = tuple(islice(_boxes(root, frames), MAX_BOXES))
    name = as_line(as_dict(payload.get("transaction")).get("name"))
    deep = max((box.depth + 1 for box in boxes), default=0)
    return Flames(boxes, root.samples, deep, name or "Profile")


def _of_busiest_thread(samples: list[dict[str, Any]], stacks: list[Any]) -> Iterator[list[Any]]:
    threads = Counter(as_line(sample.get("thread_id"), 40) for sample in samples[:MAX_SAMPLES])
    busiest = next((thread for thread, _ in threads.most_common(1)), "")
    for sample in samples[:MAX_SAMPLES]:
        number = as_number(sample.get("stack_id"))
        known = number is not None and number < len(stacks)
        if known and as_line(sample.get("thread_id"), 40) == busiest:
            yield stacks[number or 0]


def _add(node: _Node, stack: list[int]) -> None:
    node.samples += 1
    for number in stack[:MAX_DEPTH]:
        node = node.below.setdefault(number, _Node())
        node.samples += 1


def _boxes(root: _Node, frames: list[dict[str, Any]]) -> Iterator[Box]:
    waiting = [(root, 0, 0.0)]
    for node, depth, start in waiting:  # which grows meanwhile: row by row
        left = start
        for number, below in node.below.items():
            width = below.samples / root.samples * 100
            if width >= NARROWEST:
                frame = frames[number] if number < len(frames) else {}
                yield Box(*_named(frame), depth, left, width, below.samples)
                waiting.append((below, depth + 1, left))
            left += width


def _named(frame: dict[str, Any]) -> tuple[str, str, bool]:
    path = as_line(frame.get("filename")) or as_line(frame.get("abs_path"))
    line = as_number(frame.get("lineno"))
    place = f"{PurePath(path).name}{'' if line is None else f':{line}'}"
    return as_line(frame.get("function"), 120) or "?", place, frame.get("in_app") is True
