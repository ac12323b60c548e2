"""Random nets: any DAG, mixed families and parameterizations, plates that nest and cross, inputs, functions of parents."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st
from torch import Tensor

import dgm_ppl as dgm
from dgm_ppl.guides.recognition import recognition_variable

SIZES = {"rows of a": 2, "b": 3}                    # the two plates; a name need not be an identifier
SHAPES = [(), (2,), (2, 2)]

# how a family is declared: event shapes that it can have, positional arguments before them, parameters that must be given
FAMILIES = {
    "Normal": (SHAPES, (), {}),
    "LogNormal": (SHAPES, (), {}),
    "Laplace": (SHAPES, (), {}),
    "StudentT": ([(), (2,)], (), {"df": 4.0}),
    "Gamma": ([(), (2,)], (), {}),
    "Beta": ([(), (2,)], (), {}),
    "HalfNormal": ([()], (), {}),
    "LogitNormal": ([(), (2,)], (), {"low": -1.0, "high": 2.0}),
    "VonMises": ([()], (), {"concentration": 2.0}),
    "Dirichlet": ([(3,), (2, 3)], (), {}),
    "MultivariateNormal": ([(2,)], (), {}),
    "Bernoulli": (SHAPES, (), {}),
    "Categorical": ([(), (2,)], (3,), {}),
    "OrderedLogistic": ([()], (3,), {"cutpoints": [-1.0, 1.0]}),
    "Binomial": ([()], (), {"total_count": 3}),
    "Poisson": ([()], (), {}),
}
SMOOTH = ("Normal", "LogNormal", "Laplace", "StudentT", "HalfNormal", "Gamma", "Beta", "LogitNormal")


@dataclass
class Draft:
    """A net being drawn."""

    variables: dict = field(default_factory=dict)
    plates: dict = field(default_factory=dict)       # of each node

    def net(self) -> dgm.BayesNet:
        members = {plate: [name for name in self.variables if plate in self.plates[name]] for plate in SIZES}
        return dgm.BayesNet(self.variables, plates={plate: dgm.Plate(nodes, size=SIZES[plate]) for plate, nodes in members.items() if nodes})

    def pooled(self, parent: str, plates: tuple[str, ...]) -> int:
        """How many plates of the parent the child is not in."""
        return len(set(self.plates[parent]) - set(plates))


@st.composite
def nets(draw, *, families=tuple(FAMILIES), plated: bool = True, nodes: int = 5) -> dgm.BayesNet:
    """A net of two to so many nodes; parents are random, so the graph is any DAG."""
    draft = Draft()
    for index in range(draw(st.integers(2, nodes))):
        name = ["z", "a.b", "x 1", "class", "β", "n"][index]
        draft.plates[name] = tuple(plate for plate in SIZES if plated and draw(st.integers(0, 2)) == 0)
        draft.variables[name] = draw(_variable(draft, name, families))
    net = draft.net()
    return net if any(not variable.is_given and not variable.is_deterministic for variable in net.variables.values()) else net.add(last=dgm.Normal())


@st.composite
def _variable(draw, draft: Draft, name: str, families: tuple[str, ...]) -> dgm.Variable:
    known = list(draft.variables)
    parents = draw(st.lists(st.sampled_from(known), unique=True, max_size=3)) if known else []
    kind = draw(st.integers(0, 9))
    if kind == 0 and not parents:
        return draw(st.sampled_from([dgm.Given(), dgm.Given(2), dgm.Given(states=3)]))
    if kind == 1 and parents:
        return draw(_function(draft, name, parents))
    family = draw(st.sampled_from(families))
    shapes, first, fixed = FAMILIES[family]
    shape = draw(st.sampled_from(shapes))
    declare = getattr(dgm, family)
    referred = [parent for parent in parents if not draft.pooled(parent, draft.plates[name]) and draft.variables[parent].shape in ((), shape)]
    if family in ("Normal", "Laplace") and referred and draw(st.booleans()):
        return declare(*shape, loc=draw(_expression(draft, referred[:2])), scale=draw(st.sampled_from([0.5, dgm.free(0.7)])))
    variable = declare(*first, *shape, **fixed)
    if not parents:
        return declare(*first, *shape, loc=0.3, scale=1.5) if family in ("Normal", "Laplace") and draw(st.booleans()) else variable
    return draw(_given(draft, name, variable, parents))


@st.composite
def _given(draw, draft: Draft, name: str, variable: dgm.Variable, parents: list[str]) -> dgm.Variable:
    way = draw(st.sampled_from(["classical", "net", "fn"]))
    if way == "net":
        return variable.given(*parents, net=draw(st.sampled_from([dgm.MLP(3), dgm.MLP(4, activation=torch.nn.Tanh)])))
    if way == "fn" and variable.family_name in ("Normal", "Laplace", "Bernoulli", "Poisson", "HalfNormal"):
        return variable.given(*parents, fn=Squash([_rank(draft, name, parent) for parent in parents], variable.shape, variable.family_name))
    return variable.given(*parents)


@st.composite
def _function(draw, draft: Draft, name: str, parents: list[str]) -> dgm.Variable:
    shape = draw(st.sampled_from(SHAPES))
    return dgm.Delta(*shape).given(*parents, fn=Squash([_rank(draft, name, parent) for parent in parents], shape, "Delta"))


@st.composite
def _expression(draw, draft: Draft, parents: list[str]):
    terms = [_term(draft.variables[parent], parent) for parent in parents]
    weight = draw(st.sampled_from([0.5, -1.0]))
    return sum(terms[1:], start=terms[0] * weight)


def _term(variable: dgm.Variable, name: str):
    if variable.space.integer and not variable.shape:
        return dgm.Constant([0.1, -0.4, 0.9])[dgm.Ref(name)]
    return dgm.sigmoid(dgm.Ref(name)) if not variable.space.integer else 1.0 * dgm.Ref(name)


def _rank(draft: Draft, name: str, parent: str) -> int:
    return draft.pooled(parent, draft.plates[name]) + len(draft.variables[parent].shape)


class Squash:
    """A user's function of parents whose events have some ranks: bounded, smooth, of the node's event shape."""

    def __init__(self, ranks: list[int], shape: tuple[int, ...], family: str):
        self.ranks, self.shape, self.family = ranks, shape, family

    def __call__(self, *parents: Tensor):
        sums = [parent.float().tanh().flatten(parent.ndim - rank).sum(-1) if rank else parent.float().tanh() for parent, rank in zip(parents, self.ranks)]
        total = sum(sums)
        value = (total.reshape(*total.shape, *(1,) * len(self.shape)) * torch.linspace(0.5, 1.0, 4)[: max(self.shape, default=1)].reshape(-1)) if self.shape else total
        value = value.expand(*total.shape, *self.shape) if self.shape else value
        if self.family in ("Normal", "Laplace"):
            return {"loc": value, "scale": 0.5 + value.sigmoid()}
        return {"Bernoulli": value, "Delta": value, "Poisson": value.exp(), "HalfNormal": value.exp()}[self.family]


def inputs(net: dgm.BayesNet, worlds: tuple[int, ...]) -> dict[str, Tensor]:
    """Values of the Given nodes."""
    found = {}
    for name in net.inputs:
        shape = (*worlds, *(SIZES[plate] for plate in net.plates_of(name)), *net[name].shape)
        found[name] = torch.randint(0, 3, shape) if net[name].space.integer else torch.randn(shape)
    return found


def recognition(net: dgm.BayesNet, observed: list[str]) -> dgm.BayesNet:
    """A guide for any net: inverted where there are no plates, else one factor a latent that reads what is observed in its own plates."""
    if not net.plates:
        return dgm.amortize(net, observed, net=dgm.MLP(4))
    shown = [*net.inputs, *observed]
    variables = {name: dgm.Given(*net[name].shape, space=net[name].space) for name in shown}
    for name in net.order:
        if name not in shown and name not in net.deterministic:
            near = [other for other in observed if set(net.plates_of(other)) <= set(net.plates_of(name))]
            variable = recognition_variable(name, net[name])
            variables[name] = variable.given(*near[:2], net=dgm.MLP(3)) if near else variable
    plates = {plate: dgm.Plate([n for n in net.plates[plate].nodes if n in variables], size=SIZES[plate]) for plate in net.plates}
    return dgm.BayesNet(variables, plates={plate: declared for plate, declared in plates.items() if declared.nodes})
