"""How many numbers a net takes, and how many its joint table would: what independence buys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..families.lags import node_of
from .building import build_conditionals
from .unrolling import declared_at

if TYPE_CHECKING:
    from ..families import Variable
    from .bayes_net import BayesNet

__all__ = ["ParameterCount", "count_parameters"]


@dataclass(frozen=True, repr=False)
class ParameterCount:
    """The numbers of every node, of the net, and of the full joint table of a finite net; print it, or `int(count)`."""

    nodes: Mapping[str, int]
    total: int
    """What all nodes take together, a network that several share being counted once."""

    joint: int | None
    """The numbers of the full joint table, one less than its cells; None where it is not finite or has open plates."""

    def __int__(self) -> int:
        return self.total

    def __str__(self) -> str:
        width = max(map(len, self.nodes))
        lines = [f"{name.ljust(width)}  {number:,}" for name, number in self.nodes.items()]
        joint = "" if self.joint is None else f"; the full joint table takes {_shown(self.joint)}"
        return "\n".join([*lines, f"{self.total:,} in all{joint}"])

    __repr__ = __str__


def count_parameters(net: BayesNet) -> ParameterCount:
    """Count the free numbers of each node.

    A table of finite nodes counts `states - 1` for each configuration of its parents, whether it is given or learned; other
    nodes count what they learn: weights of networks, coefficients, scales.

    >>> from dgm_ppl import BayesNet, Bernoulli
    >>> BayesNet(age=Bernoulli(), height=Bernoulli().given("age"), words=Bernoulli().given("age")).num_parameters()
    age     1
    height  2
    words   2
    5 in all; the full joint table takes 7
    """
    with torch.random.fork_rng(devices=[]):
        learned = [name for name, variable in net.variables.items() if not (variable.is_given or _is_table(net, name))]
        built = build_conditionals(net, {}, skip=[name for name in net if name not in learned])
    owned = {name: {id(one): one.numel() for one in conditional.parameters()} for name, conditional in built.items()}
    tables = {name: sum(_table(net, one) for one in _declared(net, name)) for name in net if _is_table(net, name)}
    nodes = {name: tables.get(name, sum(owned.get(name, {}).values())) for name in net}
    shared = {key: number for numbers in owned.values() for key, number in numbers.items()}
    owners = {id(net[name].net) if net[name].net is not None else name: number for name, number in tables.items()}     # a tied table counts once
    return ParameterCount(nodes, sum(owners.values()) + sum(shared.values()), _joint(net))


def _declared(net: BayesNet, name: str) -> list[Variable]:
    """What a node is; in a chain at the first steps too, each kind once."""
    return list({id(one): one for one in declared_at(net, name)}.values())


def _is_table(net: BayesNet, name: str) -> bool:
    """Whether a node is finite, its parents too, and the table is free: no network, function or expression computes it."""
    return all(_tabular(net, variable) for variable in _declared(net, name))


def _tabular(net: BayesNet, variable: Variable) -> bool:
    if variable.is_given or variable.is_deterministic or variable.family_name not in ("Bernoulli", "Categorical"):
        return False
    return variable.classical and not variable.expression_parents and all(_states(net[node_of(parent)]) is not None and not net[node_of(parent)].shape for parent in variable.parents)


def _table(net: BayesNet, variable: Variable) -> int:
    rows = math.prod(net[node_of(parent)].space.cardinality for parent in variable.parents)
    return rows * variable.numel * (variable.space.cardinality - 1)


def _states(variable: Variable) -> int | None:
    return variable.space.cardinality


def _joint(net: BayesNet) -> int | None:
    """The number of free cells of the joint table of what is random, one table for each configuration of the inputs."""
    if any(_states(variable) is None and not variable.is_deterministic for variable in net.variables.values()):
        return None
    if any(plate.size is None for plate in net.plates.values()):
        return None
    cells = {name: _cells(net, name) for name, variable in net.variables.items() if not variable.is_deterministic}
    rows = math.prod(cells[name] for name in net.inputs)
    return rows * (math.prod(number for name, number in cells.items() if name not in net.inputs) - 1)


def _cells(net: BayesNet, name: str) -> int:
    members = math.prod(net.plates[plate].size for plate in net.plates_of(name))
    return net[name].space.cardinality ** (net[name].numel * members)


def _shown(number: int) -> str:
    if number < 10**15:
        return f"{number:,}"
    digits = len(str(number)) - 1 if number < 10**300 else int((number.bit_length() - 1) * math.log10(2))
    return f"about 10^{digits}"
