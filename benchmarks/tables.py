"""Tables from many rows: `estimate` beside numpy's `bincount` on codes, written by hand, and beside the peers.

    python benchmarks/tables.py --network alarm.bif --rows 1000000 [--peers] [--json out.json]

All read the same codes, int64 columns by default (`--narrow` for bytes). numpy's contender knows the sizes and strides beforehand
and checks nothing; `estimate` checks every column, counts, fills the tables and finds the likelihood. The counts must agree.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure
import numpy
import torch

import dgm_ppl as dgm


def by_hand(net: dgm.BayesNet, columns: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Counts of every table: one joint code a row, then `bincount`."""
    found = {}
    for name in net:
        family = (*net[name].all_parents, name)
        sizes = [net[one].space.cardinality for one in family]
        code = columns[family[0]].astype(numpy.int64)
        for one, size in zip(family[1:], sizes[1:]):
            code *= size
            code += columns[one]
        found[name] = numpy.bincount(code, minlength=int(numpy.prod(sizes))).reshape(sizes)
    return found


def timer(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return run


def agrum(net: dgm.BayesNet, columns: dict[str, numpy.ndarray]) -> Callable[[], object]:
    """pyAgrum's learner with a smoothing prior (without one it raises where a configuration has no row), its data in place beforehand."""
    import pandas
    import pyagrum

    frame = pandas.DataFrame({name: numpy.asarray(net[name].labels)[column] for name, column in columns.items()})
    with tempfile.TemporaryDirectory() as folder:
        dgm.write(net, Path(folder) / "net.bif")
        template = pyagrum.loadBN(str(Path(folder) / "net.bif"))
    learner = pyagrum.BNLearner(frame, template)
    learner.useSmoothingPrior(1e-9)
    return lambda: learner.learnParameters(template.dag())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    net = dgm.read(arguments.network)
    drawn = dgm.compile(net).sample(arguments.rows)
    columns = {name: value.numpy().astype(numpy.uint8 if arguments.narrow else numpy.int64) for name, value in drawn.items()}
    model = dgm.compile(net.opened(), seed=0)
    found, expected = dgm.estimate(model, columns), by_hand(net, columns)
    assert all((found.counts[name].numpy() == expected[name]).all() for name in net)
    contenders = {"numpy bincount by hand": timer(lambda: by_hand(net, columns)), "dgm_ppl estimate": timer(lambda: dgm.estimate(model, columns))}
    if arguments.peers:
        contenders["pyAgrum learnParameters"] = timer(agrum(net, columns))
    seconds = measure.interleaved(contenders, arguments.rounds)
    summary = measure.ratios(seconds, "numpy bincount by hand")
    print(f"{len(net)} nodes, {arguments.rows:,} rows, {'bytes' if arguments.narrow else 'int64'}; configurations without a row: {sum(map(len, found.unseen.values()))}")
    print(measure.table(summary))
    measure.write_json(arguments.json, {"environment": measure.environment(threads=1, **vars(arguments)), "seconds": seconds, "summary": summary})


if __name__ == "__main__":
    main()
