"""What reads an image best in a derived guide: the perceptron of every latent, or a convolutional encoder that latents share.

    python benchmarks/image_encoders.py [--data FOLDER] [--epochs 20] [--rows 10000] [--seeds 1] [--device cpu] [--json FILE]

VAEs with perceptrons as decoders: digit scans of 8 x 8 (scikit-learn's) and, with FOLDER/mnist/mnist.npz and FOLDER/cifar10/*.npz, MNIST of 28 x 28
(binary, drawn once) and CIFAR-10 of 32 x 32 (scale 0.2). Reported: the ELBO of held-out images in nats, and the seconds that training took.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import torch
from measure import environment, write_json
from sklearn.datasets import load_digits
from torch import Tensor

import dgm_ppl as dgm

ENCODERS = {"perceptron": None, "ConvNet(16, 32)": dgm.ConvNet(16, 32), "ConvNet(32, 64)": dgm.ConvNet(32, 64)}


def cases(folder: Path | None, rows: int, epochs: int) -> Iterator[tuple[str, dgm.BayesNet, Tensor, int]]:
    """Name, net, images and epochs; the last tenth of the images is held out."""
    torch.manual_seed(0)
    digits = torch.tensor(load_digits().images).float().unsqueeze(1) / 16
    yield "digits 8 x 8", net_of(dgm.Bernoulli(1, 8, 8), 8), torch.bernoulli(digits[torch.randperm(len(digits))]), 2 * epochs
    if folder is None:
        return
    with numpy.load(folder / "mnist" / "mnist.npz", allow_pickle=False) as held:
        mnist = torch.tensor(held["x_train"][:rows]).reshape(-1, 1, 28, 28) / 255
    yield "MNIST 28 x 28", net_of(dgm.Bernoulli(1, 28, 28), 16), torch.bernoulli(mnist), epochs
    with numpy.load(next((folder / "cifar10").glob("*.npz")), allow_pickle=False) as held:
        cifar = torch.tensor(held["x"][:rows]).permute(0, 3, 1, 2) / 255
    yield "CIFAR-10 32 x 32", net_of(dgm.Normal(3, 32, 32, scale=0.2), 32), cifar, epochs


def net_of(image: dgm.families.Variable, latents: int) -> dgm.BayesNet:
    return dgm.BayesNet(z=dgm.Normal(latents, loc=0.0, scale=1.0), x=image.given("z", net=dgm.MLP(256)))


def trained(net: dgm.BayesNet, images: Tensor, encoder: object, epochs: int, seed: int, device: str) -> tuple[float, float]:
    """The held-out ELBO, and the seconds of training."""
    model, guide = dgm.compile(net, seed=seed), dgm.compile(dgm.amortize(net, "x", encoders={"x": encoder}), seed=seed)
    cut = len(images) * 9 // 10
    objective, start = dgm.ELBO(model, guide), time.perf_counter()
    dgm.fit(objective, {"x": images[:cut]}, epochs=epochs, batch_size=100, optimizer=dgm.Adam(lr=1e-3), seed=seed, device=device)
    seconds = time.perf_counter() - start
    torch.manual_seed(seed)
    return float(objective.score(objective.prepare({"x": images[cut:].to(device)})).mean()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with mnist/ and cifar10/; digit scans alone without")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, net, images, epochs in cases(options.data, options.rows, options.epochs):
        for label, encoder in ENCODERS.items():
            found = [trained(net, images, encoder, epochs, seed, options.device) for seed in range(options.seeds)]
            results[f"{name}: {label}"] = found
            print(f"{name:18} {label:16} " + "  ".join(f"{bound:9.2f} nats {seconds:6.1f} s" for bound, seconds in found), flush=True)
    write_json(options.json, {"environment": environment(epochs=options.epochs, rows=options.rows), "results": results})


if __name__ == "__main__":
    main()
