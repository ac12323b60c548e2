"""Chains: parents some steps back, what a node is at the first steps, and the order in which nodes can be had."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..families import Constant, Expression, Free, Variable
from ..families.expressions import references
from ..families.lags import Lagged, node_of
from ..graph import DAG, GraphError, did_you_mean
from ..nets import Net
from .plates import Chain, Plate

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["chain_of", "check_chains", "check_loops", "first_steps", "segments", "slice_dag", "stages", "through_time", "with_lags"]


def chain_of(name: str, plates: Mapping[str, Plate]) -> Chain | None:
    """The chain that a node is in."""
    return next((plate for plate in plates.values() if isinstance(plate, Chain) and node_of(name) in plate.nodes), None)


def with_lags(variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> tuple[Mapping[str, Variable], Mapping[str, Plate]]:
    """The variables and plates in which a lagged parent is found by its name, like its node."""
    lagged = dict.fromkeys(name for variable in variables.values() for one in (variable, *variable.starts) for name in one.lags)
    if not lagged:
        return variables, plates
    around = {key: plate.like((*plate.nodes, *(name for name in lagged if name.node in plate.nodes)), plate.size) for key, plate in plates.items()}
    return {**variables, **{name: variables[name.node] for name in lagged}}, around


def slice_dag(variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> DAG:
    """The arrows within one step.

    Raises:
        GraphError: a cycle, with the mend where its nodes are in one chain.
    """
    arrows = {name: [parent for parent in variable.all_parents if not isinstance(parent, Lagged)] for name, variable in variables.items()}
    try:
        return DAG(arrows)
    except GraphError as error:
        chain = next((plate for plate in plates.values() if isinstance(plate, Chain) and any(_in_cycle(name, arrows, plate.nodes) for name in plate.nodes)), None)
        if chain is None:
            raise
        name = next(name for name in chain.nodes if _in_cycle(name, arrows, chain.nodes))
        parent = next(parent for parent in arrows[name] if parent == name or name in _reached(parent, arrows, chain.nodes))
        raise GraphError(
            f"node {name!r}: {str(error).removeprefix(f'node {name!r}: ')}; {name!r} is in the chain {chain.name!r}: where an arrow comes from the step before, say so: .given(dgm.lag({parent!r}))"
        ) from error


def _in_cycle(name: str, arrows: Mapping[str, list[str]], within: Collection[str]) -> bool:
    return name in arrows and name in _reached(name, arrows, within)


def _reached(name: str, arrows: Mapping[str, list[str]], within: Collection[str]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = {parent for parent in arrows.get(waiting.pop(), ()) if parent in within} - found
        found |= new
        waiting += new
    return found


# ---- what is wrong


def check_chains(variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> None:
    """Raises GraphError where lags and chains do not fit together."""
    for name, variable in variables.items():
        own = [plate for plate in plates.values() if isinstance(plate, Chain) and name in plate.nodes]
        if len(own) > 1:
            raise GraphError(f"node {name!r}: expected at most one chain; got {[plate.name for plate in own]}; make one of them a plate")
        for parent in dict.fromkeys(lagged for one in (variable, *variable.starts) for lagged in one.lags):
            _check_lag(name, parent, own[0] if own else None, variables, plates)
        for lagged, value in variable.initials.items():
            _check_initial(name, lagged, value, variables[node_of(lagged)])
        if variable.starts:
            _check_starts(name, variable)


def check_loops(variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> None:
    """Raises GraphError where a node outside a chain depends on steps that depend on it."""
    for part in _components(variables, ()) if any(isinstance(plate, Chain) for plate in plates.values()) else ():
        _direction(part, variables)
        outside = [name for name in part if chain_of(name, plates) is None]
        if outside and len(part) > 1:
            inside = next(name for name in part if name not in outside)
            raise GraphError(f"node {outside[0]!r}: expected no cycle; got one through {outside[0]!r}, which is in no chain, and the steps of {inside!r}; leave out an arrow")


def _check_lag(name: str, parent: Lagged, chain: Chain | None, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> None:
    node = parent.node
    if node not in variables:
        raise GraphError(f"node {name!r}: no parent {node!r}{did_you_mean(node, variables)}")
    if parent in variables:
        raise GraphError(f"node {str(parent)!r}: expected another name; got that of {node!r} {parent.steps} steps back, which {name!r} has as a parent; rename the node")
    if chain is None:
        plate = next((plate for plate in plates.values() if name in plate.nodes), None)
        members = list(plate.nodes) if plate is not None else list(dict.fromkeys((node, name)))
        label = plate.name if plate is not None else "time"
        raise GraphError(
            f"node {name!r}: its parent {parent} is a step back, and {name!r} is in no chain; steps are the members of a chain: "
            f"plates={{{label!r}: dgm.Chain({members})}}"
        )
    if node not in chain.nodes:
        raise GraphError(f"node {name!r}: its parent {parent} is a step back, but {node!r} is not in the chain {chain.name!r}; add it: dgm.Chain({[*chain.nodes, node]})")


def _check_initial(name: str, lagged: str, value: Constant | Free, parent: Variable) -> None:
    place = f"node {name!r}: the initial value of {lagged}"
    constant = value.initial if isinstance(value, Free) else value
    if isinstance(value, Free) and parent.space.cardinality is not None:
        raise GraphError(f"{place}: expected a state's code, as {node_of(lagged)!r} is finite; got {value}; a distribution of the first step is given by .starting(...)")
    if constant is None:
        return
    shape = parent.shape
    if len(constant.shape) > len(shape) or any(a not in (1, b) for a, b in zip(reversed(constant.shape), reversed(shape))):
        raise GraphError(f"{place}: expected the shape {shape}; got {constant.shape}")
    if not bool(parent.space.constraint.check(torch.tensor(constant.array).expand(shape)).all()):
        raise GraphError(f"{place}: expected values in {parent.space}; got {constant}")


def _check_starts(name: str, variable: Variable) -> None:
    needed = _without(variable)
    if not needed:
        raise GraphError(f"node {name!r}: .starting(...) needs a first step that is unlike the others: a parent .given(dgm.lag(...)) without an initial value")
    if len(variable.starts) > needed:
        raise GraphError(f"node {name!r}: expected at most {needed} starting distributions, as its parents go {needed} steps back; got {len(variable.starts)}")
    for step, start in enumerate(variable.starts):
        for lagged in start.lags:
            if lagged.steps > step and lagged not in start.initials:
                raise GraphError(f"node {name!r}: its distribution at step {step} reads {lagged}, which does not exist then; leave it out, or give dgm.lag(..., initial=...)")


# ---- the first steps


def _without(variable: Variable) -> int:
    """How many first steps lack a parent."""
    return max((lagged.steps for lagged in variable.lags if lagged not in variable.initials), default=0)


def first_steps(name: str, variable: Variable, variables: Mapping[str, Variable]) -> tuple[Variable, ...]:
    """What a node is at each of the first steps, for which a parent does not exist yet.

    Raises:
        GraphError: a function or module that cannot do without the parent.
    """
    found: list[Variable] = []
    derived: dict[tuple[str, ...], Variable] = {}
    for step in range(_without(variable)):
        if variable.starts:
            found.append(variable.starts[min(step, len(variable.starts) - 1)])
            continue
        kept = tuple(parent for parent in variable.all_parents if not isinstance(parent, Lagged) or parent.steps <= step or parent in variable.initials)
        if kept not in derived:
            derived[kept] = _start(name, variable, kept, variables)
        found.append(derived[kept])
    return tuple(found)


def _start(name: str, variable: Variable, kept: tuple[str, ...], variables: Mapping[str, Variable]) -> Variable:
    """The declaration without some parents: what they alone determine is left open."""
    gone = next(parent for parent in variable.all_parents if parent not in kept)
    mend = f"say how it starts: dgm.lag({node_of(gone)!r}, initial=0.0), or .starting(...)"
    parents = tuple(parent for parent in variable.parents if parent in kept)
    if variable.is_deterministic or variable.inner:
        raise GraphError(f"node {name!r} ~ {variable.summary}: at the first step its parent {gone} does not exist; {mend}")
    if parents and (variable.fn is not None or isinstance(variable.net, nn.Module)):
        raise GraphError(f"node {name!r}: {variable.net_label} reads {gone}, which does not exist at the first step; {mend}")
    net = copy.copy(variable.net) if parents and isinstance(variable.net, Net) else None    # a network of its own, as it reads other parents
    parameters = tuple((key, value) for key, value in variable.parameters if _stays(variable, key, value, kept))
    declared = replace(variable, parameters=parameters, parents=parents, net=net, fn=None, before=tuple((key, value) for key, value in variable.before if key in kept))
    if parents and declared.signature and not declared.open_parameters:     # without a signature (a flow, say) all is computed from the parents
        declared = replace(declared, parents=(), net=None)
    return declared


def _stays(variable: Variable, parameter: str, value: object, kept: tuple[str, ...]) -> bool:
    if isinstance(value, Expression) and not isinstance(value, Constant):
        return set(references(value)) <= set(kept)
    if isinstance(value, Constant):                                         # a table with a row for each state of the parents has none to select by
        return len(value.shape) <= len(variable.parameter_shape(parameter)) or not variable.parents
    return True


# ---- in what order


def through_time(net: BayesNet, names: Iterable[str], *, below: bool = False) -> tuple[str, ...]:
    """The nodes from which one of `names` can be reached (or which they reach) within a step or over steps, in the net's order.

    A node that reaches itself at a later step is among them.
    """
    arrows: dict[str, list[str]] = {name: [] for name in net}
    for name, parents in _arrows(net.variables).items():
        for parent in parents:
            arrows[parent if below else name].append(name if below else parent)
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        new = set(arrows[waiting.pop()]) - found
        found |= new
        waiting += new
    return tuple(name for name in net.order if name in found)


def _arrows(variables: Mapping[str, Variable]) -> dict[str, tuple[str, ...]]:
    """The parents of each node, at whatever step."""
    return {name: tuple(dict.fromkeys(node_of(parent) for one in (variable, *variable.starts) for parent in one.all_parents)) for name, variable in variables.items()}


def _direction(part: Collection[str], variables: Mapping[str, Variable]) -> int:
    """Whether nodes that wait for each other are had from the start (1) or from the end (-1); 0 where none waits.

    Raises:
        GraphError: nodes that wait for each other in both directions.
    """
    signs = {1 if lagged.steps > 0 else -1: (name, lagged) for name in part for one in (variables[name], *variables[name].starts) for lagged in one.lags if lagged.node in part}
    if len(signs) > 1:
        (name, back), (other, ahead) = signs[1], signs[-1]
        raise GraphError(f"node {name!r}: it reads {back}, and {other!r} reads {ahead}, so that each step waits for the others; leave one of these arrows out")
    return next(iter(signs), 0)


def segments(net: BayesNet, known: Collection[str]) -> tuple[tuple[tuple[str, ...], int], ...]:
    """The nodes that are not known, in an order in which they can be had, and whether those of a segment have to be had step by step, together: from the start
    (1), from the end (-1), or not (0)."""
    return tuple((tuple(name for name in net.order if name in part), _direction(part, net.variables)) for part in _components(net.variables, known))


def stages(net: BayesNet) -> list[tuple[str | None, int, tuple[str, ...]]]:
    """The nodes in an order in which they can be had, those of a chain together as far as that goes, with the chain's name and the direction of its steps."""
    if not net.chains:
        return [(None, 0, net.order)]
    level: dict[str, int] = {}
    kinds: dict[str, tuple[str, int]] = {}
    for part in _components(net.variables, ()):
        name = next(iter(part))
        chain = net.chain_of(name)
        kind = ("", 0) if chain is None else (chain.name, _direction(part, net.variables) or 1)
        reached = [int(chain is not None)]
        for parent in (parent for each in part for one in (net[each], *net[each].starts) for parent in one.all_parents if node_of(parent) not in part):
            against = isinstance(parent, Lagged) and parent.steps * kind[1] < 0     # it lies where the steps have not come yet
            reached.append(level[node_of(parent)] + (kinds[node_of(parent)] != kind or against))
        level |= dict.fromkeys(part, max(reached))
        kinds |= dict.fromkeys(part, kind)
    groups: dict[tuple[int, str, int], list[str]] = {}
    for name in net.order:
        groups.setdefault((level[name], *kinds[name]), []).append(name)
    return [(kind or None, direction, tuple(groups[level, kind, direction])) for level, kind, direction in sorted(groups)]


def _components(variables: Mapping[str, Variable], known: Collection[str]) -> list[set[str]]:
    """The strongly connected components of what is not known, parents first (Tarjan, 1972, doi:10.1137/0201010)."""
    parents = {name: [parent for parent in found if parent not in known] for name, found in _arrows(variables).items() if name not in known}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for parent in parents[name]:
            if parent not in index:
                visit(parent)
                low[name] = min(low[name], low[parent])
            elif parent in stack:
                low[name] = min(low[name], index[parent])
        if low[name] == index[name]:
            place = stack.index(name)
            found.append(set(stack[place:]))
            del stack[place:]

    for name in parents:
        if name not in index:
            visit(name)
    return found
