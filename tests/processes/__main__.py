from __future__ import annotations

import sys

from tests.processes import fork, reload, stop

CASES = {"stop": stop.run, "fork": fork.run, "reload": reload.run, "beside": stop.beside}
DEFAULT = ["stop", "fork", "reload"]


def main(names: list[str]) -> int:
    wrong = []
    for name in names or DEFAULT:
        print(f"--- {name}")
        wrong += [f"{name}: {line}" for line in CASES[name]()]
        print()
    print("\n".join(wrong) or "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
