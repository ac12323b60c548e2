"""Bits per character of tiny Shakespeare: a declared causal transformer and LSTM against plain torch ones of the same size.

    python benchmarks/text.py --data FOLDER [--steps 600] [--device cuda] [--json FILE]

The first nine tenths of the text are for training, the last for the test, both cut into pieces of 128 characters, each predicted from
its own beginning. All contenders see the same batches; Adam with a learning rate that falls along a cosine. Processor
time and one thread on a CPU, time on a clock on an accelerator.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import gzip
import math
import time
from collections.abc import Callable
from pathlib import Path

import dgm_ppl as dgm
import torch
from torch import Tensor, nn
from torch.nn import functional

from measure import environment, write_json

LENGTH, BATCH, RATE = 128, 32, 2e-3
Loss = Callable[[Tensor], Tensor]  # nats a row of a batch of codes, the mean


class PlainTransformer(nn.Module):
    """torch's own layers, normalized first, with a causal mask."""

    def __init__(self, states: int, width: int = 128, layers: int = 4, heads: int = 4):
        super().__init__()
        self.embedding, self.start = nn.Embedding(states, width), nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.output = nn.Linear(width, states)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, codes: Tensor) -> Tensor:
        before = torch.cat([self.start.expand(len(codes), 1, -1), self.embedding(codes[:, :-1])], 1)
        return self.output(self.layers(before + self.positions, self.mask, is_causal=True))


class PlainLSTM(nn.Module):
    """One layer of torch's LSTM."""

    def __init__(self, states: int, width: int = 256):
        super().__init__()
        self.embedding, self.start = nn.Embedding(states, width), nn.Parameter(0.02 * torch.randn(width))
        self.cells, self.output = nn.LSTM(width, width, batch_first=True), nn.Linear(width, states)

    def forward(self, codes: Tensor) -> Tensor:
        before = torch.cat([self.start.expand(len(codes), 1, -1), self.embedding(codes[:, :-1])], 1)
        return self.output(self.cells(before)[0])


def plain(module: nn.Module) -> tuple[nn.Module, Loss]:
    return module, lambda codes: functional.cross_entropy(module(codes).flatten(0, 1), codes.flatten()) * LENGTH


def declared(net: object, states: int) -> tuple[nn.Module, Loss]:
    model = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(states, LENGTH), net=net)), seed=0)
    objective = dgm.MaximumLikelihood(model)
    return model, lambda codes: objective({"x": codes})


def pieces(folder: Path) -> tuple[Tensor, Tensor, int]:
    """The text in codes, training and test, cut to pieces."""
    text = gzip.decompress((folder / "text" / "tiny_shakespeare.txt.gz").read_bytes()).decode()
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    split = len(codes) * 9 // 10
    parts = [part[: len(part) // LENGTH * LENGTH].reshape(-1, LENGTH) for part in (codes[:split], codes[split:])]
    return parts[0], parts[1], len(letters)


def measure(name: str, module: nn.Module, loss: Loss, parts: tuple[Tensor, Tensor], options: argparse.Namespace) -> dict[str, object]:
    """Trains for so many steps; bits per character of the test part, seconds a step."""
    train, test = parts
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)
    generator, offsets = torch.Generator().manual_seed(options.seed), train.flatten()
    curve, clock = [], time.process_time if options.device == "cpu" else time.perf_counter
    module.to(options.device)
    start = clock()
    for step in range(options.steps):
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        begins = torch.randint(len(offsets) - LENGTH, (BATCH, 1), generator=generator)
        value = loss(offsets[begins + torch.arange(LENGTH)].to(options.device, non_blocking=True))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if (step + 1) % 100 == 0:
            curve.append((step + 1, float(value.detach()) / LENGTH / math.log(2)))
            print(f"{name:24} step {step + 1:5}  training {curve[-1][1]:.3f} bits a character", flush=True)
    seconds = (clock() - start) / options.steps
    module.eval()
    with torch.no_grad():
        nats = sum(float(loss(rows.to(options.device))) * len(rows) for rows in test.split(64)) / len(test)
    row = {"bits": nats / LENGTH / math.log(2), "seconds": seconds, "parameters": sum(weight.numel() for weight in module.parameters()), "curve": curve}
    print(f"{name:24} test {row['bits']:.3f} bits a character, {row['parameters']:,} parameters, {seconds * 1e3:.0f} ms a step", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds text/")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = environment(seed=options.seed, steps=options.steps, device=options.device)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    *parts, states = pieces(options.data)
    torch.manual_seed(options.seed)
    contenders = {
        "LSTM, declared": declared(dgm.Recurrent(256), states), "LSTM, plain torch": plain(PlainLSTM(states)),
        "transformer, declared": declared(dgm.Transformer(128), states), "transformer, plain torch": plain(PlainTransformer(states)),
    }
    results = {name: measure(name, module, loss, tuple(parts), options) for name, (module, loss) in contenders.items()}
    write_json(options.json, {"environment": about, "results": results})


if __name__ == "__main__":
    main()
