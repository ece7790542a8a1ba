"""Judges what holds of every request, whatever the application, the SDK and the way in which they are put together.

- `plan` lists the combinations: all pairs of all dimensions, from data and a seed, and those in which something was
  wrong once, by name.
- `drive` runs one combination in a process of its own, and writes down what was asked and what was reported.
- `judge` reads only that, and knows nothing of how it came to be.
- `known.json` lists the breaks that are known, each with its reason.

The invariants:

- I1: each report of a request carries that request's user, tags, trace and URL, and no other's.
- I2: each request is one transaction (or segment), one trace and one session; its spans hang on it.
- I3: each failure is one error event, with the exception itself; `handled` says whether the app returned.
- I4: each report goes to the client that the SDK's own middleware would have used.
- I5: what the process set while it started is on all reports.
- I6: the application's response, exception and context variables are those of a run without the middleware.
- I7: nothing is left after the last request: no task, thread, tool id, exception or frame.
"""
