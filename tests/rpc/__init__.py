"""The libraries whose protocols answer a failure with a 200, each with its failures and its callers' mistakes.

They are not in the tests' environment; `nox -s rpc` makes one for them.
"""
