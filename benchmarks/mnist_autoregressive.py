"""Test NLL of autoregressive models of binary digits, at a stated budget of time.

    python benchmarks/mnist_autoregressive.py --model made --data FOLDER --minutes 20 [--device cuda] [--curve FILE] [--json FILE]

Models with a name ending in "fixed" are trained and tested on the fixed binarisation (`binarized_mnist.npz`, the validation part picks
the parameters); the others draw every pixel anew for every minibatch and are tested on images binarised once. The two are not comparable.
Adam with a learning rate that falls along a cosine to zero over the budget,
which is processor time on a CPU (one thread) and time on a clock on an accelerator.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import dgm_ppl as dgm
import numpy as np
import torch
from torch import Tensor

from measure import environment, write_json
from mnist import binarize, curve, load


@dataclass(frozen=True)
class Setup:
    """A declared event and network, how it is trained, and what was published."""

    variable: dgm.Variable
    fixed: bool
    rate: float
    batch: int
    published: dict[str, float]


def image(net: object, rate: float, batch: int, **published: float) -> Setup:
    return Setup(dgm.Autoregressive(dgm.Bernoulli(1, 28, 28), net=net), False, rate, batch, published)


def fully(net: object, fixed: bool, rate: float, **published: float) -> Setup:
    return Setup(dgm.Autoregressive(dgm.Bernoulli(784), net=net), fixed, rate, 100, published)


def setups() -> dict[str, Setup]:
    return {
        "fvsbn-fixed": fully(dgm.FVSBN(), True, 1e-3),
        "nade-fixed": fully(dgm.NADE(100), True, 3e-3, **{"NADE, 500 hidden units": 88.33}),
        "made-fixed": fully(dgm.MADE(1000), True, 1e-3, **{"MADE, 1 layer of 8000, one mask": 88.40, "MADE, 2 layers, 32 masks": 86.64}),
        "fvsbn": fully(dgm.FVSBN(), False, 1e-3, **{"FVSBN (pytorch-generative)": 96.58}),
        "made": fully(dgm.MADE(1000), False, 1e-3, **{"MADE (pytorch-generative)": 84.87}),
        "nade": fully(dgm.NADE(200), False, 1e-3, **{"NADE (pytorch-generative)": 85.65}),
        "pixelcnn": image(dgm.PixelCNN(32, layers=7, gated=False), 3e-3, 32, **{"PixelCNN (pytorch-generative)": 81.45}),
        "gated": image(dgm.PixelCNN(16, layers=6, kernel=5, first=9), 3e-3, 25, **{"gated PixelCNN (pytorch-generative)": 81.50}),
    }


def images(folder: Path, setup: Setup) -> tuple[Tensor, Tensor, Tensor]:
    """Training (bits, or intensities to be drawn from), validation and test images, `(rows, 1, 28, 28)`."""
    if not setup.fixed:
        digits = load(folder / "mnist")
        return digits.train[:50_000], binarize(digits.train[50_000:], torch.Generator().manual_seed(1)), digits.test
    with np.load(folder / "binarized_mnist" / "binarized_mnist.npz", allow_pickle=False) as arrays:
        parts = [torch.from_numpy(np.unpackbits(arrays[name], axis=1)[:, :784]).float() for name in ("train", "valid", "test")]
    return tuple(part.reshape(-1, 1, 28, 28) for part in parts)


@torch.no_grad()
def nll(model: dgm.Model, x: Tensor) -> float:
    """Mean of -log p over the rows, in nats."""
    model.eval()
    found = torch.cat([model.log_prob({"x": rows}) for rows in x.split(250)])
    model.train()
    return -float(found.mean())


def train(setup: Setup, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """The curve and the final figure; the budget counts the processor time of training and of its checks."""
    torch.manual_seed(options.seed)
    parts = [part.reshape(len(part), *setup.variable.shape).to(options.device) for part in images(folder, setup)]
    train_part, valid, test = parts
    model = dgm.compile(dgm.BayesNet(x=setup.variable), seed=options.seed).to(options.device)
    objective = dgm.MaximumLikelihood(model)
    (player,) = objective.players
    optimizer = dgm.Adam(lr=setup.rate)(player.parameters)
    clock, rate, batch = time.process_time if options.device == "cpu" else time.perf_counter, options.lr or setup.rate, options.batch_size or setup.batch
    budget, begin, history, best, epoch = 60 * options.minutes, clock(), [], (math.inf, None), 0
    while (spent := clock() - begin) < budget:
        for rows in torch.randperm(len(train_part), device=options.device).split(batch):
            spent = clock() - begin
            for group in optimizer.param_groups:
                group["lr"] = 1e-6 + rate * 0.5 * (1 + math.cos(math.pi * min(1.0, spent / budget)))
            x = train_part[rows]
            optimizer.zero_grad()
            player.loss(objective.prepare({"x": x if setup.fixed else binarize(x)})).backward()
            optimizer.step()
            if spent > budget:
                break
        epoch += 1
        value = nll(model, valid[:2000])
        if value < best[0]:
            best = value, copy.deepcopy(model.state_dict())
        history.append({"epoch": epoch, "nll": value, "minutes": (clock() - begin) / 60})
        print(f"epoch {epoch:3}  {history[-1]['minutes']:6.2f} min  validation NLL {value:.2f}", flush=True)
    model.load_state_dict(best[1])
    return {"test_nll": nll(model, test), "parameters": sum(weight.numel() for weight in model.parameters()), "epochs": epoch, "history": history}


def main() -> None:
    known = setups()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=known, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mnist/ and binarized_mnist/")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor time (default 20)")
    parser.add_argument("--batch-size", type=int, help="another than the model's own")
    parser.add_argument("--lr", type=float, help="another first learning rate than the model's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curve", metavar="FILE", help="draw the curve here")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = environment(model=options.model, minutes=options.minutes, seed=options.seed, batch=options.batch_size, lr=options.lr, device=options.device)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    setup = known[options.model]
    result = train(setup, options.data, options)
    print(f"{options.model}: test NLL {result['test_nll']:.2f} nats, {result['parameters']:,} parameters, {result['epochs']} epochs; published {setup.published}")
    if options.curve:
        curve({options.model: result["history"]}, setup.published, options.curve)
    write_json(options.json, {"environment": about, "declaration": repr(setup.variable), "published": setup.published, **result})


if __name__ == "__main__":
    main()
