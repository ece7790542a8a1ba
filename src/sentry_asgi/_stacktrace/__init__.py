"""Exceptions, frames and values, as an event shows them: bounded in size and in time.

Knows nothing of requests. May import `_python` and `_sdk`.
"""
