"""Test NLL of Burda's one-layer VAE and IWAE on dynamically binarised MNIST, trained by the library.

    python benchmarks/mnist_vae.py --data FOLDER [--bounds VAE IWAE] [--k 1 5] [--json FILE] [--curve PNG]

k is the number of samples of z a row in training. Published for this architecture after 3,280 epochs, with 5,000 importance
samples: 86.76 nats for k = 1; for k = 5, 86.47 (VAE) and 85.54 (IWAE) (Burda, Grosse and Salakhutdinov 2016,
https://arxiv.org/abs/1509.00519, table 1). `--by torch` trains the same networks in hand-written torch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

import burda
import dgm_ppl as dgm
from measure import environment, write_json
from mnist import Digits, binarize, curve, importance_nll, load

PUBLISHED = {"k = 1, 3,280 epochs (Burda)": 86.76, "IWAE k = 5, 3,280 epochs (Burda)": 85.54}
GLANCE_SAMPLES = 100

NLL = Callable[[Tensor, int], float]  # images and importance samples to nats a row


@dataclass
class Watch:
    """Records the estimated test NLL after every few epochs, and the training seconds without that."""

    x: Tensor
    every: int
    nll: NLL
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def __call__(self, epoch: int) -> None:
        self.seconds += time.perf_counter() - self.since
        if epoch % self.every == 0:
            nll = self.nll(self.x, GLANCE_SAMPLES)
            self.rows.append({"epoch": epoch, "nll": nll, "seconds": round(self.seconds, 1)})
            print(f"epoch {epoch:4}  test NLL {nll:7.2f}  {self.seconds:6.0f} s", flush=True)
        self.since = time.perf_counter()


def by_dgm_ppl(digits: Digits, bound: str, k: int, options: argparse.Namespace) -> Watch:
    mean = digits.mean
    net = dgm.BayesNet(
        z=dgm.Normal(50, loc=0.0, scale=1.0),
        x=dgm.Bernoulli(1, 28, 28).given("z", net=dgm.Flat(burda.decoder(mean))),
    )
    model = dgm.compile(net)
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.Flat(burda.encoder(mean))))
    objective = {"VAE": dgm.ELBO, "IWAE": dgm.IWAE}[bound](model, guide, particles=k)

    def nll(x: Tensor, samples: int) -> float:
        return -dgm.log_prob(model, {"x": x}, method=dgm.Importance(guide, samples)).value.mean().item()

    watch = Watch(digits.glance(), options.every, nll)
    steps = math.ceil(len(digits.train) / options.batch_size)
    dgm.fit(
        objective,
        {"x": digits.train},
        transform=lambda batch: {"x": binarize(batch["x"])},
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=dgm.Adam(lr=options.lr),
        schedule=lambda optimizer: CosineAnnealingLR(optimizer, steps * options.epochs),
        callbacks=lambda moment: moment.step % steps or watch(moment.epoch),
        progress=False,
    )
    return watch


def by_torch(digits: Digits, bound: str, k: int, options: argparse.Namespace) -> Watch:
    model = burda.Autoencoder(digits.mean)
    loss = {"VAE": model.elbo_loss, "IWAE": model.iwae_loss}[bound]
    watch = Watch(digits.glance(), options.every, lambda x, samples: importance_nll(model.log_weights, x, samples))
    burda.train(
        list(model.parameters()), lambda x: loss(x, k), digits.train,
        epochs=options.epochs, batch_size=options.batch_size, lr=options.lr, after_epoch=watch,
    )
    return watch


BY = {"dgm_ppl": by_dgm_ppl, "torch": by_torch}


def report(bound: str, k: int, digits: Digits, options: argparse.Namespace) -> dict[str, object]:
    """Train one model and estimate its test NLL."""
    torch.manual_seed(options.seed)
    print(f"\n{bound}, k = {k}, by {options.by}", flush=True)
    watch = BY[options.by](digits, bound, k, options)
    nll, each = watch.nll(digits.test, options.samples), watch.seconds / options.epochs
    print(f"test NLL {nll:.2f} nats ({len(digits.test):,} images, {options.samples:,} samples), {each:.1f} s an epoch")
    return {"bound": bound, "k": k, "nll": nll, "seconds_per_epoch": each, "curve": watch.rows}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="mnist.npz or its folder")
    parser.add_argument("--by", choices=BY, default="dgm_ppl", help="who trains (default %(default)s)")
    parser.add_argument("--bounds", choices=["VAE", "IWAE"], nargs="+", default=["VAE", "IWAE"])
    parser.add_argument("--k", type=int, nargs="+", default=[1, 5], help="samples a row in training (default 1 5)")
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
    runs = [(bound, k) for k in options.k for bound in options.bounds if k > 1 or bound == options.bounds[0]]
    results = [report(bound, k, digits, options) for bound, k in runs]  # with k = 1 the two bounds are one
    write_json(options.json, {"environment": about, "results": results})
    if options.curve is not None:
        curve({f"{row['bound']}, k = {row['k']}": row["curve"] for row in results}, PUBLISHED, options.curve)


if __name__ == "__main__":
    main()
