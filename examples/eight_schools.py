"""A hierarchical model with a plate: coaching effects in eight schools (Rubin, 1981), sampled with NUTS.

    python examples/eight_schools.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import dgm_ppl as dgm

net = dgm.BayesNet(
    mu=dgm.Normal(loc=0.0, scale=5.0),
    tau=dgm.HalfCauchy(scale=5.0),
    deviation=dgm.Normal(loc=0.0, scale=1.0),
    theta=dgm.Delta(v=dgm.Ref("mu") + dgm.Ref("tau") * dgm.Ref("deviation")),               # non-centred, easier to sample
    sigma=dgm.Given(),
    y=dgm.Normal(loc="theta", scale="sigma"),
    plates={"school": ["deviation", "theta", "sigma", "y"]},
)
DATA = {"y": torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12]), "sigma": torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--out", default="out/eight_schools")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)

    print(net, net.check(DATA), sep="\n\n")
    dgm.draw(net, observed=["y"], sizes={"school": 8}).save(out / "graph.svg")
    post = dgm.posterior(dgm.compile(net), DATA, method=dgm.NUTS(options.samples, options.warmup, seed=0))
    mean, low, high = post.mean(), post.quantile(0.05), post.quantile(0.95)
    print(f"mu  {mean['mu']:.1f} in [{low['mu']:.1f}, {high['mu']:.1f}]\ntau {mean['tau']:.1f} in [{low['tau']:.1f}, {high['tau']:.1f}]")
    for school in range(8):
        print(f"school {school + 1}: observed {DATA['y'][school]:5.1f}, effect {mean['theta'][school]:5.1f} in [{low['theta'][school]:5.1f}, {high['theta'][school]:5.1f}]")
    print(post.diagnose())


if __name__ == "__main__":
    main()
