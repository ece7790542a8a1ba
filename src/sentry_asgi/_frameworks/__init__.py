"""What the frameworks call things: routes and handlers, a client that has left, who answers an exception.

Most of what depends on one framework or server stands in here. Imports no framework. May import `_python`.
"""
