"""Secrets: what is one by its name or by its looks, which of them a request holds, and how they leave an event.

`rules` and `shapes` are tables, `names` and `texts` apply them. `secrets` are those of one request. `redact` walks
through an event. Knows nothing of ASGI. May import `_python` and `_sdk`.
"""
