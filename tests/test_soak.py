from __future__ import annotations

from .soak import judge, run


def test_nothing_grows_with_the_number_of_requests() -> None:
    """A short one; `scripts/soak` goes on for as long as you like."""
    said: list[str] = []
    assert run(1000, 8, said.append) == [], said


def test_what_grows_is_told() -> None:
    flat = {"objects": 1000.0, "megabytes": 50.0, "tasks": 3.0, "threads": 5.0, "alarms": 0.0}
    assert judge([flat] * 8) == []
    for name, grown in {
        "objects": 100,
        "megabytes": 3,
        "tasks": 1,
        "threads": 1,
        "alarms": 1,
    }.items():
        samples = [{**flat, name: flat[name] + number * grown} for number in range(8)]
        assert [line.partition(":")[0] for line in judge(samples)] == [name]
