"""Test NLL of Burda's one-layer VAE and IWAE on dynamically binarised MNIST, trained by the library.

    python benchmarks/mnist_vae.py --data FOLDER [--k 1 5] [--epochs 100] [--json FILE] [--curve PNG]

Published for this architecture, after 3,280 epochs: 86.76 nats (VAE) and 85.54 (IWAE, k = 5), with 5,000 importance samples
(Burda, Grosse and Salakhutdinov 2016, https://arxiv.org/abs/1509.00519). `--by torch` trains the same thing hand-written.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import burda
import dgm_ppl as dgm
from measure import environment, write_json
from mnist import Digits, binarize, curve, importance_nll, load

PUBLISHED = {"VAE, 3,280 epochs (Burda)": 86.76, "IWAE k=5, 3,280 epochs (Burda)": 85.54}
GLANCE_SAMPLES = 100


@dataclass
class Watch:
    """Records the estimated test NLL after every few epochs, and the training seconds without that."""

    x: Tensor
    every: int
    log_weights: Callable[[Tensor, int], Tensor]
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def __call__(self, epoch: int) -> None:
        self.seconds += time.perf_counter() - self.since
        if epoch % self.every == 0:
            nll = importance_nll(self.log_weights, self.x, GLANCE_SAMPLES)
            self.rows.append({"epoch": epoch, "nll": nll, "seconds": round(self.seconds, 1)})
            print(f"epoch {epoch:4}  test NLL {nll:7.2f}  {self.seconds:6.0f} s", flush=True)
        self.since = time.perf_counter()


@dataclass(frozen=True)
class Trained:
    """A finished training: its curve, its seconds, and its test NLL by importance samples."""

    watch: Watch
    nll: Callable[[Tensor, int], float]


def by_torch(digits: Digits, k: int, options: argparse.Namespace) -> Trained:
    model = burda.Autoencoder()
    watch = Watch(digits.glance(), options.every, model.log_weights)
    burda.train(
        model, digits.train, samples=k, epochs=options.epochs, batch_size=options.batch_size, lr=options.lr,
        after_epoch=watch,
    )
    return Trained(watch, partial(importance_nll, model.log_weights))


def by_dgm_ppl(digits: Digits, k: int, options: argparse.Namespace) -> Trained:
    net = dgm.BayesNet(
        z=dgm.Normal(50, loc=0.0, scale=1.0),
        x=dgm.Bernoulli(1, 28, 28).given("z", net=dgm.MLP(200, 200, activation=nn.Tanh)),
    )
    recognition = dgm.amortize(net, observed="x", net=dgm.MLP(200, 200, activation=nn.Tanh))
    model, guide = dgm.compile(net), dgm.compile(recognition)
    initialise(model, guide, digits.train)

    def log_weights(x: Tensor, samples: int) -> Tensor:
        return dgm.IWAE(model, guide, particles=samples).log_weights({"x": x})

    watch = Watch(digits.glance(), options.every, log_weights)
    steps = math.ceil(len(digits.train) / options.batch_size)
    dgm.fit(
        dgm.ELBO(model, guide) if k == 1 else dgm.IWAE(model, guide, particles=k),
        {"x": digits.train},
        transform=lambda batch: {"x": binarize(batch["x"])},
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=dgm.Adam(lr=options.lr),
        schedule=lambda optimizer: CosineAnnealingLR(optimizer, steps * options.epochs),
        callbacks=lambda moment: moment.step % steps or watch(moment.epoch),
        progress=False,
    )
    return Trained(watch, partial(importance_nll, log_weights))


def initialise(model: nn.Module, guide: nn.Module, intensities: Tensor) -> None:
    """Glorot's weights (made for tanh), and pixels that start at their mean: 1 nat better after 100 epochs."""
    layers = [layer for net in (model, guide) for layer in net.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    pixels = next(layer for layer in reversed(list(model.modules())) if isinstance(layer, nn.Linear))
    with torch.no_grad():
        pixels.bias.copy_(intensities.mean(0).flatten().clamp(1e-3, 1 - 1e-3).logit())


BY = {"dgm_ppl": by_dgm_ppl, "torch": by_torch}


def report(k: int, digits: Digits, options: argparse.Namespace) -> dict[str, object]:
    """Train with k samples and estimate the test NLL."""
    torch.manual_seed(options.seed)
    print(f"\nk = {k}, by {options.by}", flush=True)
    trained = BY[options.by](digits, k, options)
    nll = trained.nll(digits.test, options.samples)
    each = trained.watch.seconds / options.epochs
    print(f"test NLL {nll:.2f} nats ({len(digits.test):,} images, {options.samples:,} samples), {each:.1f} s an epoch")
    return {"k": k, "nll": nll, "seconds_per_epoch": each, "curve": trained.watch.rows}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="mnist.npz or its folder")
    parser.add_argument("--by", choices=BY, default=next(iter(BY)), help="who trains (default %(default)s)")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 5], help="importance samples in training (default 1 5)")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-3, help="Adam's first learning rate (default %(default)s)")
    parser.add_argument("--samples", type=int, default=5000, help="importance samples of the final estimate")
    parser.add_argument("--every", type=int, default=5, help="epochs between points of the curve")
    parser.add_argument("--rows", type=int, default=None, help="use only so many training and test images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--curve", metavar="PNG", help="draw test NLL against epochs here")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    about = environment(**vars(options))
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    digits = load(options.data).first(options.rows)
    results = [report(k, digits, options) for k in options.k]
    write_json(options.json, {"environment": about, "results": results})
    if options.curve is not None:
        curve({f"k = {row['k']}": row["curve"] for row in results}, PUBLISHED, options.curve)


if __name__ == "__main__":
    main()
