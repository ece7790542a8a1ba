"""The SDK's state for each connection: fresh scopes that are filled when they are read, and sessions.

`isolation` makes them, `process` is what they are filled from. May import `_events`, `_connection`,
`_sdk` and `_python`.
"""
