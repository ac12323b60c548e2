"""All posterior marginals of classical networks: 10,000 rows of evidence on a fifth of the nodes, against pyAgrum.

    python benchmarks/exact_posteriors.py --networks FOLDER --peer /path/to/python --json exact.json

The peer runs in a process of its own (`exact_peer.py`, with the python that has pyAgrum), one thread each. Rounds take turns; seconds are
those of the processor, the ratio is taken within each round. pyAgrum answers `--peer-rows` of the rows in a round: its loop costs the
same for every row. With `--pgmpy-rows` so many rows of a round are answered by pgmpy too. `ratio` is per row; `distinct` supposes that the peer, too, answered repeated rows once.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from measure import environment, write_json

import dgm_ppl as dgm
from dgm_ppl import Exact

NETWORKS = ["asia", "alarm", "insurance", "hailfinder", "win95pts", "hepar2", "pigs", "munin2", "water"]


class Peer:
    """Another library in another process."""

    def __init__(self, python: str, task: str, network: Path, observed: Sequence[str] = ()):
        script = Path(__file__).with_name("exact_peer.py")
        self.process = subprocess.Popen([python, str(script), task, str(network), *observed], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, rows: list) -> dict:
        """Seconds for the task on these rows, and what it found."""
        print(json.dumps(rows), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def unpacked(networks: Path, network: str, folder: str) -> Path:
    """A network's file, unpacked."""
    path = Path(folder) / f"{network}.bif"
    path.write_bytes(gzip.open(networks / f"{network}.bif.gz").read())
    return path


def evidence_of(model: dgm.Model, rows: int, share: float, seed: int) -> dict[str, torch.Tensor]:
    """Rows drawn from the network, seen on a random share of the nodes."""
    torch.manual_seed(seed)
    drawn, names = model.sample(rows), list(model.net.order)
    return {names[place]: drawn[names[place]] for place in torch.randperm(len(names))[: max(1, round(share * len(names)))].tolist()}


def seconds_of(model: dgm.Model, evidence: dict[str, torch.Tensor], method: Exact) -> float:
    """Processor seconds for the marginals of every node."""
    start = time.process_time()
    dgm.posterior(model, evidence, method=method).mean()
    return time.process_time() - start


def compare(path: Path, args: argparse.Namespace) -> dict[str, float]:
    """One network: microseconds a row, ratios, the largest difference of the answers."""
    model = dgm.compile(dgm.read(path)).double()
    evidence, method = evidence_of(model, args.rows, args.share, args.seed), Exact()
    codes = torch.stack(list(evidence.values()), 1)
    first = {name: value[0] for name, value in evidence.items()}
    planning = seconds_of(model, first, method)
    peer = Peer(args.peer, "posteriors", path, list(evidence))
    asked = codes[: args.peer_rows].tolist()
    other = Peer(args.peer, "elimination", path, list(evidence)) if args.pgmpy_rows else None
    ours, single, theirs, slow = [], [], [], []
    for turn in range(args.rounds):
        ours.append(seconds_of(model, evidence, method) / args.rows)
        single.append(min(seconds_of(model, first, method) for _ in range(5)))
        answer = peer.ask(asked)
        theirs.append(answer["seconds"] / len(asked))
        if other is not None:
            slow.append(other.ask(asked[: args.pgmpy_rows])["seconds"] / args.pgmpy_rows)
    peer.close()
    post = dgm.posterior(model, first, method=method)
    distinct = len(codes.unique(dim=0)) / args.rows
    quotients = [their / our for their, our in zip(theirs, ours)]
    return {
        "us": statistics.median(ours) * 1e6, "peer_us": statistics.median(theirs) * 1e6, "ratio": statistics.median(quotients),
        "low": min(quotients), "high": max(quotients), "distinct_rows": distinct * args.rows, "distinct": statistics.median(quotients) * distinct,
        "single_ms": statistics.median(single) * 1e3, "single_ratio": statistics.median(their / our for their, our in zip(theirs, single)),
        "planning_s": planning, "pgmpy_ratio": statistics.median(their / our for their, our in zip(slow, ours)) if slow else None,
        "difference": max(float((post.probabilities(name) - torch.tensor(answer["first"][name], dtype=torch.float64)).abs().max()) for name in post.names),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, required=True, help="folder of .bif.gz files")
    parser.add_argument("--peer", required=True, help="a python that has pyAgrum")
    parser.add_argument("--only", nargs="*", default=NETWORKS)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--peer-rows", type=int, default=50)
    parser.add_argument("--pgmpy-rows", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    print(f"{'':12}{'us/row':>9}{'pyAgrum':>11}{'ratio':>8}{'low-high':>16}{'distinct':>9}{'ratio':>8}{'one row ms':>11}{'ratio':>7}{'plan s':>7}{'difference':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for network in args.only:
            row = found[network] = compare(unpacked(args.networks, network, folder), args)
            spread = f"{row['low']:.0f}-{row['high']:.0f}"
            print(f"{network:12}{row['us']:9.2f}{row['peer_us']:11.1f}{row['ratio']:8.0f}{spread:>16}{row['distinct_rows']:9.0f}{row['distinct']:8.0f}"
                  f"{row['single_ms']:11.2f}{row['single_ratio']:7.2f}{row['planning_s']:7.2f}{row['difference']:11.1e}" + (f"  pgmpy {row['pgmpy_ratio']:.0f}" if row["pgmpy_ratio"] else ""), flush=True)
    write_json(args.json, {"environment": environment(rows=args.rows, share=args.share, seed=args.seed, dtype="float64", threads=1), "networks": found})


if __name__ == "__main__":
    main()
