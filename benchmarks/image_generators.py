"""Generators, diffusion, latent diffusion and inverse problems on MNIST (or scikit-learn's digit scans), each within a budget of training.

    python benchmarks/image_generators.py games --data FOLDER --minutes 2 [--device cuda] [--json FILE] [--pictures FOLDER]
    python benchmarks/image_generators.py stacked | diffusion | latent | joint | inverse | faces ...

- `games`: a GAN (perceptrons, R1), WGAN-GP (perceptrons, convolutions) and DCGAN (strided convolutions, batch normalization) and VAEs with the same generator networks, each trained as long.
- `stacked`: three digits as three channels, a thousand modes: how many a GAN finds, and how far their shares are from the data's.
- `diffusion`: a class-conditional U-Net on levels of pixels: bits per dimension, samplers of 20 and 250 steps from the same noise, guided classes.
- `latent`: a VAE of binarised digits, or of real pixels (`--pixels Normal`); a diffusion trained on its latents takes the place of its Gaussian prior.
- `joint`: adversarially learned inference (ALI, BiGAN) against the derived guide trained by ELBO on the same net.
- `inverse`: digits at half the resolution, or with a hole, with noise: guidance and particles of a diffusion prior, beside interpolation and the mean.
- `faces`: the same at half the resolution on the faces that ship in scikit-image.

The Fréchet distance is that of the features of a small classifier trained on the spot, between images made and test images. Times are of the processor, on a GPU of a clock.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dgm_ppl as dgm
import numpy as np
import torch
from dgm_ppl.metrics.measured import jackknife
from dgm_ppl.queries.comparing import covered
from torch import Tensor, nn

from measure import environment, write_json

MADE = 5000  # images a Fréchet distance is of, at most


def images_of(folder: Path | None, device: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Levels of pixels from 0 to the highest (255, or 16 for the scans) and labels, for training and test."""
    if folder is None:
        from sklearn.datasets import load_digits
        scans = load_digits()
        x, y = torch.tensor(scans.images).unsqueeze(1), torch.tensor(scans.target)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        parts = {"train": (x[order[:1400]], y[order[:1400]]), "test": (x[order[1400:]], y[order[1400:]])}
    else:
        with np.load(folder / "mnist.npz", allow_pickle=False) as held:
            parts = {part: (torch.from_numpy(held[f"x_{part}"]).unsqueeze(1), torch.from_numpy(held[f"y_{part}"])) for part in ("train", "test")}
    return {part: (x.long().to(device), y.long().to(device)) for part, (x, y) in parts.items()}


