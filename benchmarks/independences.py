"""Whether tests of independence keep their level on real networks, and whether they catch a wrong graph.

    python benchmarks/independences.py --data FOLDER [--rows 2000] [--repeats 20] [--json FILE]

FOLDER holds NAME.bif or NAME.bif.gz of published networks. Rows are drawn from each network; under its own graph every
statement is true, and with one arrow left out one is false.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measure import environment, write_json

import dgm_ppl as dgm

NETWORKS = ("asia", "sachs", "survey", "child", "alarm", "insurance")
LEVELS = (0.05, 0.01, 0.001)


def network(folder: Path, name: str) -> dgm.BayesNet:
    """A published network."""
    packed = folder / f"{name}.bif.gz"
    return dgm.read(packed if packed.is_file() else folder / f"{name}.bif")


def under_the_truth(net: dgm.BayesNet, rows: int, repeats: int) -> dict[str, object]:
    """The share of p-values below each level, and how often any statement was rejected after correction."""
    model, p, any_rejected, started = dgm.compile(net), [], 0, time.perf_counter()
    for _ in range(repeats):
        found = dgm.test_independences(net, model.sample(rows))
        p.append(found.frame["p"].to_numpy())
        any_rejected += bool(found.rejected)
    untested, p = np.isnan(np.concatenate(p)).mean(), np.concatenate(p)
    p = p[~np.isnan(p)]
    shares = {f"p < {level:g}": float((p < level).mean()) for level in LEVELS}
    return {**shares, "any rejected": any_rejected / repeats, "untested": float(untested), "seconds": (time.perf_counter() - started) / repeats}


def arrows_missed(net: dgm.BayesNet, rows: int) -> list[str]:
    """The arrows that can be left out without a statement about their ends being rejected."""
    data, missed = dgm.compile(net).sample(rows), []
    for arrow in net.dag.edges:
        wrong = dgm.DAG([edge for edge in net.dag.edges if edge != arrow], nodes=net.dag.nodes)
        statements = [one for one in dgm.testable(wrong) if one.left | one.right == set(arrow)]
        if not dgm.test_independences(wrong, data, statements=statements).rejected:
            missed.append(" -> ".join(arrow))
    return missed


def figures(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """One line for each network."""
    for name in options.networks:
        net = network(options.data, name)
        torch.manual_seed(0)
        missed = arrows_missed(net, options.rows)
        truth = under_the_truth(net, options.rows, options.repeats)
        yield {"network": name, "nodes": len(net), "statements": len(dgm.testable(net)), **truth,
               "arrows": len(net.dag.edges), "caught": len(net.dag.edges) - len(missed), "missed": missed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the networks")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help=f"which (default {' '.join(NETWORKS)})")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for line in figures(options):
        lines.append(line)
        print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()), flush=True)
    write_json(options.json, {"environment": environment(rows=options.rows, repeats=options.repeats), "figures": lines})


if __name__ == "__main__":
    main()
