"""Generators and diffusion, measured: modes found, Fréchet distances beside a VAE's, likelihoods of a known target, inverse problems.

    python benchmarks/generators.py modes [--steps 4000]
    python benchmarks/generators.py steps
    python benchmarks/generators.py target
    python benchmarks/generators.py digits --data mnist [--minutes 8]
    python benchmarks/generators.py inverse
    python benchmarks/generators.py picture

Each prints a table; `--json PATH` writes it too. Features for Fréchet distances come of a classifier trained on the spot.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from measure import environment, interleaved, ratios, table, write_json
from torch import Tensor, nn

import dgm_ppl as dgm
from dgm_ppl.queries.comparing import covered

GRID = torch.cartesian_prod(torch.arange(-2.0, 3.0), torch.arange(-2.0, 3.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["modes", "steps", "target", "digits", "inverse", "picture"])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=8.0, help="of training for each model of `digits`")
    parser.add_argument("--data", help="a folder with MNIST, for `digits`; scikit-learn's digit scans without")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    report = {"modes": modes, "steps": step_cost, "target": target, "digits": digits, "inverse": inverse, "picture": picture}[arguments.what](arguments)
    write_json(arguments.json, {"environment": environment(threads=arguments.threads), **report})


# ---- 25 Gaussians


def grid(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return GRID[torch.randint(25, (rows,), generator=generator)] + 0.05 * torch.randn(rows, 2, generator=generator)


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs))


class Plain:
    """The same game written by hand: non-saturating, R1, one update each a step."""

    def __init__(self, batch: int):
        self.batch, self.generator, self.critic = batch, perceptron(8, 2), perceptron(2, 1)
        self.optimizers = [torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.9), fused=True) for net in (self.critic, self.generator)]

    def step(self, real: Tensor) -> None:
        with torch.no_grad():
            fake = self.generator(torch.randn(self.batch, 8))
        at = real.detach().requires_grad_()
        slope = torch.autograd.grad(self.critic(at).sum(), at, create_graph=True)[0].square().sum(1)
        loss = nn.functional.softplus(-self.critic(real)).mean() + nn.functional.softplus(self.critic(fake)).mean() + 0.05 * slope.mean()
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.critic.parameters()))
        self.optimizers[0].step()
        loss = nn.functional.softplus(-self.critic(self.generator(torch.randn(self.batch, 8)))).mean()
        self.optimizers[1].zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.generator.parameters()))
        self.optimizers[1].step()

    def sample(self, rows: int) -> Tensor:
        with torch.no_grad():
            return self.generator(torch.randn(rows, 8))


def declared() -> dgm.Adversarial:
    net = dgm.BayesNet(z=dgm.Normal(8, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(128, 128)))
    return dgm.Adversarial(dgm.compile(net, seed=0), {"x": dgm.MLP(128, 128)}, penalties=dgm.R1(0.1))


def decay(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The rate falls in a straight line to a hundredth."""
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)


def quality(made: Tensor) -> dict[str, float]:
    distance, nearest = torch.cdist(made, GRID).min(1)
    good = distance < 0.15                                             # three standard deviations
    return {"modes": int((torch.bincount(nearest[good], minlength=25) >= len(made) / 25 / 10).sum()), "good": float(good.float().mean())}


