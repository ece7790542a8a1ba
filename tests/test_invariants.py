"""The machine of `tests/invariants`: its plan, its judge, and its run with the frameworks that are installed here."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .invariants import plan
from .invariants.__main__ import KNOWN, dimensions_for, judge, known_as, run, told
from .invariants.judge import INVARIANTS, Break, Judge
from .support import SDK_VERSION

HERE = ("raw", "starlette", "fastapi", "litestar", "django", "channels")

# The plan


def test_every_pair_that_the_rules_allow_is_in_a_combination() -> None:
    whole = plan.Plan(plan.DIMENSIONS)
    planned = whole.combinations()
    assert all(plan.allowed(one) for one in planned)
    assert whole.pairs() == set().union(*map(plan.pairs_of, planned))
    assert len(planned) < 150


def test_a_pair_counts_though_the_rules_forbid_most_of_what_holds_it() -> None:
    dimensions = {"a": ("1", "2"), "b": ("1", "2"), "c": ("1", "2", "3")}
    rules = [plan.Rule({"a": ["1"], "b": ["2"]}, "c", ["3"], "a reason")]
    made = plan.Plan(dimensions, rules)
    assert len(made.pairs()) == 4 + 6 + 6
    assert all(one["c"] == "3" for one in made.combinations() if one["a"] < one["b"])
    never = [plan.Rule({"a": ["1"]}, "b", ["2"], "one"), plan.Rule({"b": ["2"]}, "c", ["1"], "two")]
    forbidden = {frozenset({("a", "1"), ("c", "2")}), frozenset({("a", "1"), ("b", "1")})}
    assert not plan.Plan(dimensions, never).pairs() & forbidden


def test_what_was_wrong_once_is_always_in_the_list() -> None:
    for name, one in plan.NAMED.items():
        assert one.keys() == plan.DIMENSIONS.keys(), name
        assert plan.allowed(one), name
    assert plan.named_within(plan.DIMENSIONS) == list(plan.NAMED.values())
    older = {**plan.DIMENSIONS, "sdk": ("2.47.0",)}
    assert plan.named_within(older) == []


def test_a_seed_gives_one_plan() -> None:
    assert plan.Plan(plan.DIMENSIONS).combinations() == plan.Plan(plan.DIMENSIONS).combinations()


def test_every_rule_forbids_something_and_has_its_reason() -> None:
    for rule in plan.RULES:
        assert rule.because
        assert set(rule.only) < set(plan.DIMENSIONS[rule.dimension])


# The judge: runs as they should be, and each invariant broken in some way


def good(tracing: str = "transactions") -> Any:
    requests = {rid: asked(rid, number) for number, rid in enumerate(("rq001z", "rq002z"), 1)}
    reports = [one for rid in requests for one in reports_of(rid, tracing)]
    aggregates = [{"started": "now", "crashed": 2}]
    sessions = {"kind": "sessions", "client": "main", "payload": {"aggregates": aggregates}}
    left = {"tasks": [], "threads": ["MainThread", "sentry.monitor"], "tools": []}
    return {
        "combination": {"tracing": tracing},
        "requests": requests,
        "reports": [*reports, sessions],
        "left": {**left, "exceptions": 0, "frames": 0},
    }


def asked(rid: str, number: int) -> Any:
    said = {"cell": "raise", "path": "/raise", "trace": trace_of(rid), "user": True}
    did = {"fails": True, "raised": f"Failure: raise of {rid}", "sent": [], "variables": ["own"]}
    return {"rid": rid, "number": number, "client": "main", "tags": ["handler"], **said, **did}


def trace_of(rid: str) -> str:
    return rid[2:5] * 10


def reports_of(rid: str, tracing: str) -> list[Any]:
    facts = {
        "user": {"id": f"user-{rid}"},
        "tags": {"handler": rid, "process": "started"},
        "request": {"url": "http://example.org/raise", "query_string": f"rid={rid}"},
        "contexts": {"trace": {"trace_id": trace_of(rid), "span_id": f"root-{rid}"}},
    }
    value = {"value": f"raise of {rid}", "mechanism": {"handled": False}}
    crumbs = {"values": [{"message": f"handler {rid}"}]}
    event = {**facts, "exception": {"values": [value]}, "breadcrumbs": crumbs}
    child = {"span_id": f"child-{rid}", "parent_span_id": f"root-{rid}"}
    log = {"body": f"of {rid}", "trace_id": trace_of(rid)}
    made = [("event", event), ("log", log)]
    if tracing == "transactions":
        made.append(("transaction", {**facts, "spans": [child]}))
    if tracing == "streamed":
        named = {"user.id": f"user-{rid}", "url.path": "/raise"}
        attributes = {name: {"value": value} for name, value in named.items()}
        segment = {"span_id": f"root-{rid}", "is_segment": True, "attributes": attributes}
        made.append(("span", {**segment, "trace_id": trace_of(rid)}))
        made.append(("span", {**child, "name": rid, "trace_id": trace_of(rid)}))
    return [{"kind": kind, "client": "main", "payload": payload} for kind, payload in made]


@pytest.mark.parametrize("tracing", ["off", "transactions", "streamed"])
def test_a_run_that_is_as_it_should_be_breaks_nothing(tracing: str) -> None:
    judged = Judge(good(tracing), good(tracing))
    assert judged.breaks() == []
    assert judged.judged > 40


def first(run: Any, kind: str) -> Any:
    return next(one for one in run["reports"] if one["kind"] == kind)


def payload(run: Any, kind: str) -> Any:
    return first(run, kind)["payload"]


def without(run: Any, kind: str) -> None:
    run["reports"].remove(first(run, kind))


def again(run: Any, kind: str) -> None:
    run["reports"].append(copy.deepcopy(first(run, kind)))


def a_trace_of_its_own(run: Any, kind: str) -> None:
    payload(run, kind)["contexts"]["trace"]["trace_id"] = "f" * 30


HANDLED = {"type": "chained", "handled": True}

DOCTORED: dict[str, list[Callable[[Any], Any]]] = {
    "I1": [
        lambda run: payload(run, "event")["user"].update(id="user-rq002z"),
        lambda run: payload(run, "transaction")["user"].clear(),
        lambda run: payload(run, "transaction")["tags"].update(handler="rq002z"),
        lambda run: payload(run, "event")["tags"].pop("handler"),
        lambda run: payload(run, "log").update(body="of rq001z and rq002z"),
        lambda run: payload(run, "event")["request"].update(url="http://example.org/"),
        lambda run: payload(run, "event")["breadcrumbs"]["values"].clear(),
        lambda run: run["reports"].append(
            {"kind": "event", "client": "main", "payload": {"logentry": {"message": "nobody's"}}}
        ),
    ],
    "I2": [
        lambda run: again(run, "transaction"),
        lambda run: without(run, "transaction"),
        lambda run: a_trace_of_its_own(run, "event"),
        lambda run: payload(run, "log").update(trace_id="f" * 30),
        lambda run: payload(run, "transaction")["spans"][0].update(parent_span_id="unknown"),
        lambda run: payload(run, "sessions")["aggregates"][0].update(crashed=3),
        lambda run: payload(run, "sessions")["aggregates"][0].update(crashed=1, exited=1),
        lambda run: without(run, "sessions"),
        lambda run: run["requests"]["rq001z"].update(trace="e" * 30),
    ],
    "I3": [
        lambda run: again(run, "event"),
        lambda run: without(run, "event"),
        lambda run: payload(run, "event")["exception"]["values"][0].update(value="another"),
        lambda run: payload(run, "event")["exception"]["values"][0].pop("mechanism"),
        lambda run: payload(run, "event")["exception"]["values"].insert(0, {"mechanism": HANDLED}),
        lambda run: run["requests"]["rq001z"].update(raised=None),
    ],
    "I4": [
        lambda run: first(run, "event").update(client="other"),
        lambda run: first(run, "transaction").update(client="other"),
        lambda run: run["requests"]["rq001z"].update(client="other"),
    ],
    "I5": [
        lambda run: payload(run, "event")["tags"].pop("process"),
        lambda run: payload(run, "transaction")["tags"].pop("process"),
    ],
    "I6": [
        lambda run: run["requests"]["rq001z"].update(raised="Failure: another"),
        lambda run: run["requests"]["rq001z"]["sent"].append({"type": "http.response.start"}),
        lambda run: run["requests"]["rq001z"]["variables"].append("isolation_scope"),
    ],
    "I7": [
        lambda run: run["left"].update(exceptions=1),
        lambda run: run["left"].update(frames=1),
        lambda run: run["left"]["tasks"].append("SentryMiddleware.watch"),
        lambda run: run["left"]["threads"].append("Thread-N"),
        lambda run: run["left"]["tools"].append("sentry_asgi"),
    ],
}


@pytest.mark.parametrize(
    ("invariant", "doctor"),
    [(name, doctor) for name, doctors in DOCTORED.items() for doctor in doctors],
)
def test_the_judge_names_the_invariant_that_a_doctored_run_breaks(
    invariant: str, doctor: Callable[[Any], Any]
) -> None:
    run = good()
    doctor(run)
    assert invariant in {one.invariant for one in Judge(run, good()).breaks()}


def test_each_invariant_has_been_doctored() -> None:
    assert tuple(DOCTORED) == INVARIANTS


def test_two_segments_of_one_request_are_one_too_many() -> None:
    run = good("streamed")
    again(run, "span")
    assert {one.invariant for one in Judge(run, good("streamed")).breaks()} == {"I2"}


def test_a_client_that_leaves_is_no_failure() -> None:
    run = good("off")
    for one in run["requests"].values():
        one["fails"] = False
    payload(run, "sessions")["aggregates"] = [{"started": "now", "exited": 2}]
    run["reports"] = [one for one in run["reports"] if one["kind"] != "event"]
    bare = copy.deepcopy(run)
    assert Judge(run, bare).breaks() == []
    run["reports"] += [one for one in good("off")["reports"] if one["kind"] == "event"]
    assert {one.invariant for one in Judge(run, bare).breaks()} == {"I3"}


# The list of known breaks


def test_a_known_break_is_known_where_it_is_said_to_be() -> None:
    entry = {"where": {"framework": ["raw"]}, "breaks": ["I2 .*traces"], "reason": "a reason"}
    seen = Break("I2", "raise: 2 traces")
    assert known_as({"framework": "raw"}, seen, [entry]) == 0
    assert known_as({"framework": "quart"}, seen, [entry]) is None
    assert known_as({"framework": "raw"}, Break("I3", "raise: 2 traces"), [entry]) is None


def test_a_run_without_a_result_is_a_break(tmp_path: Path) -> None:
    combination = {name: values[0] for name, values in plan.DIMENSIONS.items()}
    jobs = [[combination, False, str(tmp_path / "one.json")]]
    (tmp_path / "jobs-2.list").write_text(json.dumps(jobs))
    (tmp_path / "one.error").write_text("Traceback\nImportError: raw\n")
    verdict = judge(tmp_path, [])
    assert [one for _, one in verdict.unknown] == [Break("I0", "run: ImportError: raw")]
    assert "I0: run: ImportError: raw" in told(verdict, [])[0]


def test_what_breaks_no_more_is_told(tmp_path: Path) -> None:
    entry = {"where": {}, "breaks": [".*"], "reason": "mended"}
    verdict = judge(tmp_path, [entry])
    assert verdict.stale([entry]) == [entry]
    assert told(verdict, [entry])[0] == "holds by now, take it out: mended"


def test_the_known_breaks_name_dimensions_that_there_are() -> None:
    for entry in json.loads(KNOWN.read_text()):
        assert entry["reason"]
        for name, values in entry["where"].items():
            assert set(values) <= set(plan.DIMENSIONS[name])


# The run


@pytest.mark.skipif(
    SDK_VERSION != (2, 75), reason="what is known to break with other SDKs is not listed yet"
)
@pytest.mark.timeout(300)
def test_overlapping_requests_of_what_is_installed_break_nothing_that_is_not_known(
    tmp_path: Path,
) -> None:
    dimensions = dimensions_for(HERE, None)
    ways = {2: ("transactions", "streamed", "off"), 3: ("streamed", "off")}[SDK_VERSION[0]]
    dimensions["tracing"] = ways if SDK_VERSION >= (2, 75) else ("transactions", "off")
    # One of each framework, every other outermost: every pair of everything takes scripts/matrix.
    planned = plan.Plan(dimensions).combinations()
    some = [group[index % 2 - 1] for index, group in enumerate(grouped(planned).values())]
    run(some, tmp_path, None)
    entries = json.loads(KNOWN.read_text())
    verdict = judge(tmp_path, entries)
    assert verdict.judged > 200 * len(some)
    assert verdict.unknown == [], told(verdict, entries)


def grouped(planned: list[plan.Combination]) -> dict[str, list[plan.Combination]]:
    groups: dict[str, list[plan.Combination]] = {}
    for one in planned:
        groups.setdefault(one["framework"], []).append(one)
    return groups
