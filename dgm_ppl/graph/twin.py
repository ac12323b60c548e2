"""Linear-Gaussian twins: what a guide's structure costs, in nats, on linear Gaussian models with the same graph.

On a linear Gaussian model with covariance S the best guide of a structure misses the posterior by
`E KL(p || q) = 1/2 sum_v log Var(v | what v reads) - 1/2 log det Var(latents | observed)`, which is zero for generic weights
exactly where the structure is faithful. Weights are drawn at random, several times, and the costs averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from .dag import DAG

__all__ = ["covariance", "lost_nats"]

DRAWS, SEED = 50, 0


def covariance(dag: DAG, generator: numpy.random.Generator) -> numpy.ndarray:
    """Return the covariance, in declaration order, of a linear Gaussian model with random weights and noises.

    Weights are of either sign and between 0.5 and 1.5 in size, variances of the noise between 0.5 and 1.5.
    """
    place = {node: index for index, node in enumerate(dag)}
    weights = numpy.zeros((len(dag), len(dag)))
    for parent, child in sorted(dag.edges, key=lambda edge: (place[edge[1]], place[edge[0]])):
        weights[place[child], place[parent]] = generator.choice([-1, 1]) * generator.uniform(0.5, 1.5)
    effect = numpy.linalg.inv(numpy.eye(len(dag)) - weights)
    return effect @ numpy.diag(generator.uniform(0.5, 1.5, len(dag))) @ effect.T


def lost_nats(dag: DAG, blocks: Sequence[tuple[Sequence[str], Sequence[str]]], before: Sequence[str]) -> float:
    """Return what is lost by drawing each block of nodes from what it reads alone, and not all of them from all that came before.

    Arguments:
        dag: the model's graph.
        blocks: for each block of nodes that are drawn together, the nodes and what they read.
        before: what was known before the first of them.

    >>> round(lost_nats(DAG("a -> x <- b"), [(["b"], ["x"])], ["x", "a"]), 3) > 0
    True
    >>> abs(lost_nats(DAG("a -> x <- b"), [(["b"], ["x", "a"])], ["x", "a"])) < 1e-9
    True
    """
    place, generator = {node: index for index, node in enumerate(dag)}, numpy.random.default_rng(SEED)
    total, together = 0.0, [node for block, _ in blocks for node in block]
    for _ in range(DRAWS):
        joint = covariance(dag, generator)
        drawn = sum(_log_volume(joint, [place[node] for node in block], [place[node] for node in reads]) for block, reads in blocks)
        total += drawn - _log_volume(joint, [place[node] for node in together], [place[node] for node in before])
    return float(total) / (2 * DRAWS)


def _log_volume(joint: numpy.ndarray, nodes: Sequence[int], given: Sequence[int]) -> float:
    """The log-determinant of the covariance of nodes given others."""
    among = joint[numpy.ix_(nodes, nodes)]
    if len(given):
        across = joint[numpy.ix_(nodes, given)]
        among = among - across @ numpy.linalg.solve(joint[numpy.ix_(given, given)], across.T)
    return numpy.linalg.slogdet(among)[1]
