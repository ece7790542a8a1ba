"""The process's scopes: what is set while it starts is on every report, and no request writes to them.

The SDK keeps one isolation scope and one current scope in a context, and every request starts in a copy of the
server's context: it finds the very objects that the process has set its tags on. Whoever writes there outside of
this middleware, a middleware further out above all, writes for all requests.

The rules:

- `claim` turns the scopes in force into views (`ProcessScope`): the same objects, so that all contexts that hold
  them notice, whose attributes are read and written elsewhere.
- While the process starts, that is the process's own scope. It starts until a lifespan has started up or a request
  is served; meanwhile, code that runs in no task, in the task that claimed, or in a lifespan's context is its own.
- After that, and in any other task, it is a copy of the task's own, made when it first reads or writes, and kept
  in its context. A child task begins with its parent's copy as it is then. Each copy begins a trace of its own.
- A request begins with the copy that its task or a parent has made, or with the process's scope. A copy with
  which a request has begun is nobody else's: servers start later requests in contexts of earlier ones. So a request
  without a caller's trace goes on with the copy's, in which a middleware further out may have reported.
- `client` is asked for by every call into the SDK, and read at once. Whoever sets one outside of a request has
  the copy itself put in force.
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from asyncio import current_task
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

from sentry_sdk.scope import Scope, ScopeType

from sentry_asgi._python.in_trio import trio_task
from sentry_asgi._sdk import scopes
from sentry_asgi._sdk.diagnostics import log_failure


class Process:
    """A scope of the process's own."""

    __slots__ = ("builder", "scope", "serving")

    def __init__(self, scope: Scope, builder: Any) -> None:
        self.scope = scope
        self.builder = builder  # a reference to the task that claimed; None without one
        self.serving = False


class Copy:
    """What one task has made of a process's scope; while a lifespan starts, that scope itself."""

    __slots__ = ("process", "scope", "starting", "taken", "task")

    def __init__(self, process: Process, scope: Scope, task: Any) -> None:
        self.process = process
        self.scope = scope
        self.task = task  # a reference to it; None outside of any task
        self.taken = False  # by a request
        self.starting = False

    def started(self) -> None:
        if self.starting:
            self.starting, self.scope = False, _fork(self.process.scope)


def _running() -> Any:
    """Return a weak reference to the task that runs here; None outside of any."""
    try:
        task: Any = current_task()
    except RuntimeError:
        task = trio_task()
    return None if task is None else weakref.ref(task)


def _runs_here(task: Any) -> bool:
    """Whether this runs in a task, given by a reference to it. A third of the price of `_running() == task`."""
    try:
        running: Any = current_task()
    except RuntimeError:
        running = trio_task()
    return running is not None and task() is running


def _fork(scope: Scope) -> Scope:
    fork = scope.fork()
    fork.clear_breadcrumbs()
    return fork


