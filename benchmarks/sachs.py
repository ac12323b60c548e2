"""Structure learned from Sachs et al.'s (2005) protein measurements, against the consensus network.

    python benchmarks/sachs.py --data FOLDER [--rows 1500] [--json FILE]

FOLDER holds cmu_continuous.txt.gz, cmu_with_experimental.txt.gz, cmu_discrete.txt.gz and ground_truth_20edges.txt, as the
causal-learn and Tetrad benchmark collections distribute them. Needs the extra `structure`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import torch
from measure import environment, write_json

import dgm_ppl as dgm
from dgm_ppl.structure import compare

CONDITIONS = ["icam2", "aktinhib", "g0076", "psitect", "u0126", "ly", "pma", "b2camp"]


def consensus(folder: Path) -> dgm.DAG:
    """The network of 20 arrows that biologists agree on."""
    lines = (folder / "ground_truth_20edges.txt").read_text().splitlines()
    return dgm.DAG([tuple(line.split(". ", 1)[1].split(" --> ")) for line in lines if "-->" in line])


def measurements(folder: Path, rows: int) -> dict[str, pandas.DataFrame]:
    """Logarithms of all cells, of those that were only stimulated, and the published discretisation, so many rows of each at most."""
    cells = pandas.read_csv(folder / "cmu_with_experimental.txt.gz", sep="\t")
    proteins = [name for name in cells if name not in CONDITIONS and name != "cd3_cd28"]
    plain = cells[(cells[CONDITIONS].abs() < 0.5).all(axis=1)]
    frames = {
        "all conditions, log": np.log(cells[proteins]),
        "stimulated only, log": np.log(plain[proteins]),
        "all conditions, three levels": pandas.read_csv(folder / "cmu_discrete.txt.gz", sep="\t"),
    }
    return {name: frame if len(frame) <= rows else frame.sample(rows, random_state=0) for name, frame in frames.items()}


def methods(finite: bool) -> dict[str, dgm.StructureMethod]:
    """What is compared on columns of one kind."""
    if finite:
        return {"PC, tables": dgm.PC(), "GES, BDeu": dgm.GES()}
    return {"PC, partial correlation": dgm.PC(test=dgm.PartialCorrelation()), "PC, kernel": dgm.PC(), "GES, BIC": dgm.GES()}


def figures(folder: Path, rows: int) -> Iterator[dict[str, object]]:
    """One line for each data set and method."""
    truth = consensus(folder)
    for name, frame in measurements(folder, rows).items():
        tested = dgm.test_independences(truth, frame)
        yield {"data": name, "rows": len(frame), "method": "consensus", "rejected": len(tested.rejected), "of": len(tested.lines)}
        for label, method in methods("levels" in name).items():
            started = time.perf_counter()
            found = compare(dgm.learn_structure(frame, method=method), truth)
            yield {"data": name, "rows": len(frame), "method": label, "precision": found.precision, "recall": found.recall,
                   "distance": found.distance, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the four files")
    parser.add_argument("--rows", type=int, default=1500, help="rows of each data set at most (default 1500)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for line in figures(options.data, options.rows):
        lines.append(line)
        print("  ".join(f"{key} {value:.2f}" if isinstance(value, float) else f"{value}" if key in ("data", "method") else f"{key} {value}"
                        for key, value in line.items()), flush=True)
    write_json(options.json, {"environment": environment(rows=options.rows), "figures": lines})


if __name__ == "__main__":
    main()
