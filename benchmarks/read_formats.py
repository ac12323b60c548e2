"""Reading BIF beside pyAgrum and pgmpy, and what each step costs: the readers take turns.

    python benchmarks/read_formats.py [--rounds 5] [--json FILE] FILE.bif ...

Readers that are not installed are left out. `parse` is the text alone, `check` the tables, `BayesNet` the declaration.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import environment, interleaved, ratios, table, write_json

from dgm_ppl import BayesNet, read
from dgm_ppl.formats import bif
from dgm_ppl.formats.source import Source

OURS = "dgm_ppl"


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def contenders(path: Path) -> dict[str, Callable[[], object]]:
    """Everything that reads the file here."""
    source = Source.open(path)
    net = read(path)
    found = {OURS: partial(read, path), "parse": partial(bif.parse, source), "BayesNet": partial(BayesNet, dict(net.variables))}
    if importlib.util.find_spec("pyagrum"):
        found["pyAgrum"] = partial(_pyagrum, path)
    if importlib.util.find_spec("pgmpy") and path.stat().st_size < 100_000:
        found["pgmpy"] = partial(_pgmpy, path)
    return found


def _pyagrum(path: Path) -> object:
    import pyagrum

    return pyagrum.loadBN(str(path))


def _pgmpy(path: Path) -> object:
    from pgmpy.readwrite import BIFReader

    return BIFReader(str(path)).get_model()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="BIF files, not compressed")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every reader (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    about = environment(rounds=options.rounds)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    figures = {}
    for path in options.files:
        timers = {name: partial(timed, work) for name, work in contenders(path).items()}
        interleaved(timers, rounds=1)                                       # grammars and imports
        figures[path.name] = ratios(interleaved(timers, options.rounds), "pyAgrum" if "pyAgrum" in timers else OURS)
        print(f"\n{path.name}, {path.stat().st_size:,} bytes\n{table(figures[path.name])}")
    write_json(options.json, {"environment": about, "files": figures})


if __name__ == "__main__":
    main()