class Kind:
    """The process's isolation scopes, or its current scopes."""

    def __init__(self, variable: ContextVar[Scope | None], ty: ScopeType) -> None:
        self._variable = variable
        self._ty = ty
        self.own: Final[ContextVar[Copy | None]] = ContextVar(
            f"sentry_asgi_own_{ty.value}_scope", default=None
        )
        self._slots: Final = tuple(getattr(Scope, slot) for slot in Scope.__slots__)
        self._stash: Final[Any] = next(slot for slot in self._slots if slot.__name__ != "client")
        self.view: Final[type[Scope]] = self._make_view()
        self.process_of: Final = self._stash.__get__
        """Return the `Process` behind a view."""

    def _make_view(self) -> type[Scope]:
        namespace: dict[str, Any] = {"__slots__": (), "__copy__": self._copied}
        for slot in self._slots:
            namespace[slot.__name__] = self._property(slot)
        return type("ProcessScope", (Scope,), namespace)

    def _property(self, slot: Any) -> property:
        def read(view: Any) -> Any:
            return slot.__get__(self.in_force(view))

        def write(view: Any, value: Any) -> None:
            slot.__set__(self.in_force(view), value)

        def write_client(view: Any, client: Any) -> None:
            scope = self.in_force(view)
            slot.__set__(scope, client)
            # `client` is read from the view itself, or from a copy that is in force.
            if scope is self.process_of(view).scope:
                slot.__set__(view, client)
            else:
                self._variable.set(scope)

        if slot.__name__ == "client":
            return property(slot.__get__, write_client)
        return property(read, write)

    def _copied(self, view: Any) -> Scope:
        return copy.copy(self.in_force(view))

    def in_force(self, view: Any) -> Scope:
        """Return the scope that is read and written here in the place of a view; never raises an Exception."""
        process: Process = self.process_of(view)
        try:
            return self._in_force(process)
        except (
            Exception
        ):  # of an SDK that cannot fork a scope; the code that reports is not to suffer from it
            log_failure("copying a scope")
            return process.scope

    def _in_force(self, process: Process) -> Scope:
        own, task = self.own.get(), _running()
        base = process.scope
        if own is not None and own.process is process:
            if own.starting or own.task == task:
                return own.scope
            if not own.taken:
                base = own.scope
        elif not process.serving and (task is None or task == process.builder):
            return base
        mine = Copy(process, _fork(base), task)
        if self._ty is ScopeType.ISOLATION:  # the trace of a current scope would go before
            mine.scope.set_new_propagation_context()
        self.own.set(mine)
        return mine.scope

    def claim(self) -> Process | None:
        """Make a view of the scope in force; return the process behind it, None if it is a request's."""
        scope: Any = self._variable.get()
        if scope is None:
            scope = Scope(ty=self._ty)
            self._variable.set(scope)
        if type(scope) is Scope:
            self._turn(scope)
        return self.process_of(scope) if type(scope) is self.view else None

    def _turn(self, scope: Any) -> None:
        own: Any = object.__new__(Scope)
        for slot in self._slots:
            with contextlib.suppress(AttributeError):
                slot.__set__(own, slot.__get__(scope))
        self._stash.__set__(scope, Process(own, _running()))
        scope.__class__ = self.view

    def taken(self, view: Any) -> Scope:
        """Return the scope with which a request begins that finds a view in its context."""
        process: Process = self.process_of(view)
        process.serving = True
        own = self.own.get()
        if own is None or own.process is not process or own.starting:
            return process.scope
        if own.taken:
            return own.scope if _runs_here(own.task) else process.scope
        own.taken = own.task is not None
        return own.scope

    def trace_of(self, scope: Any) -> Any:
        """Return the trace that a scope has begun, if it is a copy made in this context; else None."""
        own = self.own.get()
        if own is None or own.scope is not scope or scope is own.process.scope:
            return None
        return scopes.TRACE.__get__(scope)

    def beneath(self, scope: Scope) -> Scope:
        """Return the process's scope, of one that a request may have begun with."""
        own = self.own.get()
        return own.process.scope if own is not None and own.scope is scope else scope

    @contextlib.contextmanager
    def starting(self, home: Process | None) -> Iterator[Copy | None]:
        """While it lasts, and until `Copy.started`, who writes in this context writes to the process's scope."""
        process = home if self._variable.get() is None else self.claim()
        process = process or home
        if process is None:
            yield None
            return
        view: Any = object.__new__(self.view)
        self._stash.__set__(view, process)
        self._client_slot.__set__(view, process.scope.client)
        own = Copy(process, process.scope, _running())
        own.starting = True
        before = self._variable.get(), self.own.get()
        self._variable.set(view)
        self.own.set(own)
        try:
            yield own
        finally:
            own.started()
            self._variable.set(before[0])
            self.own.set(before[1])

    @property
    def _client_slot(self) -> Any:
        return next(slot for slot in self._slots if slot.__name__ == "client")


ISOLATION: Final = (
    Kind(scopes.LAZY_SCOPES.isolation, ScopeType.ISOLATION) if scopes.LAZY_SCOPES else None
)
CURRENT: Final = Kind(scopes.LAZY_SCOPES.current, ScopeType.CURRENT) if scopes.LAZY_SCOPES else None


def claim() -> Process | None:
    """Keep requests from writing to the scopes in force here; return the process's isolation scope."""
    if ISOLATION is None or CURRENT is None:
        return None
    CURRENT.claim()
    return ISOLATION.claim()


@contextlib.contextmanager
def starting(home: Process | None) -> Iterator[Callable[[], None]]:
    """As `Kind.starting`, for both scopes; until the value is called."""
    if ISOLATION is None or CURRENT is None:
        yield _nothing
        return
    with ISOLATION.starting(home) as isolation, CURRENT.starting(None) as current:

        def started() -> None:
            for own in isolation, current:
                if own is not None:
                    own.started()

        yield started


def _nothing() -> None: ...
