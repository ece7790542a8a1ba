"""Uses of the public names, as type checkers see them: `scripts/test -s typing`."""
