"""How long a person waits for `import dominance` and `dominance --help`: medians over fresh processes.

python tests/speed/imports.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 15
LIMITS = {"import dominance, over bare python": 0.050, "dominance --help": 0.300}


def seconds(*arguments: str) -> float:
    """Wall time of one interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Print each time beside its limit; 1 when one is over."""
    commands = {"bare": ["-c", "pass"], "import": ["-c", "import dominance"], "help": ["-m", "dominance", "--help"]}
    for command in commands.values():
        seconds(*command)  # compiles what is not compiled yet
    # Taken in turn, so that a busy moment of the machine hits all three alike.
    rounds = [{name: seconds(*command) for name, command in commands.items()} for _ in range(REPEATS)]
    found = {
        "import dominance, over bare python": statistics.median(each["import"] - each["bare"] for each in rounds),
        "dominance --help": statistics.median(each["help"] for each in rounds),
    }
    for name, value in found.items():
        print(f"{name:36} {1000 * value:5.0f} ms  (limit {1000 * LIMITS[name]:.0f} ms)")
    return int(any(value > LIMITS[name] for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
