"""What the frameworks call things: routes and handlers, a client that has left, who answers an exception.

The one place where a framework's or a server's name may stand. Imports no framework. May import `_python`.
"""
