"""One ASGI connection: its messages, watched and never touched, and the facts that its scope and body hold.

May import `_failures`, `_frameworks`, `_redaction` and `_sdk`; nothing in here makes a report.
"""
