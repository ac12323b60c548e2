"""Hierarchies of latents on dynamically binarised MNIST: the guide that the graph implies against cheaper structures, at the same budget.

    python benchmarks/deep_latent.py --data FOLDER [--models burda ten] [--structures faithful forward mean-field] [--epochs 30] [--device cuda] [--json FILE]

`burda`: two layers of 50 and 100 latents with the networks of Burda, Grosse and Salakhutdinov (2016, https://arxiv.org/abs/1509.00519); published
after 3,280 epochs: 85.33 nats for one sample (VAE), 83.89 for five (IWAE). `ten`: ten layers of ten latents, each given the one above it by a
network of 200 units; published for such a model with another guide: 84.53 nats. Structures: `faithful` draws the layers from the data up, each
given the one below, which loses nothing; `forward` from the top down, each given the one above and the data, which loses nothing either;
`mean-field` each given the data alone. All have the same networks but for their inputs, the same batches and the same number of steps,
the weight of the divergence growing in the first of them (without that, so deep a hierarchy leaves its latents unused for very long, whoever writes it);
the test NLL is estimated by importance sampling from the guide.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import dgm_ppl as dgm
from measure import environment, write_json
from mnist import Digits, binarize, load

PUBLISHED = {"burda": {"VAE, 3,280 epochs": 85.33, "IWAE k = 5, 3,280 epochs": 83.89}, "ten": {"ten layers of ten": 84.53}}
STRUCTURES = {"faithful": dgm.Faithful(), "forward": dgm.Forward(), "mean-field": dgm.MeanField()}


def layers(*widths: int) -> dgm.MLP:
    return dgm.MLP(*widths, activation=nn.Tanh)


def declared(name: str, scale: float, pixels: torch.Tensor) -> tuple[dgm.BayesNet, dict[str, dgm.MLP]]:
    """The net, and the networks of its guide by latent; scales start at `scale`, and each pixel with its mean as probability."""
    logits = dgm.start(pixels.flatten().clamp(1e-3, 1 - 1e-3).logit().numpy())
    if name == "burda":
        net = dgm.BayesNet(
            z2=dgm.Normal(50, loc=0.0, scale=1.0), z1=dgm.Normal(100, scale=dgm.start(scale)).given("z2", net=layers(100, 100)), x=dgm.Bernoulli(784, logits=logits).given("z1", net=layers(200, 200)),
        )
        return net, {"z1": layers(200, 200), "z2": layers(100, 100)}
    nodes = {"z10": dgm.Normal(10, loc=0.0, scale=1.0)}
    for place in range(9, 0, -1):
        nodes[f"z{place}"] = dgm.Normal(10, scale=dgm.start(scale)).given(f"z{place + 1}", net=layers(200))
    return dgm.BayesNet(**nodes, x=dgm.Bernoulli(784, logits=logits).given("z1", net=layers(200, 200))), {latent: layers(200) if latent != "z1" else layers(200, 200) for latent in nodes}


def train(name: str, structure: str, digits: Digits, options: argparse.Namespace) -> dict[str, object]:
    net, nets = declared(name, options.scale, digits.mean)
    model, guide = dgm.compile(net, seed=options.seed), dgm.compile(dgm.amortize(net, "x", structure=STRUCTURES[structure], nets=nets, family=dgm.Usual(scale=options.scale)), seed=options.seed + 1)
    steps, start, curve = math.ceil(len(digits.train) / options.batch_size), time.perf_counter(), []
    last = max(1, steps * options.anneal)
    objective = dgm.ELBO(model, guide, kl_weight=lambda step: min(1.0, step / last)) if options.particles == 1 else dgm.IWAE(model, guide, particles=options.particles)

    def nll(x: torch.Tensor, samples: int) -> float:
        found = [dgm.log_prob(model, {"x": rows}, method=dgm.Importance(guide, samples)).value for rows in x.flatten(1).split(500)]
        return -torch.cat(found).mean().item()

    def watch(moment: object) -> None:
        if moment.step % steps == 0 and moment.epoch % options.every == 0:
            curve.append({"epoch": moment.epoch, "nll": nll(digits.glance(), 100), "seconds": time.perf_counter() - start})
            print(f"{name} {structure} epoch {moment.epoch:4}  test NLL {curve[-1]['nll']:7.2f}  {curve[-1]['seconds']:6.0f} s", flush=True)

    dgm.fit(
        objective, {"x": digits.train.flatten(1)}, transform=lambda batch: {"x": binarize(batch["x"])}, epochs=options.epochs, batch_size=options.batch_size,
        optimizer=dgm.Adam(lr=options.lr), schedule=lambda optimizer: CosineAnnealingLR(optimizer, steps * options.epochs), callbacks=watch,
        device=options.device, seed=options.seed, progress=False,
    )
    seconds = time.perf_counter() - start
    elbo = dgm.ELBO(model, guide).score(dgm.ELBO(model, guide).prepare({"x": digits.test.flatten(1)[:2000]})).mean().item()
    result = {"model": name, "structure": structure, "nll": nll(digits.test, options.samples), "bound": -elbo, "seconds": seconds, "curve": curve}
    print(f"{name:6} {structure:11} test NLL {result['nll']:.2f} nats, bound {result['bound']:.2f}, {seconds:.0f} s; published {PUBLISHED[name]}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="mnist.npz or its folder")
    parser.add_argument("--models", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--anneal", type=int, default=10, help="epochs in which the weight of the divergence grows from nothing to 1")
    parser.add_argument("--particles", type=int, default=1, help="1 trains the ELBO, more the importance-weighted bound")
    parser.add_argument("--scale", type=float, default=math.exp(-2), help="where the scales of the latents start, in the model and in the guide")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--samples", type=int, default=5000, help="importance samples of the final estimate")
    parser.add_argument("--every", type=int, default=5, help="epochs between points of the curve")
    parser.add_argument("--rows", type=int, help="use only so many training and test images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    about = environment(**{key: str(value) for key, value in vars(options).items()})
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    digits = load(options.data).first(options.rows)
    results = [train(name, structure, digits, options) for name in options.models for structure in options.structures]
    write_json(options.json, {"environment": about, "published": PUBLISHED, "results": results})


if __name__ == "__main__":
    main()
