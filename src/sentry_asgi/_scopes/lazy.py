"""Scopes that are empty until somebody reads them: filling one costs more than serving a small request does.

The rules:

- No slot of a lazy scope is set. Reading an unset slot comes to `__getattr__`, which fills the scope once, from
  `forks`; from then on it is an ordinary scope of the SDK's. What was written before stays.
- `client`, which every call into the SDK asks for, and what every span asks for, are answered without filling.
- Filling must not raise into code that only reads a scope: where it fails, the scope is an empty one.
- Threads of one request may read at once. All see one filled scope, one trace and one span.
"""

from __future__ import annotations

import gc
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from sentry_sdk.client import NonRecordingClient
from sentry_sdk.scope import Scope, ScopeType

from sentry_asgi._connection.request import Connection
from sentry_asgi._python.locks import Lock
from sentry_asgi._sdk import scopes, undecided
from sentry_asgi._sdk.diagnostics import log_failure

from .forks import add_protection, isolation_fork, take_session, trace_of
from .process import CURRENT, Kind

SLOTS: Final = frozenset(scopes.LAZY_SCOPES.slots) if scopes.LAZY_SCOPES else frozenset[str]()
_filling: Final = Lock()
# Not the same: while a scope is filled others' code runs, which may log, and who logs asks for the trace.
_beginning: Final = Lock()
_NO_CLIENT: Final = NonRecordingClient()


class LazyScope(Scope):
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
        elif name in SLOTS:
            self._fill()
        else:
            raise AttributeError(name, name=name, obj=self)
        return getattr(self, name)

    def _fill(self) -> None:
        try:
            model = self._model()
        except Exception:  # whoever reads a scope is not to suffer from it
            log_failure("filling a scope")
            model = self._least()
        with _filling:
            usual, others = set_slots(self)
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

    def _least(self) -> Scope:
        """What the scope is filled with where that fails."""
        return LazyScope._model(self)

    def __copy__(self) -> Scope:
        copied: Any = super().__copy__()
        copied.asgi_base = self.asgi_base
        copied.asgi_connection = self.asgi_connection
        scope: Scope = copied
        return scope


class IsolationScope(LazyScope):
    __slots__ = ()

    def _model(self) -> Scope:
        assert self.asgi_base is not None  # enter() saw to it
        fork = isolation_fork(self.asgi_base, self.asgi_connection)
        scopes.TRACE.__set__(fork, self._propagation_context)
        return fork

    def _filled(self) -> None:
        take_session(self, self.asgi_connection)

    def _trace(self) -> Any:
        return trace_of(self.asgi_connection, self.asgi_base)


_DESCRIPTORS: Final = tuple((slot, getattr(Scope, slot)) for slot in SLOTS)
# Those that are set without filling, the most usual first.
_USUAL: Final = tuple(slot for slot in ("_propagation_context", "client", "_span") if slot in SLOTS)


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


def set_slots(scope: Scope) -> tuple[list[str], bool]:
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
    scope: Any = object.__new__(LazyScope)
    scope.asgi_base = scope.asgi_connection = None
    return len(gc.get_referents(scope))


_PRISTINE: Final = _pristine()


# The spans that are active in this context, further in than their scopes' own: (scope, span, what was before).
_Active: TypeAlias = "tuple[CurrentScope, Any, _Active] | None"
_active: ContextVar[_Active] = ContextVar("sentry_asgi_active_span", default=None)


class CurrentScope(undecided.HoldingScope, LazyScope):
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
        span = scopes.SPAN.__get__(
            self
        )  # an AttributeError here leads to __getattr__, which fills the scope
        trace = getattr(self.asgi_connection, "trace", None)
        if trace is not None and trace.pending:
            return self._start_pending_span(trace)
        return span

    @_span.setter
    def _span(self, span: Any) -> None:
        try:
            own = scopes.SPAN.__get__(self)
        except AttributeError:
            if not hasattr(self, "asgi_connection"):  # a copy in the making
                scopes.SPAN.__set__(self, span)
                return
            self._fill()
            own = scopes.SPAN.__get__(self)
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
        scopes.SPAN.__set__(self, span)
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
        for slot in scopes.UNINHERITED:
            setattr(fork, slot, None)
        if base is not None and (CURRENT is None or CURRENT.beneath(base) is base):
            scopes.forget_name(fork)
        add_protection(fork, self.asgi_connection)
        return fork

    def _least(self) -> Scope:
        scope = Scope()
        add_protection(scope, self.asgi_connection)
        return scope


def active_span(scope: Any) -> Any:
    """The span that is active on a scope, but for one that is yet to be started."""
    entry = _active.get()
    while entry is not None:
        if entry[0] is scope:
            return entry[1]
        entry = entry[2]
    trace = getattr(getattr(scope, "asgi_connection", None), "trace", None)
    return None if trace is not None and trace.pending else _slot(scope, "_span")


def beneath(scope: Any, kind: Kind) -> Scope | None:
    """Return the process's scope beneath a connection's."""
    base = scope.asgi_base if isinstance(scope, LazyScope) else scope
    return None if base is None else kind.beneath(base)
