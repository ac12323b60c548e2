"""Log-likelihoods of classical networks, cells missing and complete, and forward samples: against pyAgrum, pgmpy and a gather by hand.

    python benchmarks/exact_likelihood.py --networks FOLDER --peer /path/to/python --json likelihood.json

Peers run in a process of their own (`exact_peer.py`), one thread each; rounds take turns, seconds are those of the processor, ratios are
taken within a round. Rows are drawn from the network; a fifth of all cells is missing at random. pyAgrum answers `--peer-rows` rows in a
round, as its loop costs the same for every row; pgmpy's samples are `--pgmpy-rows`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from exact_posteriors import Peer, unpacked
from measure import environment, write_json

import dgm_ppl as dgm


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def with_holes(data: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """The columns as numbers, a share of the cells missing."""
    found = {name: value.double() for name, value in data.items()}
    for value in found.values():
        value[torch.rand(len(value)) < share] = torch.nan
    return found


def by_hand(model: dgm.Model) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """The gather that one would write: flat tables of logarithms, one index a node and row."""
    factors = dgm.Exact().engine(model).factors
    tables = {name: factors.table(name).log() for name in model.net.order}

    def score(data: dict[str, torch.Tensor]) -> torch.Tensor:
        total = torch.zeros(len(next(iter(data.values()))), dtype=torch.float64)
        for name, table in tables.items():
            code = data[name]
            stride = table.shape[-1]
            for parent, states in zip(reversed(model.net[name].all_parents), reversed(table.shape[:-1])):
                code = code + data[parent] * stride
                stride *= states
            total += table.reshape(-1)[code]
        return total
    return score


def compare(path: Path, args: argparse.Namespace) -> dict[str, float]:
    """One network: microseconds a row and ratios."""
    model = dgm.compile(dgm.read(path)).double()
    torch.manual_seed(args.seed)
    data = model.sample(args.rows)
    holes, hand = with_holes(data, args.missing), by_hand(model)
    rows = [{name: int(cell) for name, cell in zip(holes, row) if cell == cell} for row in torch.stack(list(holes.values()), 1)[: args.peer_rows].tolist()]
    first = dgm.log_prob(model, holes).value
    assert torch.allclose(hand(data), dgm.log_prob(model, data).value, atol=1e-9)
    evidence, sampler = Peer(args.peer, "evidence", path), Peer(args.peer, "sample", path)
    found: dict[str, list[float]] = {name: [] for name in ("missing", "pyAgrum, missing", "complete", "by hand", "sample", "pyAgrum, sample", "pgmpy, sample")}
    answer = {}
    for turn in range(args.rounds):
        found["missing"].append(seconds(lambda: dgm.log_prob(model, holes)) / args.rows)
        answer = evidence.ask(rows)
        found["pyAgrum, missing"].append(answer["seconds"] / len(rows))
        found["complete"].append(min(seconds(lambda: dgm.log_prob(model, data)) for _ in range(3)) / args.rows)
        found["by hand"].append(min(seconds(lambda: hand(data)) for _ in range(3)) / args.rows)
        found["sample"].append(seconds(lambda: model.sample(args.samples)) / args.samples)
        found["pyAgrum, sample"].append(sampler.ask([args.samples])["seconds"] / args.samples)
    evidence.close()
    sampler.close()
    if args.pgmpy_rows:
        other = Peer(args.peer, "pgmpy", path)
        found["pgmpy, sample"].append(other.ask([args.pgmpy_rows])["seconds"] / args.pgmpy_rows)
        other.close()

    def ratio(one: str, other: str) -> float:
        quotients = [their / our for our, their in zip(found[one], found[other])]
        return statistics.median(quotients) if quotients else float("nan")
    return {
        **{f"us, {name}": statistics.median(values) * 1e6 for name, values in found.items() if values},
        "missing, times faster": ratio("missing", "pyAgrum, missing"), "complete, times by hand": 1 / ratio("complete", "by hand"),
        "sample, times faster than pyAgrum": ratio("sample", "pyAgrum, sample"), "sample, times faster than pgmpy": ratio("sample", "pgmpy, sample"),
        "difference": float((first[: len(rows)] - torch.tensor(answer["logs"], dtype=torch.float64)).abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, required=True, help="folder of .bif.gz files")
    parser.add_argument("--peer", required=True, help="a python that has pyAgrum and pgmpy")
    parser.add_argument("--only", nargs="*", default=["asia", "alarm", "insurance", "hailfinder"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--missing", type=float, default=0.2)
    parser.add_argument("--peer-rows", type=int, default=300)
    parser.add_argument("--pgmpy-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in args.only:
            row = found[network] = compare(unpacked(args.networks, network, folder), args)
            print(network, *(f"  {name:36}{value:12.4g}" for name, value in row.items()), sep="\n", flush=True)
    write_json(args.json, {"environment": environment(rows=args.rows, missing=args.missing, seed=args.seed, dtype="float64", threads=1), "networks": found})


if __name__ == "__main__":
    main()
