"""Amortized posteriors of plates larger than any seen in training: paired KL to the exact posterior, and calibration.

Hierarchical normal `mu -> z[n] -> x[n]`, three levels `g -> s[S] -> t[S, T] -> y[S, T, M]`, a panel of series, `z[t, n] = 0.8 z[t-1, n] + mu + noise`, seen through
noise, and crossed plates, people by items, `r[p, i] = u[p] + v[i] + noise`; all scales one. The guides that the graph implies are trained on draws of the model with 10 to 50 members of the outer plate (2 to 5 of the inner ones), and judged on 10 to 200.
`E[log p(z | x) - log q(z | x)]` is taken over draws of the model, where both are known: the paired estimate of the KL divergence.

    python benchmarks/unseen_sizes.py --models "three levels" --steps 500 --worlds 200 --draws 49 [--json FILE]
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from measure import environment, write_json
from torch.distributions import MultivariateNormal

import dgm_ppl as dgm

SEEN, UNSEEN = (10, 25, 50), (100, 200)
KEPT = 0.8                                          # of a state of the panel, by the next
AT_ONCE = 5                                         # worlds that are drawn for together

MODELS = {
    "hierarchical normal": dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc="mu", scale=1.0), x=dgm.Normal(loc="z", scale=1.0), plates={"n": ["z", "x"]},
    ),
    "three levels": dgm.BayesNet(
        g=dgm.Normal(loc=0.0, scale=1.0), s=dgm.Normal(loc="g", scale=1.0), t=dgm.Normal(loc="s", scale=1.0), y=dgm.Normal(loc="t", scale=1.0),
        plates={"S": ["s", "t", "y"], "T": ["t", "y"], "M": ["y"]},
    ),
    "panel": dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc=KEPT * dgm.lag("z", initial=0.0) + dgm.Ref("mu"), scale=1.0), x=dgm.Normal(loc="z", scale=1.0),
        plates={"series": ["z", "x"], "time": dgm.Chain(["z", "x"])},
    ),
    "crossed": dgm.BayesNet(
        u=dgm.Normal(loc=0.0, scale=1.0), v=dgm.Normal(loc=0.0, scale=1.0), r=dgm.Normal(loc=dgm.Ref("u") + dgm.Ref("v"), scale=1.0),
        plates={"person": ["u", "r"], "item": ["v", "r"]},
    ),
}


def sizes_of(net: dgm.BayesNet, outer: int, generator: torch.Generator | None = None) -> dict[str, int]:
    """The outer plate's members, and 2 to 5 (without a generator 4 and 3) of the inner ones, or steps."""
    inner = iter((4, 3))
    return {
        plate: outer if place == 0 else next(inner) if generator is None else int(torch.randint(2, 6, (), generator=generator))
        for place, plate in enumerate(net.plates)
    }


