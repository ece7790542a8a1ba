"""Blocked event loops and stuck requests: what no exception tells. Seen from a thread of its own, for each loop one.

The rules:

- Nothing is added to the path of a request. The thread takes from the middlewares, every few seconds, what they know of
  their client: the next request asks again, and tells so that there are requests, and on which loop.
- The thread is a daemon. Whatever fails in it is logged, once a minute, and it takes no lock that a request waits for.
  It holds the loop by a weak reference, ends when the loop is closed, and sleeps while nothing is in flight.
- Frames of a running thread are read at once and let go: what is kept is code and line numbers, never a variable.
- asyncio and uvloop. On Trio, without threads, and without the GIL nothing is watched, which is said once, at DEBUG.
"""
