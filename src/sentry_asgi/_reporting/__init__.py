"""Failures become events: of a request, of the lifespan, and those that only `sys.monitoring` sees leave.

The uppermost room beneath `middleware.py`; may import all but `_tracing`.
"""
