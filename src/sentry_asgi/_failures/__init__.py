"""Which failure counts: found though a framework swallowed it, told once, and only as often as the budget allows.

May import the rooms beneath: `_frameworks`, `_stacktrace`, `_sdk`, `_python`.
"""
