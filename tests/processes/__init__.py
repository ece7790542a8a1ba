"""Real servers in processes of their own: how they stop, fork and reload, and what arrives of it.

    python -m tests.processes                  everything
    python -m tests.processes stop             the events of the last second before a SIGTERM
    python -m tests.processes fork reload      ... after a fork; ... around a reload
    python -m tests.processes stop beside      beside the SDK's own middleware

Needs an environment with the servers: `nox -s processes` makes it.
"""