def modes(arguments: argparse.Namespace) -> dict:
    data, batch, found = grid(50_000, 0), 256, {}
    for seed in range(3):
        torch.manual_seed(seed)
        objective = declared()
        start = time.process_time()
        run = dgm.fit(
            objective, {"x": data}, steps=arguments.steps, batch_size=batch, optimizer=dgm.Adam(lr=1e-3, betas=(0.5, 0.9)), schedule=lambda optimizer: decay(optimizer, arguments.steps),
            average=0.998, seed=seed, progress=False,
        )
        found[f"library, seed {seed}"] = {**quality(run.averaged.model.sample(5000)["x"]), "cpu seconds": time.process_time() - start}
        torch.manual_seed(seed)
        plain, start = Plain(batch), time.process_time()
        rates = [decay(optimizer, arguments.steps) for optimizer in plain.optimizers]
        averaged = torch.optim.swa_utils.AveragedModel(plain.generator, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
        for _ in range(arguments.steps):
            plain.step(data[torch.randint(len(data), (batch,))])
            averaged.update_parameters(plain.generator)
            for rate in rates:
                rate.step()
        plain.generator = averaged.module
        found[f"by hand, seed {seed}"] = {**quality(plain.sample(5000)), "cpu seconds": time.process_time() - start}
        for name in (f"library, seed {seed}", f"by hand, seed {seed}"):
            row = found[name]
            print(f"{name:20} modes {row['modes']:2d} of 25, share of good samples {row['good']:.3f}, {row['cpu seconds']:.1f} s", flush=True)
    return {"modes": found}


# ---- what a step costs


def step_cost(arguments: argparse.Namespace) -> dict:
    data = grid(256, 0)
    plain, objective = Plain(256), declared()
    batch = objective.prepare({"x": data})
    optimizers = [dgm.Adam(lr=1e-3, betas=(0.5, 0.9))(player.parameters) for player in objective.players]
    players = objective.players

    def ours() -> None:
        for player, optimizer in zip(players, optimizers):
            optimizer.zero_grad(set_to_none=True)
            player.loss(batch).backward(inputs=list(player.parameters))
            optimizer.step()

    model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(1, 28, 28, net=dgm.UNet(16, 32))), seed=0)
    denoising, images = dgm.Denoising(model), torch.randn(128, 1, 28, 28)
    held = denoising.prepare({"x": images})
    optimizer = dgm.Adam()(list(denoising.parameters()))
    by_hand, other = Hand(), None
    other = torch.optim.Adam(by_hand.parameters(), 1e-3, fused=True)

    def denoise() -> None:
        optimizer.zero_grad(set_to_none=True)
        denoising(held).backward()
        optimizer.step()

    def denoise_by_hand() -> None:
        other.zero_grad(set_to_none=True)
        by_hand.loss(images).backward()
        other.step()

    found = {}
    for name, pair, calls in (("GAN 2-128-128", {"by hand": lambda: plain.step(data), "library": ours}, 40), ("diffusion U-Net", {"by hand": denoise_by_hand, "library": denoise}, 2)):
        seconds = interleaved({key: timed(step, calls) for key, step in pair.items()}, rounds=9)
        found[name] = ratios(seconds, "by hand")
        print(name, table(found[name]), sep="\n")
    return {"steps": found}


def timed(step, calls: int):
    def run() -> float:
        start = time.process_time()
        for _ in range(calls):
            step()
        return (time.process_time() - start) / calls
    return run


