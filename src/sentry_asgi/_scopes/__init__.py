"""The SDK's state for each connection: fresh scopes that are filled when they are read, and sessions.

`isolation` puts scopes in force, lazy ones (`lazy`) or the SDK's public ones (`public`). `forks` is what they are
filled with, `process` what that starts from. `here` says in which connection code runs, `detached` takes it out.
May import `_events`, `_connection`, `_sdk` and `_python`.
"""
