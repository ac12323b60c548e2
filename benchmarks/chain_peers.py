"""Exact answers along chains held against hmmlearn and pykalman: log-likelihood, smoothing, filtering, most probable path.

    python benchmarks/chain_peers.py --json chain_peers.json

Random parameters, double precision; the largest absolute difference of each answer, over several seeds.
"""

from __future__ import annotations

import argparse

import numpy
import torch
from hmmlearn.hmm import GaussianHMM
from measure import environment, write_json
from pykalman import KalmanFilter

import dgm_ppl as dgm

LENGTHS = [40, 25, 33]


def hidden_markov(seed: int) -> dict[str, float]:
    """Three states, two numbers a step, three sequences of several lengths."""
    dice = numpy.random.default_rng(seed)
    start, moves = dice.dirichlet(numpy.ones(3)), dice.dirichlet(numpy.ones(3), 3)
    means, scales = dice.normal(size=(3, 2)), dice.uniform(0.5, 1.5, (3, 2))
    peer = GaussianHMM(3, "diag")
    peer.startprob_, peer.transmat_, peer.means_, peer.covars_ = start, moves, means, scales**2
    x = dice.normal(size=(sum(LENGTHS), 2))
    parts = [torch.tensor(part) for part in numpy.split(x, numpy.cumsum(LENGTHS)[:-1])]
    z = dgm.Ref("z")
    net = dgm.BayesNet(
        z=dgm.Categorical(3, probs=moves).given(dgm.lag("z")).starting(dgm.Categorical(3, probs=start)),
        x=dgm.Normal(2, loc=dgm.Constant(means)[z], scale=dgm.Constant(scales)[z]), plates={"time": dgm.Chain(["z", "x"])})
    post = dgm.posterior(dgm.compile(net).double(), {"x": parts})
    probs = numpy.concatenate([post.probabilities("z")[row, :n].numpy() for row, n in enumerate(LENGTHS)])
    best, path = peer.decode(x, LENGTHS)
    ours = numpy.concatenate([post.mpe().codes["z"][row, :n].numpy() for row, n in enumerate(LENGTHS)])
    return {
        "HMM, log-likelihood": abs(peer.score(x, LENGTHS) - post.log_evidence.sum().item()),
        "HMM, smoothing": abs(peer.predict_proba(x, LENGTHS) - probs).max(),
        "HMM, log p of the most probable path": abs(best - post.mpe().log_prob.sum().item()),
        "HMM, steps of the path that differ": float((path != ours).sum()),
    }


def linear_system(seed: int) -> dict[str, float]:
    """Two numbers of state, three seen, some steps missing."""
    dice = numpy.random.default_rng(seed)
    moves, reads = 0.5 * dice.normal(size=(2, 2)), dice.normal(size=(3, 2))
    root, error = dice.normal(size=(2, 2)), dice.normal(size=(3, 3))
    noise, error = root @ root.T + 0.1 * numpy.eye(2), error @ error.T + 0.1 * numpy.eye(3)
    x = dice.normal(size=(30, 3))
    x[[4, 11, 12]] = numpy.nan
    peer = KalmanFilter(moves, reads, noise, error, numpy.zeros(2), numpy.zeros(3), numpy.zeros(2), numpy.eye(2))
    hidden = numpy.ma.masked_invalid(x)
    net = dgm.BayesNet(
        z=dgm.MultivariateNormal(2, loc=dgm.matmul(moves, dgm.lag("z")), covariance_matrix=noise).starting(dgm.Normal(2, loc=0.0, scale=1.0)),
        x=dgm.MultivariateNormal(3, loc=dgm.matmul(reads, dgm.Ref("z")), covariance_matrix=error), plates={"time": dgm.Chain(["z", "x"])})
    post = dgm.posterior(dgm.compile(net).double(), {"x": x})
    means, covariances = peer.smooth(hidden)
    early, spread = peer.filter(hidden)
    mean, covariance = post.moments("z")
    filtered = post.moments("z", filtered=True)
    return {
        "linear system, log-likelihood": abs(peer.loglikelihood(hidden) - post.log_evidence.item()),
        "linear system, smoothed means": abs(means - mean.numpy()).max(),
        "linear system, smoothed covariances": abs(covariances - covariance.numpy()).max(),
        "linear system, filtered means": abs(early - filtered[0].numpy()).max(),
        "linear system, filtered covariances": abs(spread - filtered[1].numpy()).max(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    runs = [{**hidden_markov(seed), **linear_system(seed)} for seed in range(asked.seeds)]
    worst = {name: max(run[name] for run in runs) for name in runs[0]}
    for name, value in worst.items():
        print(f"{name:40}{value:.1e}")
    write_json(asked.json, {"environment": environment(seeds=asked.seeds), "largest difference": worst})


if __name__ == "__main__":
    main()