class Hand(nn.Module):
    """The same denoiser trained by hand: the cosine schedule, velocity prediction, squared error of the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dgm.UNet(16, 32).build(((1, 28, 28), (32,)), ((1, 28, 28),))
        frequencies = torch.exp(torch.arange(16) * (math.log(40.0) / 15))
        self.register_buffer("frequencies", frequencies)
        self.first = math.atan(math.exp(-6.5))
        self.span = math.atan(math.exp(6.5)) - self.first

    def loss(self, x: Tensor) -> Tensor:
        t, noise = (torch.arange(len(x)) / len(x) + torch.rand(())) % 1.0, torch.randn_like(x)
        angle = (self.first + self.span * t)[:, None, None, None]
        alpha, sigma = angle.cos(), angle.sin()
        noisy, turned = alpha * x + sigma * noise, t[:, None] * self.frequencies
        output = self.net(noisy, torch.cat([turned.sin(), turned.cos()], 1)).view_as(x)
        found = sigma * noisy + alpha * output
        return (noise - found).square().sum((1, 2, 3)).mean()


# ---- a target that is known


def target(arguments: argparse.Namespace) -> dict:
    """Bound and exact likelihood of a diffusion trained on a Gaussian with correlation 0.8, and of flow matching."""
    root = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(rows, 2, generator=generator) @ root.T for rows in (20_000, 2_000))
    truth = torch.distributions.MultivariateNormal(torch.zeros(2), scale_tril=root).log_prob(test)
    found = {"truth": {"nats": float(truth.mean())}}
    hidden = dgm.MLP(128, 128, activation=nn.SiLU)
    for name, variable in {"diffusion": dgm.Diffusion(2, net=hidden), "flow matching": dgm.FlowMatching(2, net=hidden)}.items():
        model = dgm.compile(dgm.BayesNet(x=variable), seed=0)
        run = dgm.fit(dgm.Denoising(model), {"x": train}, steps=4000, batch_size=256, optimizer=dgm.Adam(lr=2e-3), average=0.999, seed=0, progress=False)
        model = run.averaged.model
        exact = dgm.log_prob(model, {"x": test}, method=dgm.ProbabilityFlow(tolerance=1e-4)).value
        found[f"{name}, flow's density"] = {"nats": float(exact.mean()), "error": float((exact - truth).mean())}
        if name == "diffusion":
            bound = torch.stack([dgm.log_prob(model, {"x": test}).value.mean() for _ in range(20)])
            found[f"{name}, bound"] = {"nats": float(bound.mean()), "error": float(bound.mean() - truth.mean()), "stderr": float(bound.std() / 20**0.5)}
    for name, row in found.items():
        share = f", {100 * abs(row['error'] / found['truth']['nats']):.2f} % of it off" if "error" in row else ""
        print(f"{name:32} {row['nats']:.4f} nats{share}")
    return {"target": found}


# ---- digits


def images_of(folder: str | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images in [-1, 1], and their labels."""
    if folder is None:
        from sklearn.datasets import load_digits
        scans = load_digits()
        x, y = torch.tensor(scans.images / 8 - 1, dtype=torch.float).unsqueeze(1), torch.tensor(scans.target)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        return x[order[:1400]], y[order[:1400]], x[order[1400:]], y[order[1400:]]
    import numpy
    from pathlib import Path
    held = numpy.load(next(Path(folder).glob("*.npz")))
    keys = {key.lower(): key for key in held}
    pick = {name: torch.as_tensor(held[keys[key]]) for name, key in zip(("x", "y", "u", "v"), ("x_train", "y_train", "x_test", "y_test"))}
    x, u = (pick[name].float().reshape(-1, 1, 28, 28) / 127.5 - 1 for name in ("x", "u"))
    return x, pick["y"].long(), u, pick["v"].long()


