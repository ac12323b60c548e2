"""The joint table of a small finite net, and random nets with zeros in their tables."""

from __future__ import annotations

import itertools
import random

import numpy
import torch
from torch import Tensor

import dgm_ppl as dgm
from dgm_ppl.exact import Evidence


def joint(model: dgm.Model) -> Tensor:
    """p of every configuration of the nodes, in the net's order, by gathering from the tables themselves; differentiable."""
    names = list(model.net.order)
    sizes = [model.net[name].space.cardinality for name in names]
    total = torch.ones(sizes, dtype=model.anchor.dtype)
    for name in names:
        parents = list(model.net[name].all_parents)
        grids = torch.meshgrid(*(torch.arange(model.net[parent].space.cardinality) for parent in parents), indexing="ij") if parents else ()
        values = [grid.to(torch.long if model.net[parent].space.integer else total.dtype) for grid, parent in zip(grids, parents)]
        distribution = model.conditionals[name](*values)
        probs = distribution.probs if model.net[name].space.integer else torch.stack([1 - distribution.probs, distribution.probs], -1)
        axes = [*parents, name]
        order = sorted(range(len(axes)), key=lambda position: names.index(axes[position]))
        total = total * probs.permute(order).reshape([size if one in axes else 1 for one, size in zip(names, sizes)])
    return total


def conditioned(table: Tensor, names: list[str], evidence: dict[str, int]) -> Tensor:
    """The joint with everything that contradicts the evidence set to zero."""
    for name, code in evidence.items():
        mask = torch.zeros(table.shape[names.index(name)], dtype=table.dtype)
        mask[code] = 1
        table = table * mask.reshape([-1 if one == name else 1 for one in names])
    return table


def marginal(table: Tensor, names: list[str], kept: tuple[str, ...]) -> Tensor:
    """The sum down to some nodes, in their order."""
    found = table.sum([position for position, name in enumerate(names) if name not in kept]) if len(kept) < len(names) else table
    left = [name for name in names if name in kept]
    return found.permute([left.index(name) for name in kept])


def random_net(seed: int, *, learned: bool = False, largest: int = 7) -> dgm.BayesNet:
    """A random DAG of two to so many nodes of two to three states; a third of the table entries are zero unless learned."""
    dice = random.Random(seed)
    generator = numpy.random.default_rng(seed)
    names = [f"n{index}" for index in range(dice.randint(2, largest))]
    variables, sizes = {}, {}
    for index, name in enumerate(names):
        parents = dice.sample(names[:index], min(index, dice.choice([0, 1, 1, 2, 2, 3])))
        binary = dice.random() < 0.4
        sizes[name] = 2 if binary else dice.choice([2, 3])
        variables[name] = _variable(generator, [sizes[parent] for parent in parents], sizes[name], binary, learned)
        variables[name] = variables[name].given(*parents) if parents else variables[name]
    return dgm.BayesNet(variables)


def _variable(generator: numpy.random.Generator, shape: list[int], states: int, binary: bool, learned: bool) -> dgm.families.Variable:
    if learned:
        return dgm.Bernoulli() if binary else dgm.Categorical(states)
    table = generator.dirichlet(numpy.ones(states), size=shape) * (generator.random((*shape, states)) > 0.3)
    table[..., 0] += table.sum(-1) == 0
    table = table / table.sum(-1, keepdims=True)
    return dgm.Bernoulli(probs=table[..., 1]) if binary else dgm.Categorical(states, probs=table)


def rows_of(evidence: list[dict[str, int]], model: dgm.Model) -> Evidence:
    """Evidence of rows that observe the same nodes."""
    values = {name: torch.tensor([row[name] for row in evidence], dtype=torch.long if model.net[name].space.integer else model.anchor.dtype) for name in evidence[0]}
    return Evidence(values, {}, len(evidence))


def configurations(model: dgm.Model, names: list[str]) -> list[dict[str, int]]:
    """Every joint state of some nodes."""
    return [dict(zip(names, codes)) for codes in itertools.product(*(range(model.net[name].space.cardinality) for name in names))]
