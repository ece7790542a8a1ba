"""What the benchmarks compute of what they measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import incident
from benchmarks.compare import against, ratios
from benchmarks.contenders import OURS, SDK

COLUMNS = [{"key": "added", "title": "added µs"}, {"key": "share", "title": "of the SDK's"}]


def case(ours: float | None, theirs: float | None) -> dict[str, Any]:
    rows = {OURS: {"added": ours, "share": 0.1}, SDK: {"added": theirs, "share": 1.0}}
    return {"columns": COLUMNS, "rows": rows}


def test_runs_are_compared_by_ratios_alone(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    earlier = {"http": case(2.0, 40.0), "websocket": case(5.0, 10.0)}
    file.write_text(json.dumps({"cases": earlier}))
    told = against(file, {"http": case(8.0, 80.0), "websocket": case(50.0, 100.0)})
    http, websocket = told.splitlines()[2:]
    assert http.split()[-4:] == ["0.050", "0.100", "2.00", "times"]
    assert websocket.split()[-5:] == ["0.500", "0.500", "as", "it", "was"]
    assert "no figure is in both" in against(file, {"import": case(1.0, 1.0)})


def test_what_cannot_be_divided_is_left_out() -> None:
    for ours, theirs in ((None, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        assert list(ratios(case(ours, theirs))) == []
    assert list(ratios({"title": "skipped", "reason": "no wrk"})) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cases": 7}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bench.json"
    file.write_text(text)
    with pytest.raises(SystemExit, match="must be given a file"):
        against(file, {"http": case(1.0, 2.0)})


@pytest.mark.parametrize(("per_minute", "sites"), incident.ROWS.values())
def test_each_failure_of_an_incident_is_made_or_counted_and_each_event_accounted_for(
    per_minute: int | None, sites: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incident, "PROCESSES", 20)
    monkeypatch.setattr(incident, "QUOTA", 1_000)
    monkeypatch.setattr(incident, "SECONDS", 150)
    row = incident.row(incident.Costs(4_000, 2.0, 0.05), per_minute, sites)
    assert row["made"] == row["taken"] + row["refused"] + row["dropped"]
    if per_minute is None:
        assert row["made"] == 20 * 150 * 500  # 2 ms each: no more fit into a second
    else:
        assert row["made"] + row["counted"] == 20 * 150 * 1_000
        assert row["made"] <= 20 * per_minute * min(sites, 10) * 3.5
    assert row["taken"] <= 3 * 1_000
