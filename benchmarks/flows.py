"""Density estimation by flows declared as nodes, against the same flows of zuko trained directly by the same loop.

    python benchmarks/flows.py DATA [--steps 800] [--rounds 40] [--json FILE]

DATA is a folder with `uci_bnn/uci_bnn.npz`, `natural_patches/natural_patches_8x8.npz` and `tables/abalone.parquet` (left out where no
parquet reader is installed). Tables are standardized by their training rows; patches are dequantized uniformly and passed through
logit(0.05 + 0.9 x / 256), both inside the density. Same seeds, batches and optimizer (Adam, fused); the test score is that of
the last step. Step times are process times, taken in turns; the ratio is the median over rounds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
import zuko
from torch import Tensor, nn

import dgm_ppl as dgm
from measure import environment, interleaved, ratios, write_json

KINDS = {
    "MAF": (dgm.MAF(5), lambda features: zuko.flows.MAF(features, transforms=5)),
    "NSF": (dgm.NSF(5), lambda features: zuko.flows.NSF(features, transforms=5)),
}
ALPHA = 0.05


def tables(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Training and test rows by name."""
    held = numpy.load(folder / "uci_bnn" / "uci_bnn.npz")
    found = {}
    for name in ("power-plant", "concrete", "wine-quality-red"):
        rows = numpy.column_stack([held[f"{name}__x"], held[f"{name}__y"]])
        found[name] = split(rows, held[f"{name}__test"][0])
    try:
        import pandas

        frame = pandas.read_parquet(folder / "tables" / "abalone.parquet")
    except ImportError:
        print("abalone is left out: no parquet reader")
    else:
        rows = frame.select_dtypes("number").to_numpy()
        found["abalone"] = split(rows, numpy.random.default_rng(0).permutation(len(rows))[: len(rows) // 10])
    return found


def split(rows: numpy.ndarray, test: numpy.ndarray) -> tuple[Tensor, Tensor]:
    """Standardized training and test rows; a little noise where values are tied, so that densities exist."""
    rng = numpy.random.default_rng(0)
    mask = numpy.zeros(len(rows), bool)
    mask[test] = True
    rows = (rows - rows[~mask].mean(0)) / rows[~mask].std(0) + 0.01 * rng.standard_normal(rows.shape)
    return torch.tensor(rows[~mask], dtype=torch.float32), torch.tensor(rows[mask], dtype=torch.float32)


class Dequantized(nn.Module):
    """What a user of zuko writes by hand around a flow of 8-bit pixels."""

    def __init__(self, flow: nn.Module):
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        share = (x + torch.rand_like(x)) / 256
        squeezed = ALPHA + (1 - 2 * ALPHA) * share
        ladj = (math.log((1 - 2 * ALPHA) / 256) - squeezed.log() - (1 - squeezed).log()).sum(-1)
        return self.flow().log_prob(squeezed.logit()) + ladj


class Direct(nn.Module):
    """A flow's log-density of rows."""

    def __init__(self, flow: nn.Module):
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        return self.flow().log_prob(x)


class Declared(nn.Module):
    """The same through the library: the objective that `dgm.fit` minimises."""

    def __init__(self, variable: dgm.Variable, seed: int):
        super().__init__()
        self.objective = dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet(x=variable), seed=seed))

    def forward(self, x: Tensor) -> Tensor:
        return -self.objective.world_losses({"x": x})

    def mean(self, x: Tensor) -> Tensor:
        return -self.objective({"x": x})


def contenders(kind: str, features: int, levels: bool, seed: int) -> dict[str, nn.Module]:
    ours, theirs = KINDS[kind]
    variable = dgm.Flow(features, ours, levels=256, preprocess=dgm.Logit(ALPHA)) if levels else dgm.Flow(features, ours)
    declared = Declared(variable, seed)
    torch.manual_seed(seed)
    return {"zuko": (Dequantized if levels else Direct)(theirs(features)), "dgm_ppl": declared}


def stepper(module: nn.Module, rows: Tensor, batch: int, seed: int) -> Callable[[], None]:
    """One training step on the next minibatch."""
    optimizer = torch.optim.Adam(module.parameters(), 1e-3, fused=True)
    generator = torch.Generator().manual_seed(seed)
    mean = module.mean if isinstance(module, Declared) else lambda x: module(x).mean()

    def step() -> None:
        x = rows[torch.randint(len(rows), (batch,), generator=generator)]
        optimizer.zero_grad()
        (-mean(x)).backward()
        optimizer.step()
    return step


def timed(step: Callable[[], None]) -> float:
    start = time.process_time()
    for _ in range(5):
        step()
    return (time.process_time() - start) / 5


def run(name: str, kind: str, train: Tensor, test: Tensor, levels: bool, steps: int, rounds: int) -> dict[str, object]:
    modules = contenders(kind, train.shape[1], levels, seed=0)
    steppers = {who: stepper(module, train, 128, seed=1) for who, module in modules.items()}
    scores = {}
    for who, module in modules.items():
        torch.manual_seed(2)                                                # the noise of dequantization
        for _ in range(steps):
            steppers[who]()
        torch.manual_seed(3)
        with torch.no_grad():
            scores[who] = torch.cat([module(part) for part in test.split(1000)])
    spent = ratios(interleaved({who: lambda who=who: timed(steppers[who]) for who in steppers}, rounds), "zuko")
    unit = -1 / (math.log(2) * train.shape[1]) if levels else 1
    row = {"data": name, "kind": kind, "unit": "bits per dimension" if levels else "nats"}
    for who, score in scores.items():
        row[who] = (unit * score).mean().item()
        row[f"{who} stderr"] = (unit * score).std().item() / math.sqrt(len(score))
        row[f"{who} ms"] = 1e3 * spent[who]["seconds"]
    return {**row, "ratio": spent["dgm_ppl"]["ratio"], "low": spent["dgm_ppl"]["low"], "high": spent["dgm_ppl"]["high"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    patches = numpy.load(options.data / "natural_patches" / "natural_patches_8x8.npz")
    sets = {name: (*pair, False) for name, pair in tables(options.data).items()}
    sets["natural patches"] = (*(torch.tensor(patches[part].reshape(-1, 64), dtype=torch.float32) for part in ("train", "test")), True)
    rows = []
    print(f"{'data':18}{'kind':5}{'zuko':>16}{'dgm_ppl':>18}  {'ms':>7}{'ms':>8}  ratio (quartiles)")
    for name, (train, test, levels) in sets.items():
        for kind in KINDS:
            row = run(name, kind, train, test, levels, options.steps, options.rounds)
            rows.append(row)
            print(
                f"{name:18}{kind:5}{row['zuko']:9.3f} ± {row['zuko stderr']:.3f}{row['dgm_ppl']:10.3f} ± {row['dgm_ppl stderr']:.3f}  "
                f"{row['zuko ms']:7.2f} {row['dgm_ppl ms']:7.2f}  {row['ratio']:.3f} ({row['low']:.3f}-{row['high']:.3f}) {row['unit']}", flush=True,
            )
    write_json(options.json, {"environment": environment(steps=options.steps, rounds=options.rounds, threads=1, zuko=zuko.__version__), "rows": rows})


if __name__ == "__main__":
    main()
