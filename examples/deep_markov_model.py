"""A deep Markov model of a ball that bounces between two walls, seen as a row of flickering lamps; its guide is derived from the graph.

    python examples/deep_markov_model.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import dgm_ppl as dgm

LAMPS = 16


def bounces(rows: int, seed: int) -> list[Tensor]:
    """Sequences of 10 to 25 steps, `(steps, lamps)` of zeros and ones: the lamps near the ball are on, mostly."""
    dice = torch.Generator().manual_seed(seed)
    sequences = []
    for _ in range(rows):
        steps = int(torch.randint(10, 26, (), generator=dice))
        start, speed = 2 * torch.rand(2, generator=dice)
        path = start + (0.05 + 0.1 * speed) * torch.arange(steps)
        ball = (LAMPS - 1) * (1 - (path % 2 - 1).abs())                     # there and back
        near = torch.exp(-0.5 * (torch.arange(LAMPS) - ball[:, None]).square())
        sequences.append(torch.bernoulli(0.02 + 0.93 * near, generator=dice))
    return sequences


def declare(latent: int = 4, width: int = 48) -> tuple[dgm.BayesNet, dgm.BayesNet]:
    """The model, and the guide that draws each state given the one before and a recurrent reading of what is still to come."""
    moving = dgm.MLP(width, activation=nn.Tanh)                             # bounded units: what is fed back cannot run away
    net = dgm.BayesNet(
        z=dgm.Normal(latent).given(dgm.lag("z"), net=moving),
        x=dgm.Bernoulli(LAMPS).given("z", net=dgm.MLP(width)),
        plates={"time": dgm.Chain(["z", "x"])},
    )
    return net, dgm.amortize(net, observed="x", net=moving, encoder=dgm.RecurrentState(width))


def show(path: Path, pictures: dict[str, Tensor]) -> None:
    """Saves sequences side by side, time downwards."""
    figure = Figure(figsize=(2 * len(pictures), 3.5))
    for axis, (title, picture) in zip(figure.subplots(1, len(pictures)), pictures.items()):
        axis.imshow(picture.cpu(), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
        axis.set_title(title, fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--out", default="out/deep_markov_model", help="folder for pictures")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)                                                # networks this small gain nothing from a second one

    net, recognition = declare()
    print(f"The model:\n{net}\n\nThe guide, from its graph:\n{recognition}\n\n{recognition.certificate(3)}\n")
    dgm.draw(net, guide=recognition).save(out / "graph.svg")

    train, valid = bounces(options.rows, seed=0), bounces(50, seed=1)
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    grown = 20 * options.rows // 50                                         # steps in which the weight of the divergence grows
    objective = dgm.ELBO(model, guide, kl_weight=lambda step: min(1.0, 0.1 + step / grown))
    print(dgm.fit(objective, {"x": train}, validation={"x": valid}, epochs=options.epochs, batch_size=50, optimizer=dgm.Adam(lr=3e-3), seed=0))

    torch.manual_seed(0)
    steps = sum(map(len, valid))
    alone = torch.cat(train).mean(0).clamp(0.01, 0.99)
    independent = torch.distributions.Bernoulli(alone).log_prob(torch.cat(valid)).sum() / steps
    print(f"validation, nats a step: lamps by themselves {independent:.2f}")
    for name, method in {"bound": dgm.Bound(guide, samples=20), "importance": dgm.Importance(guide, 200)}.items():
        print(f"validation, nats a step: {name} {dgm.log_prob(model, {'x': valid}, method=method).value.sum() / steps:.2f}")

    states = dgm.posterior(model, {"x": valid[:1]}, method=dgm.Amortized(guide)).mean()["z"]
    with torch.no_grad():
        shown = model.conditional("x")(states).mean[0]
    drawn = model.sample(2, sizes={"time": 25})["x"]
    show(out / "sequences.png", {"a sequence": valid[0], "its lamps, smoothed": shown, "drawn": drawn[0], "drawn again": drawn[1]})
    print(f"pictures in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


if __name__ == "__main__":
    main()
