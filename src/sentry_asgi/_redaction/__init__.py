"""Secrets: what is one by its name or by its looks, which of them a request holds, and how they leave an event.

`names`, `shapes` and `texts` are the rules, `secrets` are those of one request, and `redact` walks through an event.
Knows nothing of ASGI. May import `_python` and `_sdk`.
"""
