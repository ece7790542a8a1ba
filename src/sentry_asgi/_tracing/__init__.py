"""The decision to sample, and a transaction or a streamed span for each request that is.

May import `_scopes`, `_events` and `_connection`.
"""
