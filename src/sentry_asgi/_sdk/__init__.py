"""Everything that is asked of the SDK beyond its documented names, and what stands in for it where it is gone.

Each private name of `sentry_sdk` stands in here, guarded, with a fallback by public means: of `scopes`, of `spans`, of
`events`, of `clients`. They are read once, at import. A test names each, so that a new SDK that moves one is seen
before users see it. Our own failures are logged here, too (`diagnostics`). May import `_python` alone.
"""
