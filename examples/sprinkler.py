"""A classical network: tables given and learned, sampled, intervened on, drawn.

    python examples/sprinkler.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import dgm_ppl as dgm

truth = dgm.BayesNet(
    rain=dgm.Bernoulli(probs=0.2),
    sprinkler=dgm.Bernoulli(probs=[0.4, 0.01]).given("rain"),                               # one row for each state of rain
    wet=dgm.Bernoulli(probs=[[0.01, 0.9], [0.8, 0.99]]).given("rain", "sprinkler"),
)
net = dgm.BayesNet(truth.dag, rain=dgm.Bernoulli(), sprinkler=dgm.Bernoulli(), wet=dgm.Bernoulli())   # the same arrows, tables learned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", default="out/sprinkler")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    print(f"{net}\n")
    print("rain _||_ sprinkler:          ", net.dag.independent("rain", "sprinkler"))
    dgm.draw(net, observed=["wet"]).save(out / "graph.svg")

    data = dgm.compile(truth).sample(options.rows)
    model = dgm.compile(net)
    dgm.fit(dgm.MaximumLikelihood(model), data, steps=options.steps, optimizer=dgm.Adam(lr=0.1))
    print("true and learned P(wet | rain, sprinkler):")
    for rain in (0.0, 1.0):
        for sprinkler in (0.0, 1.0):
            parents = torch.tensor(rain), torch.tensor(sprinkler)
            exact, learned = (m.conditional("wet")(*parents).mean.item() for m in (dgm.compile(truth), model))
            print(f"  rain={rain:.0f} sprinkler={sprinkler:.0f}: {exact:.3f} {learned:.3f}")
    print(f"P(wet | do(sprinkler)): {model.do(sprinkler=1).sample(options.rows)['wet'].mean():.3f}")


if __name__ == "__main__":
    main()