class Task:
    """The images as real numbers in [-1, 1], a classifier's features of them, and what was found."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.found = options, {}
        self.parts = images_of(options.data, options.device)
        if options.halved:
            self.parts = {part: (nn.functional.avg_pool2d(x.float(), 2).round().long(), y) for part, (x, y) in self.parts.items()}
        self.levels = int(self.parts["train"][0].max()) + 1
        self.x, self.u = (2 * self.parts[part][0] / (self.levels - 1) - 1 for part in ("train", "test"))
        self.y, self.v = self.parts["train"][1], self.parts["test"][1]
        self.shape = tuple(self.x.shape[1:])

    def shown(self, x: Tensor) -> Tensor:
        """The levels of pixels that a picture is shown with, and stored in."""
        return ((x.clamp(-1, 1) + 1) / 2 * (self.levels - 1)).round()

    def features(self) -> None:
        self.of = dgm.metrics.train_features(self.x, self.y, width=64, epochs=3 if len(self.x) > 5000 else 30)
        self.real = self.of(self.u[:MADE])
        self.found["features"] = {"accuracy": self.of.accuracy}
        print(f"features: accuracy {self.of.accuracy:.3f} on held-out images", flush=True)

    def fit(self, objective: nn.Module, data: dict[str, Tensor], *, minutes: float | None = None, average: float | None = 0.998, **settings: Any) -> dgm.Run:
        """Trains as long as the budget says."""
        clock = time.process_time if self.options.device == "cpu" else time.perf_counter
        deadline = clock() + 60 * (minutes or self.options.minutes)

        def stop(moment: object) -> None:
            if clock() > deadline:
                raise KeyboardInterrupt
        return dgm.fit(
            objective, data, epochs=100_000, batch_size=self.options.batch_size, seed=self.options.seed, average=average, progress=False, callbacks=stop, device=self.options.device, **settings,
        )

    def note(self, name: str, made: Tensor, **more: float) -> None:
        """The Fréchet distance of images to test images, and their picture."""
        distance = dgm.metrics.frechet_distance(self.real, self.of(made))
        self.found[name] = {"frechet": distance.value, "stderr": distance.stderr, **more}
        print(f"{name:34} Frechet {distance.value:7.2f} ± {distance.stderr:.2f}  {more}", flush=True)
        self.picture(name, made)

    def picture(self, name: str, made: Tensor) -> None:
        if self.options.pictures is None:
            return
        import matplotlib.image
        self.options.pictures.mkdir(parents=True, exist_ok=True)
        shown = made[:64].float().cpu().reshape(8, 8, *self.shape[1:]).transpose(1, 2).reshape(8 * self.shape[1], 8 * self.shape[2])
        matplotlib.image.imsave(self.options.pictures / f"{''.join(c if c.isalnum() else '_' for c in name)}.png", shown.numpy(), cmap="gray", vmin=-1, vmax=1)


# ---- games


def upward(latent: int, shape: tuple[int, ...], width: int) -> nn.Module:
    """DCGAN's generator for images of a quarter of the size at its start (Radford et al., 2016, https://arxiv.org/abs/1511.06434)."""
    side = shape[1] // 4
    return nn.Sequential(
        nn.Linear(latent, width * side * side, bias=False), nn.Unflatten(1, (width, side, side)), nn.BatchNorm2d(width), nn.ReLU(),
        nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(), nn.ConvTranspose2d(width // 2, shape[0], 4, 2, 1), nn.Flatten(),
    )


def downward(shape: tuple[int, ...], outputs: int, width: int) -> nn.Module:
    """DCGAN's critic."""
    side = shape[1] // 4
    return nn.Sequential(
        nn.Unflatten(1, shape), nn.Conv2d(shape[0], width // 2, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width // 2, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(width * side * side, outputs),
    )


class Leaky(nn.LeakyReLU):
    def __init__(self) -> None:
        super().__init__(0.2)


def games(task: Task) -> None:
    task.features()
    latent, count, inside, width = 64, min(MADE, len(task.u)), dgm.Interval(-1, 1), task.options.width
    z, start = dgm.Normal(latent, loc=0.0, scale=1.0), task.options.lr
    networks: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
        "perceptron": (lambda: dgm.MLP(256, 512), lambda outputs: dgm.MLP(512, 256)),
        "convolutions": (lambda: dgm.ConvTransposeNet(width, width // 2), lambda outputs: dgm.ConvNet(width // 2, width)),
        "DCGAN": (lambda: dgm.Flat(upward(latent, task.shape, width)), lambda outputs: dgm.Flat(downward(task.shape, outputs, width))),
    }
    usual, slow = dgm.Adam(lr=start, betas=(0.5, 0.9)), dgm.Adam(lr=2e-4, betas=(0.0, 0.9))
    players = {
        "GAN (R1)": ("perceptron", lambda: networks["perceptron"][1](1), usual, dgm.JensenShannon(), dgm.R1(1.0), 1, 0.998),
        "WGAN-GP, perceptrons": ("perceptron", lambda: dgm.MLP(512, 256, activation=Leaky), slow, dgm.Wasserstein(), dgm.GradientPenalty(10.0), 3, 0.999),
        "GAN (R1), convolutions": ("convolutions", lambda: networks["convolutions"][1](1), usual, dgm.JensenShannon(), dgm.R1(1.0), 1, 0.998),
        "WGAN-GP": ("convolutions", lambda: networks["convolutions"][1](1), usual, dgm.Wasserstein(), dgm.GradientPenalty(10.0), 3, 0.998),
        "DCGAN": ("DCGAN", lambda: networks["DCGAN"][1](1), usual, dgm.JensenShannon(), (), 1, None),
    }
    for name, (network, critic, optimizer, game, penalties, every, average) in players.items():
        if task.options.only not in network:
            continue
        model = dgm.compile(dgm.BayesNet(z=z, x=dgm.Generator(*task.shape, space=inside).given("z", net=networks[network][0]())), seed=task.options.seed)
        objective = dgm.Adversarial(model, {"x": critic()}, game=game, penalties=penalties, critic_steps=every)
        run = task.fit(objective, {"x": task.x}, average=average, optimizer=optimizer)
        trained = model if average is None else run.averaged.model
        task.note(name, trained.eval().sample(count)["x"], steps=run.step, parameters=size(trained))
    for network, (make, judge) in networks.items():
        if task.options.only not in network:
            continue
        for pixels in ("Normal", "Bernoulli"):
            autoencoder(task, f"VAE, {network}, {pixels}", z, (make(), judge(2 * latent)), pixels, None if network == "DCGAN" else 0.998)


def autoencoder(task: Task, name: str, z: dgm.Variable, nets: tuple[Any, Any], pixels: str, average: float | None) -> None:
    """A VAE with a game's generator: pixels of learned scale, or drawn black and white. Its pictures are the means of pixels, which are nearer to data than draws of them."""
    likelihood, binary = dgm.Normal(*task.shape, scale=dgm.free(0.3)), pixels == "Bernoulli"
    if binary:
        likelihood = dgm.Bernoulli(*task.shape)
    net = dgm.BayesNet(z=z, x=likelihood.given("z", net=nets[0]))
    model, guide = dgm.compile(net, seed=task.options.seed), dgm.compile(dgm.amortize(net, "x", net=nets[1]), seed=1)
    run = task.fit(
        dgm.ELBO(model, guide), {"x": (task.x + 1) / 2 if binary else task.x}, transform=(lambda batch: {"x": torch.bernoulli(batch["x"])}) if binary else None,
        average=average, optimizer=dgm.Adam(lr=1e-3),
    )
    trained = (model if average is None else run.averaged.model).eval()
    made = trained.sample(min(MADE, len(task.u)))
    mean, about = trained.conditional("x")(made["z"]).mean.detach(), {"steps": run.step, "parameters": size(trained)}
    task.note(name, 2 * mean - 1 if binary else mean, **about)
    task.note(f"{name}, draws of pixels", 2 * made["x"] - 1 if binary else made["x"], **about)


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


# ---- a thousand modes


def stacked(task: Task) -> None:
    """Three digits drawn apart, one a channel (Metz et al., 2017, https://arxiv.org/abs/1611.02163); a classifier reads each channel."""
    task.features()
    generator, rows, width = torch.Generator().manual_seed(task.options.seed), 26_000, task.options.width
    picked = torch.randint(len(task.x), (len(task.x), 3), generator=generator).to(task.x.device)
    data, shares = task.x[picked].flatten(1, 2), torch.bincount(hundreds(task.y[picked]), minlength=1000) / len(picked)
    shape, z = tuple(data.shape[1:]), dgm.Normal(128, loc=0.0, scale=1.0)
    net = dgm.BayesNet(z=z, x=dgm.Generator(*shape, space=dgm.Interval(-1, 1)).given("z", net=dgm.ConvTransposeNet(width, width // 2)))
    objective = dgm.Adversarial(dgm.compile(net, seed=task.options.seed), {"x": dgm.ConvNet(width // 2, width)}, game=dgm.Wasserstein(), penalties=dgm.GradientPenalty(10.0), critic_steps=3)
    run = task.fit(objective, {"x": data}, average=0.999, optimizer=dgm.Adam(lr=task.options.lr, betas=(0.5, 0.9)))
    model, counts = run.averaged.model.eval(), torch.zeros(1000, device=data.device)
    for _ in range(rows // 1000):
        made = model.sample(1000)["x"].flatten(0, 1).unsqueeze(1)
        counts += torch.bincount(hundreds(task.of.classify(made).reshape(1000, 3)), minlength=1000)
    found = counts / counts.sum()
    divergence = float(torch.where(found > 0, found * (found / shares.clamp_min(1 / len(picked))).log(), 0.0).sum())
    task.found["stacked"] = {"modes": int((counts > 0).sum()), "divergence": divergence, "steps": run.step, "parameters": size(model)}
    print(f"{task.found['stacked']['modes']} of 1000 modes in {rows} draws, KL(made || data) {divergence:.3f} nats after {run.step} steps", flush=True)


def hundreds(digits: Tensor) -> Tensor:
    """Three digits `(rows, 3)` as one number."""
    return digits[:, 0] * 100 + digits[:, 1] * 10 + digits[:, 2]


# ---- diffusion


def diffusion(task: Task) -> None:
    task.features()
    count, top = min(MADE, len(task.u)), task.levels - 1
    levels, held = (task.parts[part][0] for part in ("train", "test"))
    net = dgm.BayesNet(y=dgm.Given(states=10), x=dgm.Diffusion(*task.shape, net=dgm.UNet(*task.options.channels), levels=task.levels, drop={"y": 0.1}).given("y"))
    run = task.fit(dgm.Denoising(dgm.compile(net, seed=0), dgm.MinSNR(5.0)), {"x": levels, "y": task.y}, average=0.999, optimizer=dgm.Adam(lr=task.options.lr), clip=1.0)
    model, asked = run.averaged.model.eval(), (torch.arange(count) % 10).to(levels.device)
    with torch.no_grad():
        found = [dgm.log_prob(model, {"x": rows, "y": label}).value for rows, label in zip(held.split(500), task.v.split(500))]
    bits = -torch.cat(found).mean().item() / math.log(2) / math.prod(task.shape)
    task.found["bits"] = {"bits": bits, "steps": run.step, "parameters": size(model)}
    print(f"bound {bits:.3f} bits a dimension after {run.step} steps, {size(model):,} parameters", flush=True)
    rows = min(count, task.options.rows or count)
    samplers = {
        "250 DDIM steps": dgm.DDIM(250, clip=1.0), "20 DDIM steps": dgm.DDIM(20, clip=1.0), "20 Heun steps": dgm.Heun(20, clip=1.0), "20 DPM-Solver steps": dgm.DPMSolver(20, clip=1.0),
        "20 Adams-Bashforth steps": dgm.AdamsBashforth(20, clip=1.0), "guided by 2": dgm.AdamsBashforth(20, guidance={"y": 2.0}, clip=1.0), "250 ancestral steps": dgm.Ancestral(250, clip=1.0),
    }
    reference = None
    for name, sampler in samplers.items():
        pieces = []
        for seed, label in enumerate(asked[:rows].split(500)):
            torch.manual_seed(seed)                                         # every sampler starts from the same noise
            pieces.append(model.sampling(x=sampler).sample(given={"y": label})["x"])
        made = 2 * torch.cat(pieces).float() / top - 1
        reference = made if reference is None else reference
        ratio = compared(task, made, reference)
        task.note(f"diffusion, {name}", made, ratio=ratio.value, ratio_stderr=ratio.stderr, rows=rows, **{"class as asked": float((task.of.classify(made) == asked[:rows]).float().mean())})


def compared(task: Task, made: Tensor, reference: Tensor) -> dgm.metrics.Measured:
    """How many times the Fréchet distance of images is that of others made from the same noise; rows are left out of both at once, which tells errors in common apart."""
    def ratio(real: Tensor, first: Tensor, second: Tensor) -> float:
        return dgm.metrics.frechet_distance(real, first).value / dgm.metrics.frechet_distance(real, second).value
    return jackknife("ratio", ratio, task.real, task.of(made), task.of(reference), blocks=20)


# ---- latent diffusion


def latent(task: Task) -> None:
    task.features()
    count, wide, binary = min(MADE, len(task.u)), 32, task.options.pixels == "Bernoulli"
    x, test = task.x, task.u
    if binary:
        x, test = (x + 1) / 2, torch.bernoulli((test + 1) / 2, generator=torch.Generator(device=test.device).manual_seed(0))

    def seen(pixels: Tensor) -> Tensor:
        return torch.bernoulli(pixels) if binary else pixels
    likelihood = dgm.Bernoulli(*task.shape) if binary else dgm.Normal(*task.shape, scale=dgm.free(0.3))
    net = dgm.BayesNet(z=dgm.Normal(wide, loc=0.0, scale=1.0), x=likelihood.given("z", net=dgm.ConvTransposeNet(64, 32, hidden=(256,))))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.ConvNet(32, 64, hidden=(256,))), seed=1)
    run = task.fit(dgm.ELBO(model, guide), {"x": x}, transform=lambda batch: {"x": seen(batch["x"])}, optimizer=dgm.Adam(lr=1e-3))
    model, guide = run.averaged.model, run.averaged.guide

    prior = dgm.BayesNet(z=dgm.Diffusion(wide, net=dgm.MLP(512, 512, 512, activation=nn.SiLU), sampler=dgm.DPMSolver(50)))
    codes = torch.cat([dgm.posterior(model, {"x": seen(rows)}, method=dgm.Amortized(guide, samples=1)).sample(1)["z"][0] for rows in x.split(2000) for _ in range(2)])
    stage = task.fit(dgm.MaximumLikelihood(dgm.compile(prior, seed=2)), {"z": codes}, average=0.999, optimizer=dgm.Adam(lr=1e-3))
    composed = dgm.compile(net.replace(z=prior["z"])).to(task.options.device)
    composed.conditional("z").load_state_dict(stage.averaged.model.conditional("z").state_dict())
    composed.conditional("x").load_state_dict(model.conditional("x").state_dict())
    bounds: list[Tensor] = []
    for name, each, steps in (("Gaussian prior", model, run.step), ("diffusion prior", composed, stage.step)):
        objective = dgm.ELBO(each, guide)
        torch.manual_seed(1)
        with torch.no_grad():
            bounds.append(torch.stack([torch.cat([objective.score(objective.prepare({"x": rows})) for rows in test.split(500)]) for _ in range(10)]).mean(0))
        made = each.conditional("x")(each.sample(count)["z"]).mean.detach()
        task.note(f"VAE, {name}", 2 * made - 1 if binary else made, bound=float(bounds[-1].mean()), bound_stderr=float(bounds[-1].std() / len(test) ** 0.5), steps=steps)
    gain = bounds[1] - bounds[0]                                            # of the same images
    task.found["gain"] = {"bound": float(gain.mean()), "stderr": float(gain.std() / len(test) ** 0.5)}
    print(f"the bound gains {float(gain.mean()):.3f} ± {task.found['gain']['stderr']:.3f} nats", flush=True)


# ---- joint inference


def joint(task: Task) -> None:
    task.features()
    wide, count = 32, min(MADE, len(task.u))

    class Judge(nn.Module):
        """Reads an image by convolutions, then its latent too."""

        def __init__(self) -> None:
            super().__init__()
            side = task.shape[1] // 4
            self.shape = task.shape
            self.image = nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128 * side * side, 256))
            self.both = nn.Sequential(nn.Linear(256 + wide, 512), nn.LeakyReLU(0.2), nn.Linear(512, 512), nn.LeakyReLU(0.2), nn.Linear(512, 1))

        def forward(self, both: Tensor) -> Tensor:
            image, code = both[..., :math.prod(self.shape)], both[..., math.prod(self.shape):]
            return self.both(torch.cat([self.image(image.unflatten(-1, self.shape)), code], -1))

    net = dgm.BayesNet(z=dgm.Normal(wide, loc=0.0, scale=1.0), x=dgm.Normal(*task.shape, scale=dgm.free(0.2)).given("z", net=dgm.ConvTransposeNet(128, 64)))
    for name in ("ELBO", "ALI"):
        model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.ConvNet(64, 128, hidden=(256,))), seed=1)
        if name == "ELBO":
            run = task.fit(dgm.ELBO(model, guide), {"x": task.x}, optimizer=dgm.Adam(lr=1e-3))
        else:
            objective = dgm.Adversarial(model, {("x", "z"): dgm.Flat(Judge())}, guide=guide, penalties=dgm.R1(0.1))
            run = task.fit(objective, {"x": task.x}, optimizer=dgm.Adam(lr=2e-4, betas=(0.5, 0.9)))
        model, guide = run.averaged.model, run.averaged.guide

        def codes(x: Tensor) -> Tensor:
            return torch.cat([dgm.posterior(model, {"x": rows}, method=dgm.Amortized(guide, samples=20)).mean()["z"] for rows in x.split(500)])
        seen, unseen = codes(task.x[:20_000]), codes(task.u)
        probe = dgm.linear_probe(seen, task.y[:20_000])
        with torch.no_grad():
            again = torch.cat([model.conditional("x")(rows).mean for rows in unseen.split(500)])
            made = model.conditional("x")(model.sample(count)["z"]).mean
        task.note(
            name, made, **{"squared error of reconstructions": float((again - task.u).square().mean()), "linear probe": float(probe.accuracy(unseen, task.v)), "steps": run.step},
        )
        task.picture(f"{name} reconstructions", torch.stack([task.u[:32], again[:32]], 1).flatten(0, 1))


# ---- inverse problems


def measured(task: Task, x: Tensor, u: Tensor, what: dict[str, Any], minutes: float) -> None:
    """Posteriors of images given what was measured of them."""
    rows, shape = len(u), tuple(x.shape[1:])
    prior = dgm.BayesNet(x=dgm.Diffusion(*shape, net=dgm.UNet(*task.options.channels)))
    run = task.fit(dgm.Denoising(dgm.compile(prior, seed=0)), {"x": x}, minutes=minutes, optimizer=dgm.Adam(lr=task.options.lr), average=0.999, clip=1.0)
    print(f"diffusion prior: {run.step} steps", flush=True)
    for name, fn in what.items():
        seen = fn(u[:1]).shape[1:]
        y = dgm.Normal(*seen, scale=0.1).given("x", fn=fn)
        camera = dgm.compile(prior.add(y=y)).to(task.options.device)
        camera.load_state_dict(run.averaged.model.state_dict(), strict=False)
        torch.manual_seed(1)
        shown = fn(u) + 0.1 * torch.randn(rows, *seen, device=u.device)
        methods = {"guided": dgm.Guided(samples=40, steps=100, seed=0), "twisted": dgm.Twisted(particles=64, steps=100, seed=0)}
        frame = dgm.compare(camera, {"y": shown}, methods, truth={"x": u}, level=0.9).assign(problem=name)
        table = frame.drop(columns="diagnosis")
        print(table.to_string(index=False), flush=True)
        psnr = guesses(x, u, shown)
        print(f"{name}: " + ", ".join(f"{guess} psnr {value:.2f}" for guess, value in psnr.items()), flush=True)
        task.found[name] = {"methods": table.to_dict("records"), "baselines": psnr, "prior steps": run.step}


def guesses(x: Tensor, u: Tensor, shown: Tensor) -> dict[str, float]:
    """What the mean training image, and where an image was coarsened bicubic interpolation, reach: PSNR in decibels."""
    found = {"mean image": x.mean(0).expand_as(u)}
    if shown.ndim == u.ndim and shown.shape != u.shape:
        found["bicubic"] = nn.functional.interpolate(shown, size=u.shape[2:], mode="bicubic").clamp(-1, 1)
    return {name: 10 * math.log10(float((u.max() - u.min()) ** 2 / (value - u).square().mean())) for name, value in found.items()}


def inverse(task: Task) -> None:
    mask = torch.ones(task.shape, dtype=torch.bool)
    third = task.shape[1] // 3
    mask[:, third: 2 * third + 1, third: 2 * third + 1] = False
    measured(task, task.x, task.u[:: max(1, len(task.u) // task.options.images)][: task.options.images], {"half the resolution": dgm.Coarsen(2), "a hole": dgm.Mask(mask)}, task.options.minutes)


def intervals(task: Task) -> None:
    """Whether 90 % intervals of guided draws hold 90 % of the pixels: of pictures that the prior draws, and of test images; the class is known."""
    prior = dgm.BayesNet(c=dgm.Categorical(10), x=dgm.Diffusion(*task.shape, net=dgm.UNet(*task.options.channels)).given("c"))
    run = task.fit(dgm.Denoising(dgm.compile(prior, seed=task.options.seed)), {"x": task.x, "c": task.y}, optimizer=dgm.Adam(lr=task.options.lr), average=task.options.average, clip=1.0)
    print(f"diffusion prior: {run.step} steps", flush=True)
    rows, state = task.options.images, run.averaged.model.state_dict()
    side, third = task.shape[1], task.shape[1] // 3
    mask = torch.ones(task.shape, dtype=torch.bool)
    mask[:, third: 2 * third + 1, third: 2 * third + 1] = False
    labels = torch.arange(rows, device=task.x.device) % 10
    torch.manual_seed(1)
    of_prior = run.averaged.model.sampling(x=dgm.Ancestral(250)).sample(given={"c": labels})["x"]
    chosen = [int((task.v == label).nonzero()[i // 10]) for i, label in enumerate(labels.tolist())]
    pictures = {"of the prior": (of_prior, labels), "test images": (task.u[chosen], labels)}
    for name, fn in {"half the resolution": dgm.Coarsen(2), "a hole": dgm.Mask(mask)}.items():
        if task.options.only not in name:
            continue
        for whose, (x, c) in pictures.items():
            seen = fn(x[:1]).shape[1:]
            camera = dgm.compile(prior.add(y=dgm.Normal(*seen, scale=0.1).given("x", fn=fn))).to(task.options.device)
            camera.load_state_dict(state, strict=False)
            shown = fn(x) + 0.1 * torch.randn(rows, *seen, device=x.device)
            drawn = dgm.posterior(camera, {"y": shown, "c": c}, method=dgm.Guided(samples=30, steps=task.options.steps, seed=0)).sample(30)["x"]
            unsure = drawn.std(0) > 0.05
            shares = {}
            for kind, inside in {"values": covered(drawn, x, 0.9), "levels": covered(task.shown(drawn), task.shown(x), 0.9)}.items():
                by_picture = inside.reshape(rows, side * side).mean(1)
                shares[kind] = float(by_picture.mean()), float(by_picture.std() / rows**0.5)
            values = covered(drawn, x, 0.9)
            psnr = 10 * math.log10(4 / float((drawn.mean(0) - x).square().mean()))
            residual = float((fn(drawn.flatten(0, 1)).reshape(30, rows, *seen) - shown).square().mean().sqrt()) / 0.1
            about = {"psnr": psnr, "baselines": guesses(task.x, x, shown), **shares, "unsure": float(values[unsure].mean()), "residual": residual}
            task.found[f"{name}, {whose}"] = about
            print(
                f"{name:20} {whose:14} PSNR {psnr:.2f}  coverage {shares['values'][0]:.3f} ± {shares['values'][1]:.3f}  as {task.levels} levels {shares['levels'][0]:.3f} ± {shares['levels'][1]:.3f}"
                f"  where unsure {about['unsure']:.3f}  residual {residual:.2f}  " + ", ".join(f"{guess} {value:.2f}" for guess, value in about["baselines"].items()), flush=True,
            )


def faces(task: Task) -> None:
    try:
        from skimage.data import lfw_subset
    except ImportError:
        print("scikit-image is not installed, so there are no faces; pip install scikit-image")
        return
    images = torch.as_tensor(lfw_subset()[:100], dtype=torch.float).unsqueeze(1).to(task.options.device) * 2 - 1
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    x, u, task.shape = images[order[:80]], images[order[80:], :, :24, :24], (1, 24, 24)
    gaussian_faces(task, x, u)
    measured(task, moved(x), u, {"faces at half the resolution": dgm.Coarsen(2)}, task.options.minutes)


def moved(x: Tensor, by: int = 2) -> Tensor:
    """Images with their mirror images, each cut at every place up to `by` pixels away; what is missing at the edge is repeated."""
    x = nn.functional.pad(torch.cat([x, x.flip(-1)]), (by,) * 4, mode="replicate")
    return torch.cat([x[..., i: i + 24, j: j + 24] for i in range(2 * by + 2) for j in range(2 * by + 2)])


def gaussian_faces(task: Task, x: Tensor, u: Tensor, held: int = 16) -> None:
    """The same by a Gaussian prior, whose posterior is exact: of so few faces a network learns too little to know how little it knows.

    Its covariance is that of faces moved about, drawn towards one that knows of distances only; how far is chosen by the likelihood of some faces that are left out.
    """
    x, u = x.double().cpu(), u.double().cpu()
    pixels, rows = u[0].numel(), len(u)

    def likelihood(share: float) -> float:
        mean, covariance = gaussian_of(x[held:], share)
        return float(torch.distributions.MultivariateNormal(mean, covariance).log_prob(x[:held, :, :24, :24].flatten(1)).mean())
    share = max((0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9), key=likelihood)
    mean, covariance = gaussian_of(x, share)
    matrix = dgm.Coarsen(2)(torch.eye(pixels, dtype=torch.double).reshape(pixels, *task.shape)).flatten(1).T
    prior = dgm.MultivariateNormal(pixels, loc=mean.tolist(), covariance_matrix=covariance.tolist())
    camera = dgm.compile(dgm.BayesNet(x=prior, y=dgm.Normal(len(matrix), loc=dgm.matmul(matrix.tolist(), dgm.refs("x")), scale=0.1))).double()
    torch.manual_seed(1)
    truth = u.flatten(1)
    shown = truth @ matrix.T + 0.1 * torch.randn(rows, len(matrix), dtype=torch.double)
    post = dgm.posterior(camera, {"y": shown})
    wide = nn.functional.interpolate(shown.reshape(-1, 1, 12, 12), size=(24, 24), mode="bicubic").clamp(-1, 1).flatten(1)
    inside = covered(post.sample(200)["x"], truth, 0.9).mean(1)
    errors = {"posterior mean": post.mean()["x"] - truth, "bicubic": wide - truth, "mean image": mean - truth}
    psnr = {name: 10 * math.log10(4 / float(error.square().mean())) for name, error in errors.items()}
    gained = 10 * (errors["bicubic"].square().mean(1) / errors["posterior mean"].square().mean(1)).log10()
    about = {"psnr": psnr, "coverage": float(inside.mean()), "stderr": float(inside.std() / rows**0.5), "share": share, "gain": float(gained.mean()), "gain stderr": float(gained.std() / rows**0.5)}
    task.found["faces, Gaussian prior"] = about
    print(
        f"faces at half the resolution, exact posterior of a Gaussian prior (share {share}): " + ", ".join(f"{name} PSNR {value:.2f}" for name, value in psnr.items())
        + f"; {about['gain']:.2f} ± {about['gain stderr']:.2f} dB a face above bicubic, coverage {about['coverage']:.3f} ± {about['stderr']:.3f}", flush=True,
    )


def gaussian_of(x: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of images moved about; the `share` of the covariance that depends on the distance of two pixels only is the mean over all pairs at that distance."""
    side, rows = 24, moved(x).flatten(1)
    mean = rows.mean(0)
    away = (rows - mean).reshape(-1, side, side)
    counts = torch.fft.fft2(torch.ones(side, side, dtype=x.dtype), s=(2 * side, 2 * side)).abs().square()
    products = torch.fft.fft2(away, s=(2 * side, 2 * side)).abs().square().mean(0)
    by_distance = torch.fft.ifft2(products).real / torch.fft.ifft2(counts).real.clamp_min(1e-6)
    down, along = torch.cartesian_prod(torch.arange(side), torch.arange(side)).unbind(1)
    values, vectors = torch.linalg.eigh(by_distance[down.unsqueeze(1) - down, along.unsqueeze(1) - along])
    plain = vectors * values.clamp_min(1e-4) @ vectors.T                    # pairs at a distance are of other pixels at each, so that the matrix may have negative eigenvalues
    return mean, (1 - share) * away.flatten(1).T @ away.flatten(1) / len(away) + share * plain


def main() -> None:
    parts = {part.__name__: part for part in (games, stacked, diffusion, latent, joint, inverse, intervals, faces)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    parser.add_argument("--data", type=Path, help="a folder with mnist.npz; scikit-learn's digit scans without")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each model")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--halved", action="store_true", help="images of half the sides")
    parser.add_argument("--rows", type=int, help="images that each sampler of `diffusion` makes; 5,000 without")
    parser.add_argument("--images", type=int, default=100, help="how many are measured in `inverse` and `intervals`")
    parser.add_argument("--steps", type=int, default=50, help="of each guided draw in `intervals`")
    parser.add_argument("--average", type=float, default=0.99, help="of the parameters, in `intervals`")
    parser.add_argument("--pixels", default="Bernoulli", choices=("Bernoulli", "Normal"), help="of the VAE in `latent`")
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64], help="of the U-Net")
    parser.add_argument("--lr", type=float, default=5e-4, help="of games and diffusion")
    parser.add_argument("--width", type=int, default=128, help="channels of the convolutions in `games` and `stacked`")
    parser.add_argument("--only", default="", help="in `games`, the networks whose name holds this: perceptron, convolutions, DCGAN; in `intervals`, the measurements: half, hole")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of what was made")
    parser.add_argument("--json", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    task = Task(options)
    start = time.perf_counter()
    parts[options.part](task)
    about = environment(**{key: str(value) for key, value in vars(options).items()})
    write_json(options.json, {"environment": about, "part": options.part, "seconds": time.perf_counter() - start, "found": task.found})


if __name__ == "__main__":
    main()
