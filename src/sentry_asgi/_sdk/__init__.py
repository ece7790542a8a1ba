"""Everything that is asked of the SDK beyond its documented names, and what stands in for it where it is gone.

Each private name of `sentry_sdk` stands in here, guarded, with a fallback by public means. Our own failures are logged
here, too (`diagnostics`). May import `_python` alone.
"""
