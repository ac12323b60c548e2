"""What a draw from an autoregressive node costs: steps that compute nothing twice, against evaluating the whole network for every element.

    python benchmarks/sampling.py [--rounds 3] [--only made] [--json FILE]

Both draw with the same network, the same sampler and the same noise. The naive draw costs the same for every element, so a few elements
of it are timed and multiplied by their number; for WaveNet it also stands where each element evaluates no more than the receptive field.
Processor time, one thread, contenders taking turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import statistics
import time
from dataclasses import dataclass

import dgm_ppl as dgm
import torch
from dgm_ppl.nets.causal import Naive

from measure import environment, write_json


@dataclass(frozen=True)
class Draw:
    """A declared event, how many rows are drawn of it, and how many elements of the naive draw are timed."""

    variable: dgm.Variable
    rows: int
    timed: int


DRAWS = {
    "MADE(500), 784 bits, 64 rows": Draw(dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.MADE(500)), 64, 40),
    "NADE(500), 784 bits, 16 rows": Draw(dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.NADE(500)), 16, 4),
    "gated PixelCNN(32, 7 layers), 28 x 28, 16 rows": Draw(dgm.Autoregressive(dgm.Bernoulli(1, 28, 28), net=dgm.PixelCNN(32, layers=7)), 16, 6),
    "PixelCNN(32, 7 layers), masked, 28 x 28, 16 rows": Draw(dgm.Autoregressive(dgm.Bernoulli(1, 28, 28), net=dgm.PixelCNN(32, layers=7, gated=False)), 16, 12),
    "PixelSNAIL(32, 6 layers), 28 x 28, 16 rows": Draw(dgm.Autoregressive(dgm.Bernoulli(1, 28, 28), net=dgm.PixelSNAIL(32)), 16, 4),
    "Transformer(128, 4 layers), 256 tokens, 16 rows": Draw(dgm.Autoregressive(dgm.Categorical(65, 256), net=dgm.Transformer(128)), 16, 6),
    "LSTM(256), 256 tokens, 16 rows": Draw(dgm.Autoregressive(dgm.Categorical(65, 256), net=dgm.Recurrent(256)), 16, 6),
    "WaveNet(32, 20 layers), 8,000 samples, 1 row": Draw(dgm.Autoregressive(dgm.Categorical(256, 8000), net=dgm.WaveNet(32)), 1, 4),
}


def by_steps(draw: Draw, model: dgm.Model) -> float:
    start = time.process_time()
    model.sample(draw.rows)
    return time.process_time() - start


@torch.no_grad()
def naive(draw: Draw, model: dgm.Model) -> float:
    """Seconds of a draw that evaluates the network for each element, from those of a few elements."""
    conditional = model.conditional("x")
    stepper = Naive(conditional.network, (), draw.rows)
    value = stepper.empty[:, None]
    start = time.process_time()
    for turn in range(draw.timed):
        stepper.step(turn, value if turn else None)
    return (time.process_time() - start) / draw.timed * len(stepper.groups)


@torch.no_grad()
def windowed(draw: Draw, model: dgm.Model) -> float:
    """The same where each element evaluates as many steps as the last one sees."""
    network = model.conditional("x").network
    short = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(256, network.reach), net=model.net["x"].family.net)))
    return naive(Draw(short.net["x"], draw.rows, draw.timed), short) * draw.variable.numel / network.reach


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="draws whose name holds this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = environment(seed=options.seed, rounds=options.rounds)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    results = {}
    for name, draw in DRAWS.items():
        if options.only.lower() not in name.lower():
            continue
        model = dgm.compile(dgm.BayesNet(x=draw.variable), seed=options.seed)
        contenders = {"steps": by_steps, "naive": naive, **({"receptive field": windowed} if "WaveNet" in name else {})}
        seconds = {contender: [] for contender in contenders}
        for _ in range(options.rounds):
            for contender, timer in contenders.items():
                seconds[contender].append(timer(draw, model))
        row = {contender: statistics.median(times) for contender, times in seconds.items()}
        ratios = {contender: statistics.median(a / b for a, b in zip(times, seconds["steps"])) for contender, times in seconds.items() if contender != "steps"}
        results[name] = {"seconds": row, "ratios": ratios}
        print(f"{name:52} {row['steps']:8.3f} s  " + "  ".join(f"{contender} {row[contender]:9.2f} s, {ratio:7.1f}x" for contender, ratio in ratios.items()), flush=True)
    write_json(options.json, {"environment": about, "results": results})


if __name__ == "__main__":
    main()