def digits(arguments: argparse.Namespace) -> dict:
    """GANs, a VAE of equal size and a class-conditional diffusion: Fréchet distance to test images, accuracy of the asked class."""
    x, y, u, v = images_of(arguments.data)
    shape, features = tuple(x.shape[1:]), dgm.metrics.train_features(x, y, width=64, epochs=3 if len(x) > 5000 else 30)
    print(f"features: accuracy {features.accuracy:.3f} on held-out images")
    found, real = {"features": {"accuracy": features.accuracy}}, features(u[:2000])
    count, seconds = len(u[:2000]), 60 * arguments.minutes

    def within(objective, data, **options):
        deadline = time.process_time() + seconds

        def stop(moment) -> None:
            if time.process_time() > deadline:
                raise KeyboardInterrupt
        return dgm.fit(objective, data, epochs=10_000, batch_size=128, seed=0, average=0.998, progress=False, callbacks=stop, **options)

    def note(name: str, made: Tensor, run, more: dict | None = None) -> None:
        distance = dgm.metrics.frechet_distance(real, features(made))
        found[name] = {"frechet": distance.value, "stderr": distance.stderr, "steps": run.step, **(more or {})}
        print(f"{name:24} Frechet {distance.value:8.2f} ± {distance.stderr:.2f} after {run.step} steps {more or ''}", flush=True)

    games = {"GAN (R1)": (dgm.JensenShannon(), dgm.R1(1.0), 1), "WGAN-GP": (dgm.Wasserstein(), dgm.GradientPenalty(10.0), 3)}
    for name, (game, penalty, every) in games.items():
        net = dgm.BayesNet(z=dgm.Normal(32, loc=0.0, scale=1.0), x=dgm.Generator(*shape, space=dgm.Interval(-1, 1)).given("z", net=dgm.ConvTransposeNet(64, 32)))
        objective = dgm.Adversarial(dgm.compile(net, seed=0), {"x": dgm.ConvNet(32, 64)}, game=game, penalties=penalty, critic_steps=every)
        run = within(objective, {"x": x}, optimizer=dgm.Adam(lr=2e-4 if every == 1 else 5e-4, betas=(0.5, 0.9)))
        note(name, run.averaged.model.sample(count)["x"], run)
    net = dgm.BayesNet(z=dgm.Normal(32, loc=0.0, scale=1.0), x=dgm.Normal(*shape, scale=dgm.free(0.3)).given("z", net=dgm.ConvTransposeNet(64, 32)))
    run = within(dgm.ELBO(dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.ConvNet(32, 64)), seed=0)), {"x": x})
    model = run.averaged.model
    note("VAE", model.conditional("x")(model.sample(count)["z"]).mean.detach(), run)
    net = dgm.BayesNet(y=dgm.Given(states=10), x=dgm.Diffusion(*shape, net=dgm.UNet(16, 32), drop={"y": 0.1}, sampler=dgm.DPMSolver(20, clip=1.0)).given("y"))
    run = within(dgm.Denoising(dgm.compile(net, seed=0), dgm.MinSNR(5.0)), {"x": x, "y": y}, optimizer=dgm.Adam(lr=1e-3))
    model, asked = run.averaged.model, torch.arange(count) % 10
    samplers = {"20 DPM-Solver steps": dgm.DPMSolver(20, clip=1.0), "250 ancestral steps": dgm.Ancestral(250, clip=1.0), "guided by 2": dgm.DPMSolver(20, guidance={"y": 2.0}, clip=1.0)}
    for name, sampler in samplers.items():
        rows = count if name.startswith(("20", "guided")) else min(count, 500)
        made = model.sampling(x=sampler).sample(given={"y": asked[:rows]})["x"]
        note(f"diffusion, {name}", made, run, {"class as asked": float((features.classify(made) == asked[:rows]).float().mean()), "rows": rows})
    return {"digits": found}


# ---- inverse problems


def inverse(arguments: argparse.Namespace) -> dict:
    """Digit scans measured at half the resolution: a diffusion prior by guidance and by particles, beside interpolation and the mean."""
    x, _, u, _ = images_of(None)
    u = u[:60]
    prior = dgm.BayesNet(x=dgm.Diffusion(1, 8, 8, net=dgm.UNet(16, 32)))
    model = dgm.compile(prior, seed=0)
    run = dgm.fit(dgm.Denoising(model), {"x": x}, steps=2000, batch_size=128, optimizer=dgm.Adam(lr=1e-3), average=0.998, seed=0, progress=False)
    camera = dgm.compile(prior.add(y=dgm.Normal(1, 4, 4, scale=0.1).given("x", fn=dgm.Coarsen(2))))
    camera.load_state_dict(run.averaged.model.state_dict(), strict=False)
    torch.manual_seed(1)
    measured = dgm.Coarsen(2)(u) + 0.1 * torch.randn(len(u), 1, 4, 4)
    frame = dgm.compare(camera, {"y": measured}, {"guided": dgm.Guided(samples=40, steps=60, seed=0), "twisted": dgm.Twisted(particles=64, steps=60, seed=0)}, truth={"x": u})
    print(frame.drop(columns="diagnosis").to_string(index=False))
    span, rows = float((u.max() - u.min()) ** 2), {}
    baselines = {"bicubic": nn.functional.interpolate(measured, size=(8, 8), mode="bicubic"), "mean image": x.mean(0).expand_as(u)}
    for name, guess in baselines.items():
        rows[name] = 10 * math.log10(span / float((guess - u).square().mean()))
        print(f"{name:12} psnr {rows[name]:.2f}")
    return {"inverse": {"methods": frame.drop(columns="diagnosis").to_dict("records"), "baselines": rows}}