def train(net: dgm.BayesNet, observed: str, steps: int, batch: int, seed: int) -> tuple[dgm.Model, dgm.Model, float]:
    """The model, its guide trained by maximum likelihood on draws of the model (forward KL), and the processor seconds it took."""
    model = dgm.compile(net, seed=seed)
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.DeepSet(64)), seed=seed + 1)
    optimizer = torch.optim.Adam(guide.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    torch.manual_seed(seed)
    generator, started = torch.Generator().manual_seed(seed), time.process_time()
    for _ in range(steps):
        sizes = sizes_of(net, int(torch.randint(10, 51, (), generator=generator)), generator)
        values = model.sample(batch, sizes=sizes)
        loss = -guide.log_prob(values).mean() / latents(values, observed)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(guide.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model, guide, time.process_time() - started


def latents(values: dict[str, torch.Tensor], observed: str) -> int:
    """The number of latent numbers in a world."""
    return sum(value[0].numel() for name, value in values.items() if name != observed)


def log_evidence(net: dgm.BayesNet, observed: str, values: torch.Tensor) -> torch.Tensor:
    """log p(x) of each world, by the covariance of the observations."""
    flat = values.double().flatten(1)
    covariance = (_of_series if net.chains else _of_levels)(net, observed, values.shape[1:])
    return MultivariateNormal(flat.new_zeros(flat.shape[1]), covariance).log_prob(flat)


def _of_levels(net: dgm.BayesNet, observed: str, shape: torch.Size) -> torch.Tensor:
    """Every latent adds one to the covariance of the observations that share it, the noise one to their variance."""
    places = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    plates, covariance = net.plates_of(observed), torch.eye(math.prod(shape), dtype=torch.float64)
    for name in net:
        if name != observed:
            shared = [places[plates.index(plate)].flatten() for plate in net.plates_of(name)]
            same = torch.ones_like(covariance, dtype=torch.bool)
            for place in shared:
                same &= place[:, None] == place[None, :]
            covariance += same
    return covariance


def _of_series(net: dgm.BayesNet, observed: str, shape: torch.Size) -> torch.Tensor:
    """What a state of the panel makes of the noise of every step before, and of what all series share."""
    members, steps = shape
    apart = torch.arange(steps)[:, None] - torch.arange(steps)
    response = torch.where(apart >= 0, KEPT ** apart.double(), 0.0)
    shared, own = response.sum(1), response @ response.T + torch.eye(steps, dtype=torch.float64)
    return torch.kron(torch.ones(members, members, dtype=torch.float64), torch.outer(shared, shared)) + torch.kron(torch.eye(members, dtype=torch.float64), own)


def judge(model: dgm.Model, guide: dgm.Model, observed: str, outer: int, worlds: int, draws: int, seed: int) -> dict[str, float]:
    """Paired KL a latent with its standard error, and the calibration of ranks: the largest gap of the ranks' distribution to uniform, and its limit."""
    torch.manual_seed(seed)
    net = model.double().net
    guide.double()
    names = [name for name in net if name != observed]
    ranks = {name: [] for name in (*names, "log p(x, z)")}
    with torch.no_grad():
        values = {name: value.double() for name, value in model.sample(worlds, sizes=sizes_of(net, outer)).items()}
        joint = model.log_prob(values)
        paired = (joint - log_evidence(net, observed, values[observed]) - guide.log_prob(values)) / latents(values, observed)
        for some in torch.arange(worlds).split(AT_ONCE):
            seen = values[observed][some]
            drawn = guide.sample((draws, len(some)), given={observed: seen})
            drawn = {name: drawn[name] for name in names} | {observed: seen.expand(draws, *seen.shape)}
            for name in names:
                ranks[name].append((first(drawn[name], 2) < first(values[name][some], 1)).sum(0))
            ranks["log p(x, z)"].append((model.log_prob(drawn) < joint[some]).sum(0))
    gaps = {name: uniform_gap(torch.cat(below), draws) for name, below in ranks.items()}
    model.float(), guide.float()
    return {
        "members": outer, "latents": latents(values, observed), "kl a latent": paired.mean().item(), "standard error": paired.std().item() / math.sqrt(worlds),
        "largest gap of ranks": max(gaps.values()), "which": max(gaps, key=gaps.get), "its 99 % limit": 1.63 / math.sqrt(worlds), **{f"gap of {name}": gap for name, gap in gaps.items()},
    }


def first(value: torch.Tensor, rank: int) -> torch.Tensor:
    """The first copy in each world, behind `rank` dimensions of worlds: ranks of one copy a world are independent."""
    return value[(..., *[0] * (value.ndim - rank))]


def uniform_gap(ranks: torch.Tensor, draws: int) -> float:
    """The Kolmogorov-Smirnov distance of ranks, spread within their steps, to the uniform distribution."""
    spread = ((ranks + torch.rand(ranks.shape, generator=torch.Generator().manual_seed(0))) / (draws + 1)).sort().values
    steps = torch.arange(len(spread) + 1) / len(spread)
    return float(torch.maximum(steps[1:] - spread, spread - steps[:-1]).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=99)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report = {"environment": environment(seed=asked.seed, steps=asked.steps, batch=asked.batch), "rows": []}
    print(f"{'model':22}{'members':>8}{'seen':>6}{'latents':>9}{'KL a latent':>13}{'se':>10}{'rank gap':>10}{'limit':>8}  of")
    for name in asked.models:
        net = MODELS[name]
        observed = net.dag.leaves[0]
        model, guide, seconds = train(net, observed, asked.steps, asked.batch, asked.seed)
        print(f"{name}: {asked.steps} steps, {seconds:.0f} s of one processor", flush=True)
        for outer in (*SEEN, *UNSEEN):
            row = judge(model, guide, observed, outer, asked.worlds, asked.draws, asked.seed + outer)
            report["rows"].append({"model": name, "seconds": seconds, **row})
            print(f"{name:22}{outer:8}{'yes' if outer in SEEN else 'no':>6}{row['latents']:9}{row['kl a latent']:13.5f}{row['standard error']:10.5f}"
                  f"{row['largest gap of ranks']:10.4f}{row['its 99 % limit']:8.4f}  {row['which']}", flush=True)
    write_json(asked.json, report)


if __name__ == "__main__":
    main()
