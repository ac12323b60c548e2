"""Latent diffusion: a diffusion of a trained autoencoder's latents takes the place of its Gaussian prior, by declaration.

    python examples/latent_diffusion.py                 # scikit-learn's 8x8 digit scans
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

import dgm_ppl as dgm

LATENT = 12


def binarised(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pixels drawn as coin flips with their grey value, anew for each minibatch."""
    return {"x": torch.bernoulli(batch["x"])}


def bound(model: dgm.Model, guide: dgm.Model, x: Tensor, draws: int = 200) -> Tensor:
    """The ELBO of each image, a mean of draws: of z, and of the diffusion's time."""
    objective = dgm.ELBO(model, guide)
    batch = objective.prepare({"x": x})
    with torch.no_grad():
        return torch.stack([objective.score(batch) for _ in range(draws)]).mean(0)


def mosaic(path: Path, images: dict[str, Tensor]) -> None:
    """Saves images side by side, one block a name."""
    figure = Figure(figsize=(4 * len(images), 4))
    for axis, (title, block) in zip(figure.subplots(1, len(images)), images.items()):
        axis.imshow(block[:64].reshape(8, 8, 8, 8).transpose(1, 2).reshape(64, 64), cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(title)
        axis.set_axis_off()
    figure.savefig(path, dpi=80, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000, help="of training, for either stage")
    parser.add_argument("--out", default="out/latent_diffusion", help="folder for pictures and the model")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    scans = load_digits()
    order = torch.randperm(len(scans.target), generator=torch.Generator().manual_seed(0))
    pixels, labels = torch.tensor(scans.images / 16, dtype=torch.float32).unsqueeze(1)[order], torch.tensor(scans.target)[order]
    train, test = pixels[:1400], pixels[1400:]

    # the autoencoder: its divergence weighed low, so that the latents say much and leave the Gaussian
    net = dgm.BayesNet(z=dgm.Normal(LATENT, loc=0.0, scale=1.0), x=dgm.Bernoulli(1, 8, 8).given("z", net=dgm.MLP(200)))
    recognition = dgm.amortize(net, observed="x", net=dgm.MLP(200))
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    dgm.fit(
        dgm.ELBO(model, guide, kl_weight=0.1), {"x": train}, steps=options.steps, batch_size=100, optimizer=dgm.Adam(lr=1e-3), transform=binarised, device="cpu", seed=0,
    )

    # the prior: a diffusion of what the guide makes of the training images
    torch.manual_seed(0)
    codes = dgm.posterior(model, {"x": torch.bernoulli(train)}, method=dgm.Amortized(guide)).sample(10)["z"].flatten(0, 1)
    prior = dgm.BayesNet(z=dgm.Diffusion(LATENT, net=dgm.MLP(256, 256, activation=nn.SiLU), sampler=dgm.DPMSolver(40)))
    run = dgm.fit(
        dgm.MaximumLikelihood(dgm.compile(prior, seed=2)), {"z": codes}, steps=options.steps, batch_size=200, optimizer=dgm.Adam(lr=1e-3), average=0.998, device="cpu", seed=0,
    )

    # both together: the same net with another prior
    latent = net.replace(z=prior["z"])
    composed = dgm.compile(latent)
    composed.conditional("z").load_state_dict(run.averaged.model.conditional("z").state_dict())
    composed.conditional("x").load_state_dict(model.conditional("x").state_dict())
    print(latent)
    dgm.draw(latent, guide=recognition).save(out / "graph.svg")

    torch.manual_seed(0)
    features = dgm.metrics.train_features(train, labels[:1400], width=32, epochs=10)
    shown, scored = {}, torch.bernoulli(test)
    for name, each in {"Gaussian prior": model, "diffusion prior": composed}.items():
        value, drawn = bound(each, guide, scored), each.sample(len(test))["z"]
        with torch.no_grad():
            shown[name] = each.conditional("x")(drawn).mean
        distance = dgm.metrics.frechet_distance(features(test), features(shown[name]))
        print(f"{name:16} test bound {value.mean():8.2f} nats (± {value.std() / len(value) ** 0.5:.2f} over images), {distance}")
    mosaic(out / "samples.png", {"scans": test, **shown})
    dgm.save(composed, out / "model.safetensors")
    print(f"pictures and model in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


if __name__ == "__main__":
    main()
