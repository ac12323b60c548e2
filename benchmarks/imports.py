"""What `import dgm_ppl` costs beside `import pyro`: fresh interpreters, taking turns.

    python benchmarks/imports.py [--rounds 15] [--json FILE]

Reported is the wall time of the import statement itself, without the interpreter's own start.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial

from measure import environment, interleaved, ratios, table, write_json

REFERENCE = "import pyro"
STATEMENTS = (REFERENCE, "import dgm_ppl", "import torch")
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(statement: str) -> float:
    """Run the statement in a fresh interpreter and return its seconds."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of every statement (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    timers = {statement: partial(seconds, statement) for statement in STATEMENTS}
    interleaved(timers, rounds=1)  # fill the file cache
    summary = ratios(interleaved(timers, options.rounds), REFERENCE)
    about = environment(rounds=options.rounds)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    print(f"\n{table(summary)}")
    write_json(options.json, {"environment": about, "contenders": summary})


if __name__ == "__main__":
    main()
