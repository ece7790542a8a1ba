"""gunicorn with `--preload`: the app is imported, and reports, before the workers are forked from that process."""

from __future__ import annotations

from collections import Counter

from tests.processes.serving import APP, failed, free_port, serving, stopped, told
from tests.receiver import receiving

EVENTS = 60
IMPORTED = 6
STOPS_WITHIN = 2.5
"""Seconds: what is waiting, and no more. The parent's queue makes the SDK's flush wait out its time."""

COMMAND = [
    *["gunicorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "3", "--preload"],
    *["--worker-class", "uvicorn_worker.UvicornWorker", "--log-level", "critical"],
]


def run() -> list[str]:
    wrong = []
    for state in ("flushed", "waiting"):
        with receiving() as receiver:
            receiver.answer = receiver.slow(0.02)
            port = free_port()
            with serving(COMMAND, port, SENTRY_DSN=receiver.dsn, REPORT_AT_IMPORT=state) as process:
                failed(port, EVENTS)
                seconds = stopped(process)
            failures = told(receiver.events)
            imported = Counter(
                event["message"] for event in receiver.events if "exception" not in event
            )
        repeated = sum((failures | imported).values()) - len(failures) - len(imported)
        line = (
            f"the import's reports {state}: {len(failures)} of {EVENTS} failures, "
            f"{len(imported)} of {IMPORTED} of the import's, {repeated} twice, {seconds:.1f} s to stop"
        )
        print(line, flush=True)
        whole = (len(failures), len(imported), repeated) == (EVENTS, IMPORTED, 0)
        if not whole or seconds > STOPS_WITHIN:
            wrong.append(line)
    return wrong
