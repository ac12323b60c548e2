"""A variational autoencoder on real images: declare it, look at it, train it, ask it questions.

    python examples/vae.py                              # scikit-learn's 8x8 digit scans
    python examples/vae.py --data mnist.npz             # MNIST as a numpy archive (x_train, x_test)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor

import dgm_ppl as dgm


def images(path: str | None) -> tuple[Tensor, Tensor, Tensor]:
    """Grey values in [0, 1], `(rows, 1, height, width)`: to train, to validate, to test."""
    if path is None:
        pixels = torch.tensor(load_digits().images / 16, dtype=torch.float32).unsqueeze(1)
        pixels = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))]
        return pixels[:1297], pixels[1297:1447], pixels[1447:]
    file = Path(path) / "mnist.npz" if Path(path).is_dir() else Path(path)
    with numpy.load(file, allow_pickle=False) as archive:
        train, test = (torch.from_numpy(archive[name]).float().div(255).reshape(-1, 1, 28, 28) for name in ("x_train", "x_test"))
    return train[:-5000], train[-5000:], test


def binarised(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pixels drawn as coin flips with their grey value, anew for each minibatch."""
    return {"x": torch.bernoulli(batch["x"])}


def declare(shape: tuple[int, ...]) -> tuple[dgm.BayesNet, dgm.BayesNet]:
    """The model p(z) p(x | z) and the guide q(z | x) that its graph implies."""
    large = shape[-1] > 8
    net = dgm.BayesNet(
        z=dgm.Normal(20 if large else 10, loc=0.0, scale=1.0),
        x=dgm.Bernoulli(*shape).given("z", net=dgm.MLP(400 if large else 200)),
    )
    return net, dgm.amortize(net, observed="x", net=dgm.MLP(400 if large else 200))


def mosaic(path: Path, rows: list[Tensor]) -> None:
    """Saves rows of images as one picture."""
    figure = Figure(figsize=(len(rows[0]), len(rows)))
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05})
    for line, row in zip(axes, rows):
        for axis, image in zip(line, row):
            axis.imshow(image.squeeze(), cmap="gray_r", vmin=0, vmax=1)
            axis.set_axis_off()
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="MNIST as .npz, or the folder that holds mnist.npz")
    parser.add_argument("--epochs", type=int, help="training epochs (default 300; 20 for MNIST)")
    parser.add_argument("--samples", type=int, default=1000, help="importance samples for the log-likelihood")
    parser.add_argument("--out", default="out/vae", help="folder for pictures and the model")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)

    if options.data is None:
        torch.set_num_threads(1)                                            # networks this small gain nothing from a second one
    train, valid, test = images(options.data)
    net, recognition = declare(tuple(train.shape[1:]))
    print(f"The model:\n{net}\n\nThe guide, from its graph:\n{recognition}\n{recognition.certificate()}\n")
    print(net.check({"x": train[:2].round()}), "\n")
    picture = dgm.draw(net, guide=recognition)
    picture.save(out / "graph.svg")
    picture.save(out / "graph.png")

    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    run = dgm.fit(
        dgm.ELBO(model, guide), {"x": train}, validation={"x": valid}, epochs=options.epochs or (20 if options.data else 300), batch_size=100,
        optimizer=dgm.Adam(lr=1e-3), stopping=dgm.EarlyStopping(patience=50), transform=binarised, device=options.device, seed=0,
    )
    print(run)
    run.plot(out / "curves.png")

    torch.manual_seed(0)
    scored = torch.bernoulli(test[:1000])
    print("test, ELBO:      ", dgm.log_prob(model, {"x": scored}, method=dgm.Bound(guide, samples=100)))
    print("test, likelihood:", dgm.log_prob(model, {"x": scored}, method=dgm.Importance(guide, options.samples)))

    post = dgm.posterior(model, {"x": scored[:8]}, method=dgm.Amortized(guide))
    print("posterior of 8 test images:", post.diagnose())
    decoder = model.conditional("x")
    with torch.no_grad():
        mosaic(out / "samples.png", list(decoder(model.sample(40)["z"]).mean.cpu().unflatten(0, (5, 8))))
        mosaic(out / "reconstructions.png", [test[:8], scored[:8].cpu(), decoder(post.mean()["z"]).mean.cpu()])
    dgm.save(model, out / "model.safetensors")
    dgm.save(guide, out / "guide.safetensors")
    print(f"pictures and model in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


if __name__ == "__main__":
    main()
