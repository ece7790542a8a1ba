"""Each connection gets scopes of its own: an isolation scope and a current scope, fresh and lazy.

The rules:

- A connection's scopes start from the *process's* scopes, never from another connection's. Servers
  reuse contexts (a request on a kept-alive connection can start in the context of the one before), and
  handlers call apps in-process; a scope found there that belongs to a connection is looked through to
  the process's scope beneath it.
- Filling a scope costs more than serving a small request does, and most requests never touch theirs. So
  `LazyScopes` puts scopes in place whose slots are all unset. Reading an unset slot comes to `__getattr__`,
  which fills the scope once; from then on it is an ordinary scope of the SDK's. What was written
  before stays. `client`, which every call into the SDK asks for, and what every span asks for, are answered
  without filling.
- To send a span, the SDK reads all of both scopes. Where nobody has touched a connection's, the process's stand in for
  them that long (`untouched`), and they stay unfilled: cheap for requests, and small for a websocket that stays open.
- Whether lazy scopes work with the installed SDK is tried out at first use, by comparing a filled one
  with a fork of the SDK's. If they don't, `PublicScopes` does the same by public means, at once.
- What the process itself sets while it starts up (at import, in a lifespan handler) is on the process's
  scope, and so on every event. Breadcrumbs of the process are left out, as the SDK leaves them out. What a
  middleware further out sets is on its request alone (`process`).
- The SDK's own ASGI middlewares step aside within a connection: they ask a context variable whether another is
  around them. Where one of them is around, it has made the scopes and the span of this request, and the
  connection reports in these.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, Token
from typing import Any, Final, Protocol, TypeAlias

from sentry_sdk.client import NonRecordingClient
from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope

from sentry_asgi._connection import request
from sentry_asgi._connection.request import Connection
from sentry_asgi._events.user import Untold
from sentry_asgi._python.locks import Lock
from sentry_asgi._sdk import internals, undecided
from sentry_asgi._sdk.diagnostics import log_failure

from .process import Kind, Process

logger: Final = logging.getLogger("sentry_asgi")


class Isolation(Protocol):
    """Gives connections their scopes. What `leave` needs, `enter` keeps in the connection's `outer`."""

    lazy: bool
    """Whether a span that is not sampled can wait until somebody asks for it."""

    def prepare(self) -> None:
        """Look at what the SDK has loaded; for a new client."""
        ...

    def enter(self, connection: Connection) -> bool:
        """Put a connection's scopes in force; return whether an ASGI middleware of the SDK's is around it."""
        ...

    def leave(self, connection: Connection) -> None: ...
    def use_client(self, client: Any) -> None:
        """Puts a client in force for the connection that was just entered."""
        ...

    def process(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """For the lifespan: what is set within is the process's, until the value is called."""
        ...

    def process_scope(self) -> Scope | None:
        """The process's own scope; None where none is known."""
        ...


def isolation() -> Isolation:
    """The isolation to use with the installed SDK; the process's scope is the one in force here."""
    return _chosen()()


def claim() -> Process | None:
    """Keep requests from writing to the scopes in force here; return the process's isolation scope."""
    if _ISOLATION is None or _CURRENT is None:
        return None
    _CURRENT.claim()
    return _ISOLATION.claim()


_ISOLATION: Final = (
    Kind(internals.LAZY_SCOPES.isolation, ScopeType.ISOLATION) if internals.LAZY_SCOPES else None
)
_CURRENT: Final = (
    Kind(internals.LAZY_SCOPES.current, ScopeType.CURRENT) if internals.LAZY_SCOPES else None
)


@functools.cache
def _chosen() -> Callable[[], Isolation]:
    if internals.LAZY_SCOPES is not None and lazy_scopes_work():
        return LazyScopes
    logger.info(
        "lazy scopes do not work with this version of sentry_sdk; its public, slower scopes are used"
    )
    return PublicScopes


# The lazy way.

_SLOTS: Final = (
    frozenset(internals.LAZY_SCOPES.slots) if internals.LAZY_SCOPES else frozenset[str]()
)
_filling: Final = Lock()
# Not the same: while a scope is filled others' code runs, which may log, and who logs asks for the trace.
_beginning: Final = Lock()
_NO_CLIENT: Final = NonRecordingClient()


class _LazyScope(Scope):
    """A scope of one connection, of which no slot is set until one is read."""

    __slots__ = ("asgi_base", "asgi_connection")

    asgi_base: Scope | None
    asgi_connection: Connection

    def __getattr__(self, name: str) -> Any:
        if name == "client":
            self.client = self.asgi_base.client if self.asgi_base is not None else _NO_CLIENT
        elif name == "_propagation_context":
            trace = self._trace()
            with _beginning:  # threads that ask at once are told of one trace
                if not _is_set(self, name):
                    self._propagation_context = trace
        elif name in _SLOTS:
            self._fill()
        else:
            raise AttributeError(name, name=name, obj=self)
        return getattr(self, name)

    def _fill(self) -> None:
        try:
            model = self._model()
        except Exception:  # whoever reads a scope is not to suffer from it
            log_failure("filling a scope")
            model = _LazyScope._model(self)
        with _filling:
            usual, others = _set_slots(self)
            for slot, descriptor in _DESCRIPTORS:
                if slot not in usual and not (others and _is_set(self, slot)):
                    descriptor.__set__(self, getattr(model, slot, None))
            self._filled()

    def _filled(self) -> None:
        """Do what is to be done once, whichever of several threads has filled the scope."""

    def _trace(self) -> Any:
        """The trace that the scope is of; None if that is for the scope around it to say."""
        return None

    def _model(self) -> Scope:
        """What the scope is to be when it is filled: an empty one, if no better can be had."""
        return Scope()

    def __copy__(self) -> Scope:
        copied: Any = super().__copy__()
        copied.asgi_base = self.asgi_base
        copied.asgi_connection = self.asgi_connection
        scope: Scope = copied
        return scope


class _IsolationScope(_LazyScope):
    __slots__ = ()

    def _model(self) -> Scope:
        assert self.asgi_base is not None  # enter() saw to it
        fork = _isolation_fork(self.asgi_base, self.asgi_connection)
        internals.TRACE.__set__(fork, self._propagation_context)
        return fork

    def _filled(self) -> None:
        _take_session(self, self.asgi_connection)

    def _trace(self) -> Any:
        return _trace_of(self.asgi_connection, self.asgi_base)


_DESCRIPTORS: Final = tuple((slot, getattr(Scope, slot)) for slot in _SLOTS)
# Those that are set without filling, the most usual first.
_USUAL: Final = tuple(
    slot for slot in ("_propagation_context", "client", "_span") if slot in _SLOTS
)


def _slot(scope: Scope, name: str) -> Any:
    """What a slot of a scope holds; None if it is not set, or none of this SDK's."""
    try:
        return getattr(Scope, name).__get__(scope)
    except AttributeError:
        return None


def _is_set(scope: Scope, slot: str) -> bool:
    try:
        getattr(Scope, slot).__get__(scope)
        return True
    except AttributeError:
        return False


def _set_slots(scope: Scope) -> tuple[list[str], bool]:
    """Of the slots that are set without filling, those that are; and whether others are.

    To ask an unset slot whether it is set raises an exception, which took most of the time of filling. So the garbage
    collector is asked how many there are to be found.
    """
    left = len(gc.get_referents(scope)) - _PRISTINE
    usual: list[str] = []
    for slot in _USUAL:
        if left and _is_set(scope, slot):
            usual.append(slot)
            left -= 1
    return usual, left > 0


def _pristine() -> int:
    """To how many objects a lazy scope refers of which no slot is set."""
    scope: Any = object.__new__(_LazyScope)
    scope.asgi_base = scope.asgi_connection = None
    return len(gc.get_referents(scope))


_PRISTINE: Final = _pristine()


# The spans that are active in this context, further in than their scopes' own: (scope, span, what was before).
_Active: TypeAlias = "tuple[_CurrentScope, Any, _Active] | None"
_active: ContextVar[_Active] = ContextVar("sentry_asgi_active_span", default=None)


class _CurrentScope(undecided.HoldingScope, _LazyScope):
    """A current scope whose active span is a matter of context, so that child tasks have their own.

    The SDK keeps the active span in a slot of the scope, which all tasks of a request share: of three tasks
    that each start a span, the second becomes the first's child. Here the slot holds the connection's own
    span alone; what is started within it is in a ContextVar, which child tasks copy. Streamed spans of a request
    that is yet to be decided about are held.
    """

    __slots__ = ()

    @property
    def _span(self) -> Any:
        entry = _active.get()
        while entry is not None:
            if entry[0] is self:
                return entry[1]
            entry = entry[2]
        span = internals.SPAN.__get__(
            self
        )  # an AttributeError here leads to __getattr__, which fills the scope
        trace = getattr(self.asgi_connection, "trace", None)
        if trace is not None and trace.pending:
            return self._start_pending_span(trace)
        return span

    @_span.setter
    def _span(self, span: Any) -> None:
        try:
            own = internals.SPAN.__get__(self)
        except AttributeError:
            if not hasattr(self, "asgi_connection"):  # a copy in the making
                internals.SPAN.__set__(self, span)
                return
            self._fill()
            own = internals.SPAN.__get__(self)
        outer = _active.get()
        if outer is not None and outer[0] is self:
            outer = outer[2]
        # Scopes whose connection is over are of contexts that this one was copied from.
        while outer is not None and getattr(outer[0].asgi_connection, "ending", None) is not None:
            outer = outer[2]
        _active.set(outer if span is own else (self, span, outer))

    @property
    def _server_segment_span(self) -> Any:
        """The connection's own span, if it is streamed: the SDK's integrations write the route there."""
        given = _slot(self, "_server_segment_span")
        if given is not None:
            return given
        trace = getattr(self.asgi_connection, "trace", None)
        if trace is None or not trace.way.streams:
            return None
        return self._start_pending_span(trace) if trace.pending else trace.span

    @_server_segment_span.setter
    def _server_segment_span(self, span: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        slot: Any = getattr(Scope, "_server_segment_span", None)
        slot.__set__(self, span)

    def asgi_set_root_span(self, span: Any) -> None:
        """Makes a span, or None, the connection's own: active wherever nothing further in is."""
        internals.SPAN.__set__(self, span)
        if _active.get() is not None:
            self._span = span  # pyright: ignore[reportIncompatibleVariableOverride]

    def _start_pending_span(self, trace: Any) -> Any:
        try:
            with _filling:
                if trace.starting:  # and to start it asks for it
                    return None
                if not trace.pending:  # another thread has started it
                    return trace.span
                return trace.way.start(self.asgi_connection, self)
        except Exception:
            log_failure("starting a span")
            return None

    def _model(self) -> Scope:
        base = self.asgi_base
        fork = Scope(ty=ScopeType.CURRENT) if base is None else base.fork()
        fork.clear_breadcrumbs()
        for slot in internals.UNINHERITED:
            setattr(fork, slot, None)
        _protect(fork, self.asgi_connection)
        return fork


# What describes events is half of all there is to import: `import sentry_asgi` leaves it to the self-check below.


def _describe(scope: Scope, connection: Connection) -> None:
    """Adds the connection's event processor for an isolation scope."""
    from sentry_asgi._events.event import describe  # noqa: PLC0415  # see above

    processor: Any = functools.partial(describe, connection)
    scope.add_event_processor(processor)
    internals.set_default_user(scope, Untold())


def _protect(scope: Scope, connection: Connection) -> None:
    """Adds those for a current scope, which have to be the last."""
    from sentry_asgi._events.event import protect  # noqa: PLC0415  # see above

    processor: Any = functools.partial(protect, connection)
    scope.add_event_processor(processor)
    _write_plainly(scope)


def _write_plainly(scope: Scope) -> None:
    from sentry_asgi._sdk.serializer import plain  # noqa: PLC0415  # see above

    scope.add_event_processor(plain)


def _isolation_fork(base: Scope, connection: Connection) -> Scope:
    """An ordinary isolation scope for one connection, filled from the process's, but for its trace."""
    fork = base.fork()
    if _ISOLATION is None or _ISOLATION.beneath(base) is base:
        fork.clear_breadcrumbs()  # they are the process's
    if getattr(connection, "session", False):
        internals.SESSION.__set__(fork, None)  # the process's own, which is not to end with this
        fork.start_session(session_mode="request")
    _describe(fork, connection)
    _add_attributes(fork, connection)
    return fork


def _add_attributes(scope: Scope, connection: Connection) -> None:
    """Tell what each streamed span and log of a connection has, as the SDK's own middleware does."""
    trace: Any = getattr(connection, "trace", None)
    if trace is None or not trace.way.streams:
        return
    from sentry_asgi._events.segment import shared_attributes  # noqa: PLC0415  # see above

    try:
        scope.set_attributes(shared_attributes(connection))
    except Exception:
        log_failure("describing streamed spans")


def _take_session(scope: Scope, connection: Connection) -> None:
    """Have a connection count the session by which its filled scope keeps the score."""
    exchange: Any = connection
    session = internals.SESSION.__get__(scope)
    if session is not None and getattr(connection, "session", False) is True:
        exchange.session = session


def _trace_of(connection: Connection, base: Any = None) -> Any:
    """The trace that a connection continues, or begins: its caller's, or that of the scope that it begins with.

    Another tracer that the SDK follows has the first word: reports are in its trace while its span lasts, and so are
    those that come later.
    """
    incoming = internals.others_trace() or request.incoming_trace(connection)
    if incoming:
        try:
            return internals.continued_trace(incoming)
        except Exception:  # anybody can send anything in a header
            log_failure("continuing a trace")
    begun = _ISOLATION.trace_of(base) if _ISOLATION is not None else None
    return begun or internals.PropagationContext()


class untouched:  # noqa: N801 - a context manager, and one of two lines is half the price of a generator
    """While it lasts, copies of the process's scopes stand in for a connection's, where nobody has touched these.

    What is written to the copies is lost. So this is for sending a span where no code but the SDK's gets to run; not
    where the process has event processors of its own. If it is for an `event`, the connection's own are there.
    """

    __slots__ = ("connection", "event", "found", "scopes")

    def __init__(self, connection: Connection, *, event: bool) -> None:
        self.connection = connection
        self.event = event
        self.found: Any = None
        self.scopes: tuple[Any, Any] | None = None

    def __enter__(self) -> None:
        if internals.LAZY_SCOPES is None:
            return
        isolation: Any = internals.LAZY_SCOPES.isolation.get()
        current: Any = internals.LAZY_SCOPES.current.get()
        if not (
            _is_untouched(isolation, _IsolationScope, self.connection)
            and _is_untouched(current, _CurrentScope, self.connection)
        ):
            return
        outer, inner = isolation.asgi_base.fork(), (current.asgi_base or EMPTY_SCOPE).fork()
        outer.client, inner.client = isolation.client, current.client
        if self.event:
            if any(map(internals.has_event_processors, (Scope.get_global_scope(), outer, inner))):
                return
            internals.SESSION.__set__(outer, None)
            _describe(outer, self.connection)
            _write_plainly(outer)
        self.scopes = (isolation, current)
        self.found = _public_connection.get()
        _public_connection.set(self.connection)  # whoever cleans what is sent finds it
        internals.LAZY_SCOPES.isolation.set(outer)
        internals.LAZY_SCOPES.current.set(inner)

    def __exit__(self, *_: object) -> None:
        if self.scopes is not None and internals.LAZY_SCOPES is not None:
            internals.LAZY_SCOPES.isolation.set(self.scopes[0])
            internals.LAZY_SCOPES.current.set(self.scopes[1])
            _public_connection.set(self.found)


EMPTY_SCOPE: Final = Scope(ty=ScopeType.CURRENT)
"""A current scope in which nothing is, nor ever will be."""


def _is_untouched(scope: Any, kind: type[_LazyScope], connection: Connection) -> bool:
    if scope.__class__ is not kind or scope.asgi_connection is not connection:
        return False
    return not _set_slots(scope)[1]


def _home() -> Process | None:
    """Return the process's scope that is in force here; None if the SDK does not tell."""
    try:
        return None if _is_nested(_nestings()[0]) else claim()
    except Exception:  # an app is not to fail to start because of it
        log_failure("looking for the process's scope")
        return None


def _beneath(scope: Any, kind: Kind) -> Scope | None:
    """Return the process's scope beneath a connection's."""
    base = scope.asgi_base if isinstance(scope, _LazyScope) else scope
    return None if base is None else kind.beneath(base)


def _nestings() -> tuple[internals.Nesting, internals.Nesting]:
    try:
        return internals.nestings()
    except Exception:
        log_failure("looking for the SDK's middlewares")
        return None, None


def _is_nested(nesting: internals.Nesting) -> bool:
    """Whether an ASGI middleware is around what runs here, as the SDK's tell each other."""
    return nesting is not None and nesting.get(False)


def _join(scope: Any, connection: Connection, wsgi: internals.Nesting) -> None:
    """Have a connection report in the scopes that the SDK's middleware further out has made for it."""
    connection.outer = connection.outer_current = None
    _describe(scope, connection)
    _public_connection.set(connection)
    if wsgi is not None:  # which has told its own kind alone to step aside
        wsgi.set(True)


def _part(wsgi: internals.Nesting) -> None:
    """Undo what `_join` has put into the context."""
    _public_connection.set(None)
    if wsgi is not None:
        wsgi.set(False)


class LazyScopes:
    """Sets the SDK's context variables to scopes that are filled when they are first read."""

    lazy = True

    def __init__(self) -> None:
        assert internals.LAZY_SCOPES is not None  # _chosen() asked
        assert _ISOLATION is not None
        assert _CURRENT is not None
        self._isolation, self._current, _ = internals.LAZY_SCOPES
        self._isolations, self._currents = _ISOLATION, _CURRENT
        # Where a connection starts in a context without any scope, as in another thread, this is
        # the process's.
        self._home = _home()
        self._nesting, self._nesting_of_wsgi = _nestings()

    def prepare(self) -> None:
        self._nesting, self._nesting_of_wsgi = _nestings()

    def enter(self, connection: Connection) -> bool:
        # The hot path: two objects, two context variables, nothing read.
        connection.outer = base = self._isolation.get()
        is_ambient = type(base) is Scope
        if self._nesting is not None and is_ambient and self._nesting.get(False):
            _join(base, connection, self._nesting_of_wsgi)
            return True
        isolation: Any = _new(_IsolationScope)
        nested = False
        if type(base) is self._isolations.view:
            base = self._isolations.taken(base)
        elif not is_ambient:  # a connection's, or none
            nested = base is not None
            base = _beneath(base, self._isolations) if nested else self._at_home()
        isolation.asgi_base = base
        isolation.asgi_connection = connection
        current: Any = _new(_CurrentScope)
        connection.outer_current = base = self._current.get()
        if type(base) is self._currents.view:
            base = self._currents.taken(base)
        elif base.__class__ is not Scope:
            base = _beneath(base, self._currents)
        current.asgi_base = base
        current.asgi_connection = connection
        self._isolation.set(isolation)
        self._current.set(current)
        if not nested:
            if self._nesting is not None:
                self._nesting.set(True)
            if self._nesting_of_wsgi is not None:
                self._nesting_of_wsgi.set(True)
        return False

    def _at_home(self) -> Scope:
        return Scope() if self._home is None else self._home.scope

    def use_client(self, client: Any) -> None:
        # Asked first is the current scope, if it has an active one.
        current: Any = self._current.get()
        base = current.asgi_base
        asked_first = base is not None and base.client.is_active()
        scope: Any = current if asked_first else self._isolation.get()
        scope.client = client

    def leave(self, connection: Connection) -> None:
        # Set back, not reset: a token would take memory for as long as the connection is open. But only
        # where the connection's own scope is in force: an abandoned coroutine can be closed in any context,
        # another connection's included.
        scope: Any = self._isolation.get()
        if scope.__class__ is _IsolationScope and scope.asgi_connection is connection:
            outer = connection.outer
            self._isolation.set(outer)
            self._current.set(connection.outer_current)
            if not isinstance(outer, _LazyScope):
                if self._nesting is not None:
                    self._nesting.set(False)
                if self._nesting_of_wsgi is not None:
                    self._nesting_of_wsgi.set(False)
        elif _public_connection.get() is connection:
            _part(self._nesting_of_wsgi)
        # Or each request of a kept-alive connection would keep the one before it alive.
        connection.outer = connection.outer_current = None

    @contextlib.contextmanager
    def process(self) -> Iterator[Callable[[], None]]:
        with _starting(self._home) as started:
            yield started

    def process_scope(self) -> Scope | None:
        return None if self._home is None else self._home.scope


@contextlib.contextmanager
def _starting(home: Process | None) -> Iterator[Callable[[], None]]:
    if _ISOLATION is None or _CURRENT is None:
        yield _nothing
        return
    with _ISOLATION.starting(home) as isolation, _CURRENT.starting(None) as current:

        def started() -> None:
            for own in isolation, current:
                if own is not None:
                    own.started()

        yield started


def _nothing() -> None: ...


_new: Final[Any] = object.__new__


def watching(someone: Any) -> None:
    """From now on, in this context, what leaves the application's frames in no connection is noted by `someone`."""
    _public_connection.set(someone)


def connection_here() -> Connection | None:
    """The connection in whose context this runs, its child tasks and worker threads included; it may have ended."""
    scope = internals.LAZY_SCOPES.isolation.get() if internals.LAZY_SCOPES else None
    if isinstance(scope, _LazyScope):
        return scope.asgi_connection
    return _public_connection.get()


def connection_of(context: Context) -> Connection | None:
    """The same for a context, which may be in use by another thread."""
    scope = context.get(internals.LAZY_SCOPES.isolation) if internals.LAZY_SCOPES else None
    if isinstance(scope, _LazyScope):
        return scope.asgi_connection
    return context.get(_public_connection)


@contextlib.contextmanager
def sessionless(scope: Scope | None = None) -> Iterator[None]:
    """While it lasts, what is reported counts for no session, with what this or the scope in force has set."""
    fork = (scope or Scope.get_isolation_scope()).fork()
    internals.SESSION.__set__(fork, None)
    with use_isolation_scope(fork):
        yield


def trace_here() -> tuple[str, str]:
    """The ids of the trace and the span that an event would tell which is made here, in a connection's context.

    Nothing changes by it: no scope is filled, no span started. Where nobody has asked for the request's own span yet,
    the id is the one that the trace has for events outside of any span. Empty where the SDK tells none.
    """
    current: Any = Scope.get_current_scope()
    # Where tracing is off, events tell no span though one may be active.
    span = (
        None if internals.trace_lifecycle(internals.options()) == "off" else _active_span(current)
    )
    if span is not None and not internals.is_no_span(span):
        return span.trace_id, span.span_id
    external: tuple[str, str] | None = internals.external_trace()
    if external:
        return external
    trace = getattr(current, "_propagation_context", None)
    if trace is None:
        trace = Scope.get_isolation_scope().get_active_propagation_context()
    return ("", "") if trace is None else (trace.trace_id, trace.span_id)


def _active_span(scope: Any) -> Any:
    """The span that is active on a scope, but for one that is yet to be started."""
    entry = _active.get()
    while entry is not None:
        if entry[0] is scope:
            return entry[1]
        entry = entry[2]
    trace = getattr(getattr(scope, "asgi_connection", None), "trace", None)
    return None if trace is not None and trace.pending else _slot(scope, "_span")


def lazy_scopes_work() -> bool:
    """Whether a lazy scope, filled, is what the SDK itself makes of the same base."""
    connection = Connection({"type": "http"})
    base = Scope(ty=ScopeType.ISOLATION)
    base.set_tag("sentry_asgi", "self-check")
    try:
        lazy: Any = _new(_IsolationScope)
        lazy.asgi_base, lazy.asgi_connection = base, connection
        with use_isolation_scope(lazy):
            seen = Scope.get_isolation_scope() is lazy
            lazy.set_user({"id": "self-check"})
        fork = _isolation_fork(base, connection)
        internals.TRACE.__set__(fork, _trace_of(connection))
        fork.set_user({"id": "self-check"})
        return seen and all(_same(getattr(lazy, slot), getattr(fork, slot)) for slot in _SLOTS)
    except Exception:  # whatever a future SDK does: then it does not work
        logger.debug("the self-check of the lazy scopes failed", exc_info=True)
        return False


def _same(one: Any, other: Any) -> bool:
    # Of what the SDK does not compare by value, the type alone can tell.
    comparable = isinstance(one, (str, int, dict, type(None)))
    return type(one) is type(other) and (one == other or not comparable)


# The public way.

# In a connection's context, or one that it left behind: the process's scope beneath it.
_process_scope: ContextVar[Scope | None] = ContextVar("sentry_asgi_process_scope", default=None)

_public_connection: ContextVar[Connection | None] = ContextVar(
    "sentry_asgi_connection", default=None
)


# What `connection_here` looks at, for who looks often enough to do without the call.
RequestScope: Final = _IsolationScope
scope_here: Final[Callable[[], Any]] = (
    internals.LAZY_SCOPES.isolation.get if internals.LAZY_SCOPES else _public_connection.get
)
public_connection: Final = _public_connection.get


class PublicScopes:
    """The same by the SDK's public means alone: whole scopes for each connection, forked at once."""

    lazy = False

    def __init__(self) -> None:
        _home()  # made here, it is in the context of all that starts from here
        self._lifespan_scope: Scope | None = None
        self._nesting, self._nesting_of_wsgi = _nestings()

    def prepare(self) -> None:
        self._nesting, self._nesting_of_wsgi = _nestings()

    def enter(self, connection: Connection) -> bool:
        base = _process_scope.get()
        if base is None and _is_nested(self._nesting):
            _join(Scope.get_isolation_scope(), connection, self._nesting_of_wsgi)
            return True
        base = base or self._lifespan_scope or Scope.get_isolation_scope()
        with contextlib.ExitStack() as stack:
            stack.callback(_reset, _process_scope, _process_scope.set(base))
            stack.callback(_reset, _public_connection, _public_connection.set(connection))
            isolation = _isolation_fork(base, connection)
            _take_session(isolation, connection)
            _continue_publicly(isolation, connection)
            stack.enter_context(use_isolation_scope(isolation))
            current = Scope(ty=ScopeType.CURRENT)
            _protect(current, connection)
            stack.enter_context(use_scope(current))
            for nesting in (self._nesting, self._nesting_of_wsgi):
                if nesting is not None:
                    stack.callback(_reset, nesting, nesting.set(True))
            connection.outer = stack.pop_all()
        return False

    def use_client(self, client: Any) -> None:
        Scope.get_current_scope().set_client(client)

    def leave(self, connection: Connection) -> None:
        if connection.outer is None:
            _part(self._nesting_of_wsgi)
            return
        with contextlib.suppress(
            ValueError
        ):  # in another context than entered, which nobody can read any more
            connection.outer.close()

    @contextlib.contextmanager
    def process(self) -> Iterator[Callable[[], None]]:
        with _starting(None) as started:
            self._lifespan_scope = _process_scope.get() or Scope.get_isolation_scope()
            with use_isolation_scope(self._lifespan_scope):
                yield started

    def process_scope(self) -> Scope | None:
        return self._lifespan_scope


def _continue_publicly(scope: Scope, connection: Connection) -> None:
    """As `_trace_of`, by public means."""
    scope.set_new_propagation_context()
    try:
        incoming = internals.others_trace() or request.incoming_trace(connection)
        if incoming:
            scope.generate_propagation_context(incoming)
    except Exception:
        log_failure("continuing a trace")


def _reset(variable: ContextVar[Any], token: Token[Any]) -> None:
    with contextlib.suppress(ValueError):  # as in leave()
        variable.reset(token)


# Out of a connection's scopes again.


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """What runs or is started within belongs to no request: tasks, threads that carry the context, reports.

    For work that outlives the request in which it happens to be started: a pool, a cache's refresher, a
    consumer. Its events carry what the process has set, and nothing of the request.
    """
    scope = Scope.get_isolation_scope()
    beneath = scope if _ISOLATION is None else _beneath(scope, _ISOLATION)
    base = _process_scope.get() or beneath or Scope()
    fork = base.fork()
    fork.clear_breadcrumbs()
    fork.set_new_propagation_context()
    token = _public_connection.set(None)
    try:
        with use_isolation_scope(fork), use_scope(Scope(ty=ScopeType.CURRENT)):
            yield
    finally:
        _reset(_public_connection, token)
