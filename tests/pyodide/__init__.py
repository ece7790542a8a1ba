"""The tests that need no thread, socket or process, on CPython 3.14: Pyodide's, in Node.

`scripts/test -s pyodide` runs them.
"""
