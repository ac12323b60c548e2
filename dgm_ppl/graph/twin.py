"""Linear-Gaussian twins: what a guide's structure costs, in nats, on linear Gaussian models with the same graph.

On a linear Gaussian model the best guide of a structure misses the posterior by
`E KL(p || q) = 1/2 sum_v log Var(v | what v reads) - 1/2 log det Var(latents | observed)`, which is zero for generic weights
exactly where the structure is faithful. Weights are drawn at random, several times, and the costs averaged; of a model that is linear
Gaussian itself they are its own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from .dag import DAG

__all__ = ["LinearGaussian", "covariance", "lost_nats"]

DRAWS, SEED = 20, 0

Matrix = list[list[float]]


@dataclass(frozen=True)
class LinearGaussian:
    """A model's own weights, by parent and child, and the variance of every node given its parents."""

    weights: Mapping[tuple[str, str], float]
    variances: Mapping[str, float]


def covariance(dag: DAG, random: Random) -> Matrix:
    """Return the covariance, in declaration order, of a linear Gaussian model with random weights and noises.

    Weights are of either sign and between 0.5 and 1.5 in size, variances of the noise between 0.5 and 1.5.
    """
    return _spread(dag, lambda parent, node: random.choice((-1, 1)) * random.uniform(0.5, 1.5), lambda node: random.uniform(0.5, 1.5))


def _spread(dag: DAG, weight: Callable[[str, str], float], variance: Callable[[str], float]) -> Matrix:
    """The covariance for given weights and variances of the noise, asked for in topological order."""
    place, size = {node: index for index, node in enumerate(dag)}, len(dag)
    effects: Matrix = [[] for _ in dag]                                     # of every node's noise, in standard deviations
    for node in dag.order:
        row = [0.0] * size
        for parent in sorted(dag.parents(node), key=place.__getitem__):
            slope = weight(parent, node)
            row = [old + slope * above for old, above in zip(row, effects[place[parent]])]
        row[place[node]] += math.sqrt(variance(node))
        effects[place[node]] = row
    return [[sum(map(float.__mul__, one, other)) for other in effects] for one in effects]


def lost_nats(dag: DAG, blocks: Sequence[tuple[Sequence[str], Sequence[str]]], before: Sequence[str], own: LinearGaussian | None = None) -> float:
    """Return what is lost by drawing each block of nodes from what it reads alone, and not all of them from all that came before.

    Arguments:
        dag: the model's graph.
        blocks: for each block of nodes that are drawn together, the nodes and what they read.
        before: what was known before the first of them.
        own: weights and variances of the model itself, which take the place of random ones.

    >>> lost_nats(DAG("a -> x <- b"), [(["b"], ["x"])], ["x", "a"]) > 0.1
    True
    >>> abs(lost_nats(DAG("a -> x <- b"), [(["b"], ["x", "a"])], ["x", "a"])) < 1e-9
    True
    """
    place, random = {node: index for index, node in enumerate(dag)}, Random(SEED)
    total, together = 0.0, [node for block, _ in blocks for node in block]
    parts = [([place[node] for node in reads], [place[node] for node in block]) for block, reads in blocks]
    whole = [place[node] for node in before], [place[node] for node in together]
    joints = (covariance(dag, random) for _ in range(DRAWS)) if own is None else [_spread(dag, lambda a, b: own.weights[a, b], own.variances.__getitem__)]
    count = DRAWS if own is None else 1
    for joint in joints:
        total += sum(_log_volume(joint, *part) for part in parts) - _log_volume(joint, *whole)
    return total / (2 * count)


def _log_volume(joint: Matrix, given: Sequence[int], nodes: Sequence[int]) -> float:
    """The log-determinant of the covariance of nodes given others, off a Cholesky factor in which they come last."""
    order, rows = [*given, *nodes], []
    for i, node in enumerate(order):
        row: list[float] = []
        for j in range(i):
            row.append((joint[node][order[j]] - sum(map(float.__mul__, row, rows[j]))) / rows[j][j])
        row.append(math.sqrt(joint[node][node] - sum(value * value for value in row)))
        rows.append(row)
    return 2 * sum(math.log(rows[i][i]) for i in range(len(given), len(order)))
