"""The store keeps envelopes whole and stays within its bounds, whoever writes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sentry_asgi.inspector.database import StoreError
from sentry_asgi.inspector.envelope import BadEnvelopeError
from sentry_asgi.inspector.store import Store

from .support import ID, error, kept


def titles(store: Store) -> list[str]:
    return [listed.summary.title for listed in store.errors(limit=1000)]


def test_an_event_comes_back_as_it_was(store: Store) -> None:
    store.add("7", kept(("event", error(transaction="t")), event_id=ID), received=12.5)
    stored = store.event(ID)
    assert stored is not None
    assert stored.payload.startswith(b'{"exception"')
    assert (stored.listed.event_id, stored.listed.project, stored.listed.received) == (
        ID,
        "7",
        12.5,
    )
    assert [stored.listed] == store.errors(limit=5)
    assert stored.listed.summary.transaction == "t"


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.event(ID) is None
    assert store.errors(limit=5) == []


def test_errors_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    for number in range(5):
        store.add("1", kept(("event", error(f"E{number}"))), received=number)
    page = store.errors(limit=2)
    assert [listed.summary.title for listed in page] == ["E4", "E3"]
    older = store.errors(limit=2, before=page[-1].number)
    assert [listed.summary.title for listed in older] == ["E2", "E1"]


def test_items_of_other_kinds_are_kept_but_are_no_errors(store: Store) -> None:
    store.add("1", kept(("transaction", {}), ("attachment", b"x"), ("new_kind", b"")), received=1)
    assert store.errors(limit=5) == []
    assert store.totals() == (1, 3)


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3", max_envelopes=3)
    for number in range(10):
        store.add("1", kept(("event", error(f"E{number}")), ("attachment", b"12")), received=number)
    assert titles(store) == ["E9", "E8", "E7"]
    assert store.totals()[0] == 3
    store.close()
    with sqlite3.connect(tmp_path / "a.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (6,)
    connection.close()


def test_the_oldest_go_when_they_are_too_large(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite3", max_bytes=1000)
    for _ in range(10):
        store.add("1", kept(("attachment", bytes(400))), received=1)
    assert store.totals() == (2, 800)
    store.add("1", kept(("attachment", bytes(5000))), received=1)
    assert store.totals() == (1, 5000)
    store.close()


def test_an_envelope_is_kept_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        store.add("1", kept(("event", error())), received=None)  # type: ignore[arg-type]
    assert store.totals() == (0, 0)
    store.add("1", kept(("event", error())), received=1)
    assert store.totals()[0] == 1


def test_many_threads_may_write_at_once(store: Store) -> None:
    def write() -> None:
        for _ in range(20):
            store.add("1", kept(("event", error())), received=1)

    threads = [threading.Thread(target=write) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.totals()[0] == len(titles(store)) == 100


WRITER = """
import sys
from pathlib import Path
from sentry_asgi.inspector.store import Store
from tests.inspector.support import error, kept
store = Store(Path(sys.argv[1]), max_envelopes=50)
for number in range(40):
    store.add("1", kept(("event", error(sys.argv[2]))), received=number)
store.close()
"""


def test_several_processes_may_write_at_once_and_keep_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite3"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"E{number}"])
        for number in range(2)
    ]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    store = Store(path)
    assert store.totals()[0] == len(titles(store)) == 50
    store.close()


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def open_and_close(path: Path, barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            Store(path).close()
        except Exception as error:
            failures.append(error)

    for attempt in range(20):
        arguments = tmp_path / f"{attempt}.sqlite3", threading.Barrier(8)
        threads = [threading.Thread(target=open_and_close, args=arguments) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("hold", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_file_that_somebody_holds_is_told(tmp_path: Path, hold: str) -> None:
    holder = sqlite3.connect(tmp_path / "a.sqlite3", isolation_level=None)
    holder.execute(f"BEGIN {hold}")
    with pytest.raises(StoreError, match="locked"):
        Store(tmp_path / "a.sqlite3", patience=0.05)
    holder.close()


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        store = Store(tmp_path / "a.sqlite3")
        store.add("1", kept(("event", error())), received=1)
        store.close()
    store = Store(tmp_path / "a.sqlite3")
    assert store.totals()[0] == 2
    store.close()


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 500)
    with pytest.raises(StoreError, match=r"letter.txt cannot be used by the inspector"):
        Store(path)
    assert path.read_text().startswith("Dear reader")


def test_a_file_of_another_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="made by another release"):
        Store(path)


def test_an_event_has_the_envelopes_id_else_its_own_else_a_new_one() -> None:
    dashed = "01234567-89AB-CDEF-0123-456789ABCDEF"
    assert kept(("event", {"event_id": "f" * 32}), event_id=dashed).items[0].event_id == ID
    assert kept(("event", {"event_id": dashed})).event_id == ID
    made = kept(("event", {})), kept(("event", {}))
    assert made[0].event_id != made[1].event_id
    assert kept(("attachment", b"")).event_id is None


@pytest.mark.parametrize("event_id", ["nonsense", 5, [], "f" * 31])
def test_an_id_that_is_none_is_refused(event_id: object) -> None:
    with pytest.raises(BadEnvelopeError, match="The event_id is not 32 hexadecimal digits"):
        kept(("event", {"event_id": event_id}))


def test_an_event_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadEnvelopeError, match="The event is not JSON"):
        kept(("attachment", b"fine"), ("event", b"{"))