class Field(nn.Module):
    """The exact denoiser of a Gaussian picture of mean zero; the time is read back off its features, of which the slowest pair turns by one radian."""

    def __init__(self, covariance: Tensor):
        super().__init__()
        self.values, self.vectors = torch.linalg.eigh(covariance)
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        noisy, features = inputs.split([len(self.values), 32], -1)
        alpha, sigma = (level.unsqueeze(-1) for level in dgm.Cosine().levels(torch.atan2(features[..., 0], features[..., 16])))
        return (noisy @ self.vectors * (alpha * self.values / (alpha.square() * self.values + sigma.square()))) @ self.vectors.T + 0 * self.unused


def picture(arguments: argparse.Namespace) -> dict:
    """Guided draws of a smooth Gaussian picture beside the closed form: coverage, spread, means, and how far they are from what was measured."""
    side, rows, draws, found = 12, 20, 30, {}
    places = torch.cartesian_prod(torch.arange(float(side)), torch.arange(float(side)))
    covariance = 0.5 * (-torch.cdist(places, places) / 3).exp() + 1e-3 * torch.eye(side**2)
    x = (torch.randn(rows, side**2) @ torch.linalg.cholesky(covariance).T).reshape(rows, 1, side, side)
    prior = dgm.Diffusion(1, side, side, net=dgm.Flat(Field(covariance)), schedule=dgm.Cosine(), prediction=dgm.Clean())
    hole = dgm.Mask([[[not (4 <= i <= 8 and 4 <= j <= 8) for j in range(side)] for i in range(side)]])
    for problem, measure in {"half the resolution": dgm.Coarsen(2), "a hole": hole}.items():
        camera = dgm.compile(dgm.BayesNet(x=prior, y=dgm.Normal(*measure(x).shape[1:], scale=0.1).given("x", fn=measure)))
        y = measure(x) + 0.1 * torch.randn_like(measure(x))
        linear = measure(torch.eye(side**2).reshape(-1, 1, side, side)).flatten(1).T
        gain = covariance @ linear.T @ torch.linalg.inv(linear @ covariance @ linear.T + 0.01 * torch.eye(len(linear)))
        mean, left = y.flatten(1) @ gain.T, covariance - gain @ linear @ covariance
        exact = mean + torch.randn(draws, rows, side**2) @ torch.linalg.cholesky(left + 1e-6 * torch.eye(side**2)).T
        made = {"closed form": exact}
        for steps in (50, 100):
            made[f"Guided({draws}, {steps})"] = dgm.posterior(camera, {"y": y}, method=dgm.Guided(samples=draws, steps=steps, seed=0)).sample(draws)["x"].reshape(draws, rows, -1)
        for name, drawn in made.items():
            row = {
                "coverage": float(covered(drawn, x.flatten(1), 0.9).mean()), "spread": float((drawn.var(0).mean() / left.diagonal().mean()).sqrt()),
                "mean": float(((drawn.mean(0) - mean).square().mean() / left.diagonal().mean()).sqrt()), "residual": float((drawn @ linear.T - y.flatten(1)).square().mean().sqrt() / 0.1),
            }
            found[f"{problem}, {name}"] = row
            print(f"{problem + ', ' + name:40}", "  ".join(f"{key} {value:.3f}" for key, value in row.items()), flush=True)
    return {"picture": found}


if __name__ == "__main__":
    main()
