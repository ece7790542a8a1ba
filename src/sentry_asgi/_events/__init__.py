"""The facts of a connection and its failure, written into what Sentry receives.

`event` holds the two processors, `describe` and `protect`. May import all rooms beneath, and no scope.
"""
