"""What one training step of each autoregressive kind costs, against the same network trained by hand in torch, at batch 128.

    python benchmarks/autoregressive_step.py [--rounds 15] [--only made] [--json FILE]

By hand: MADE, the LSTM and the transformer are written in plain torch (torch's own cells and attention); the other networks are the library's modules in a
hand-written loop, so that what is measured for them is the declaration's share alone. Same loss, same fused Adam, one resident batch; contenders
take turns, ratios are taken inside a turn. Processor time, one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import dgm_ppl as dgm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measure import elapsed, environment, interleaved, ratios, table, write_json

BATCH = 128
Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """A declared event and, where it is written in plain torch, the module from values to logits."""

    variable: dgm.Variable
    plain: Callable[[], nn.Module] | None = None

    def data(self) -> Tensor:
        shape, states = (BATCH, *self.variable.shape), self.variable.size
        return torch.randint(states, shape) if states else torch.bernoulli(torch.rand(shape))


class PlainMADE(nn.Module):
    """One hidden layer and direct connections, masks as buffers."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.first, self.last, self.direct = nn.Linear(size, hidden), nn.Linear(hidden, size), nn.Linear(size, size, bias=False)
        place, degree = torch.arange(size), 1 + torch.arange(hidden) * (size - 1) // hidden
        self.register_buffer("seen", (place < degree[:, None]).float())
        self.register_buffer("read", (degree <= place[:, None]).float())
        self.register_buffer("before", (place < place[:, None]).float())

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.linear(x, self.first.weight * self.seen, self.first.bias).relu()
        return F.linear(hidden, self.last.weight * self.read, self.last.bias) + F.linear(x, self.direct.weight * self.before)


class PlainLSTM(nn.Module):
    def __init__(self, states: int, width: int):
        super().__init__()
        self.embedding, self.start = nn.Embedding(states, width), nn.Parameter(torch.zeros(width))
        self.cells, self.output = nn.LSTM(width, width, batch_first=True), nn.Linear(width, states)

    def forward(self, x: Tensor) -> Tensor:
        before = torch.cat([self.start.expand(len(x), 1, -1), self.embedding(x[:, :-1])], 1)
        return self.output(self.cells(before)[0])


class PlainTransformer(nn.Module):
    def __init__(self, states: int, length: int, width: int, layers: int, heads: int):
        super().__init__()
        self.embedding, self.start, self.positions = nn.Embedding(states, width), nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.output = nn.Linear(width, states)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: Tensor) -> Tensor:
        before = torch.cat([self.start.expand(len(x), 1, -1), self.embedding(x[:, :-1])], 1)
        return self.output(self.layers(before + self.positions, self.mask, is_causal=True))


CASES = {
    "FVSBN, 784 bits": Case(dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.FVSBN())),
    "MADE(500), 784 bits": Case(dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.MADE(500)), lambda: PlainMADE(784, 500)),
    "NADE(32), 784 bits": Case(dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.NADE(32))),
    "gated PixelCNN(8, 3 layers), 28 x 28": Case(dgm.Autoregressive(dgm.Bernoulli(1, 28, 28), net=dgm.PixelCNN(8, layers=3))),
    "PixelCNN(8, 3 layers), masked, 28 x 28": Case(dgm.Autoregressive(dgm.Bernoulli(1, 28, 28), net=dgm.PixelCNN(8, layers=3, gated=False))),
    "PixelSNAIL(8, 2 layers), 14 x 14": Case(dgm.Autoregressive(dgm.Bernoulli(1, 14, 14), net=dgm.PixelSNAIL(8, layers=2))),
    "LSTM(128), 64 of 65 tokens": Case(dgm.Autoregressive(dgm.Categorical(65, 64), net=dgm.Recurrent(128)), lambda: PlainLSTM(65, 128)),
    "transformer(64, 2 layers), 64 of 65 tokens": Case(dgm.Autoregressive(dgm.Categorical(65, 64), net=dgm.Transformer(64, layers=2)), lambda: PlainTransformer(65, 64, 64, 2, 4)),
    "WaveNet(16, 6 layers), 256 of 256 codes": Case(dgm.Autoregressive(dgm.Categorical(256, 256), net=dgm.WaveNet(16, layers=6, cycles=1))),
}
REFERENCE = "torch by hand"


def stepping(parameters: Iterable[Tensor], loss: Callable[[], Tensor]) -> Step:
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()
    return step


def by_hand(case: Case, x: Tensor) -> Step:
    if case.plain is not None:
        module = case.plain().to(x.device)
        logits = lambda: module(x)  # noqa: E731
    else:
        module = dgm.compile(dgm.BayesNet(x=case.variable), seed=0).to(x.device).conditional("x").network
        read = x if case.variable.size else x[..., None]
        logits = (lambda: module(read)) if case.variable.size else (lambda: module(read)[..., 0])
    if case.variable.size:
        return stepping(module.parameters(), lambda: F.cross_entropy(logits().flatten(0, -2), x.flatten(), reduction="sum") / BATCH)
    return stepping(module.parameters(), lambda: F.binary_cross_entropy_with_logits(logits(), x, reduction="sum") / BATCH)


def declared(case: Case, x: Tensor) -> Step:
    objective = dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet(x=case.variable), seed=0)).to(x.device)
    (player,) = objective.players
    batch = objective.prepare({"x": x})
    return stepping(player.parameters, lambda: player.loss(batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one turn of the reference (default 0.3)")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--device", default="cpu", help="where the steps run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = environment(seed=options.seed, rounds=options.rounds, batch=BATCH)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    results = {}
    for name, case in CASES.items():
        if options.only.lower() not in name.lower():
            continue
        torch.manual_seed(options.seed)
        x = case.data().to(options.device)
        steps = {REFERENCE: by_hand(case, x), "torch by hand, again": by_hand(case, x), "dgm_ppl": declared(case, x)}
        warm = min(elapsed(step, 2, clock) for step in steps.values())
        timers = {contender: partial(elapsed, step, max(1, round(options.seconds / warm)), clock) for contender, step in steps.items()}
        results[name] = ratios(interleaved(timers, options.rounds), REFERENCE)
        print(f"\n{name}{'' if case.plain else ' (the same module in a hand-written loop)'}\n{table(results[name])}", flush=True)
    write_json(options.json, {"environment": about, "results": results})


if __name__ == "__main__":
    main()
