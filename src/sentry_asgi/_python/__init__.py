"""What CPython tells: how exceptions hang together, whose code a file is, which locks a fork must renew.

Knows nothing of ASGI or Sentry, and imports no other room.
"""
