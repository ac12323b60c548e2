"""What is wrong with a declaration, found before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from pyro.distributions import constraints
from torch import nn

from ..families import Architecture, Constant, Expression, Free, Ref, Simplex, Start, Tied, Variable
from ..families.expressions import indices
from ..graph import GraphError
from ..nets import Net, SetNet
from .chains import with_lags
from .plates import Chain, Plate

__all__ = ["check_variable", "members_of", "sized"]

Constraint = constraints.Constraint


def check_variable(name: str, variable: Variable, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> None:
    """Raises GraphError where the node's declaration cannot be compiled."""
    if variable.is_given:
        if variable.parents:
            raise GraphError(f"node {name!r}: a Given node is an input and has no parents; got {list(variable.parents)}; leave the arrows out, or declare a distribution")
        return
    _check_net(name, variable)
    _check_whole(name, variable, plates)
    if isinstance(variable.family, Architecture):
        for inner in variable.inner:
            check_variable(name, inner, variables, plates)
        variable.family.check(name, variable, {parent: variables[parent] for parent in variable.all_parents})
    if variable.family.parameters:
        _check_parents(name, variable, _configurations(name, variable, variables, plates))
    for parameter in variable.open_parameters:
        _check_learnable(name, variable, parameter)
    for parameter, value in variable.parameters:
        if isinstance(value, Constant):
            _check_constant(name, variable, parameter, value, variables, plates)
        elif isinstance(value, (Free, Start)):
            _check_free(name, variable, parameter, value)
        elif isinstance(value, Ref):
            _check_ref(name, variable, parameter, variables[value.name], value)
        else:
            _check_indices(name, parameter, value, variables)
    try:
        variable.space                                                      # read once: bounds may contradict each other
    except ValueError as error:
        raise GraphError(f"node {name!r}: {error}") from error


def _check_whole(name: str, variable: Variable, plates: Mapping[str, Plate]) -> None:
    for parent, asked in variable.whole:
        both = [plate for plate, value in plates.items() if name in value.nodes and parent in value.nodes]
        for plate in asked:
            if plate not in both:
                raise GraphError(f"node {name!r}: whole: expected plates that {name!r} and {parent!r} are both in, {both}; got {plate!r}; the others are read whole anyway")


def _check_net(name: str, variable: Variable) -> None:
    if variable.whole and not isinstance(variable.net, SetNet):
        raise GraphError(f"node {name!r}: whole: expected a network that reads plates as sets; got {variable.net_label or 'none'}; try net=dgm.DeepSet(64)")
    if variable.net is not None and not isinstance(variable.net, (Net, Tied, nn.Module)):
        raise GraphError(f"node {name!r}: net is a builder or a torch module; got {variable.net!r}; try net=dgm.MLP(400), or fn= for a function")
    if not variable.parents and not variable.classical:
        raise GraphError(f"node {name!r}: a net or fn needs parents; try .given('z', net=...)")


def _check_parents(name: str, variable: Variable, configurations: tuple[int, ...]) -> None:
    constants = [(parameter, value) for parameter, value in variable.parameters if isinstance(value, Constant)]
    tables = any(configurations and value.shape == (*configurations, *variable.parameter_shape(parameter)) for parameter, value in constants)
    if variable.parents and not variable.open_parameters and not tables:
        raise GraphError(
            f"node {name!r}: {list(variable.parents)} are parents, but every parameter of {variable.family_name} is given, so nothing is left to "
            f"compute from them; leave one out, or drop .given"
        )
    if variable.is_deterministic and variable.open_parameters and not variable.parents:
        raise GraphError(f"node {name!r}: Delta needs a value: Delta(v=...), an expression, or .given('z', fn=...)")


def _check_learnable(name: str, variable: Variable, parameter: str) -> None:
    if not variable.family.parameters[parameter].learnable:
        raise GraphError(f"node {name!r}: {variable.family_name}'s parameter {parameter!r} cannot be learned; give it: {variable.family_name}({parameter}=...)")


def _check_free(name: str, variable: Variable, parameter: str, value: Free | Start) -> None:
    _check_learnable(name, variable, parameter)
    if value.initial is None:
        return
    shape = variable.parameter_shape(parameter)
    if len(value.initial.shape) > len(shape) or not _broadcasts(value.initial.shape, shape):
        raise GraphError(f"node {name!r}: parameter {parameter!r} = {value}: expected {_shape_words(shape)}, one value for all parents; got the shape {value.initial.shape}")
    _check_range(name, variable, parameter, value.initial, shape)


def _check_constant(
    name: str, variable: Variable, parameter: str, value: Constant, variables: Mapping[str, Variable], plates: Mapping[str, Plate],
) -> None:
    shape, found = variable.parameter_shape(parameter), value.shape
    configurations, own = _configurations(name, variable, variables, plates), _own(name, plates)
    if _per_member(found, shape, configurations, own) and not _sized(found, own) or not _fits(found, shape, configurations, own):
        expected = [_shape_words(shape)]
        expected += [f"{(*configurations, *shape)} with a row for each state of {list(variable.parents)}"] if configurations else []
        expected += [f"({', '.join(str(plate.size or plate.name) for plate in own)}{', ' if shape else ''}{', '.join(map(str, shape))}) with a value for each plate member"] if own else []
        raise GraphError(f"node {name!r}: parameter {parameter!r}: expected {', or '.join(expected)}; got the shape {found}")
    _check_range(name, variable, parameter, value, shape)


def _fits(found: tuple[int, ...], shape: tuple[int, ...], configurations: tuple[int, ...], own: list[Plate]) -> bool:
    one = len(found) <= len(shape) and _broadcasts(found, shape)
    return one or found == (*configurations, *shape) or _per_member(found, shape, configurations, own)


def _per_member(found: tuple[int, ...], shape: tuple[int, ...], configurations: tuple[int, ...], own: list[Plate]) -> bool:
    return bool(own) and found != (*configurations, *shape) and len(found) == len(own) + len(shape) and _broadcasts(found[len(own):], shape)


def sized(plates: Mapping[str, Plate], variables: Mapping[str, Variable]) -> dict[str, Plate]:
    """The plates, sized by fixed parameters that hold one value a member."""
    known: dict[str, tuple[int, str]] = {}
    seen, around = with_lags(variables, plates)
    for name in variables:
        for plate, size, parameter in members_of(name, seen, around):
            place = f"{parameter!r} of {name!r}"
            if isinstance(plates[plate], Chain) and not variables[name].is_deterministic:
                raise GraphError(f"node {name!r}: parameter {parameter!r} has {size} values, one a step of the chain {plate!r}; give them as an input: {name}_{parameter}=dgm.Given()")
            other, source = known.setdefault(plate, (size, place))
            if other != size:
                raise GraphError(f"plate {plate!r}: expected one size; got {other} members by {source}, {size} by {place}")
    return {name: plate.like(plate.nodes, known[name][0]) if name in known else plate for name, plate in plates.items()}


def members_of(name: str, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> Iterable[tuple[str, int, str]]:
    """The plates for which fixed parameters hold one value a member: the plate, how many, and the parameter."""
    variable, own = variables[name], _own(name, plates)
    configurations = _configurations(name, variable, variables, plates)
    for parameter, value in variable.parameters:
        if isinstance(value, Constant) and _per_member(value.shape, variable.parameter_shape(parameter), configurations, own):
            yield from ((plate.name, size, parameter) for plate, size in zip(own, value.shape) if size > 1)


def _check_range(name: str, variable: Variable, parameter: str, value: Constant, shape: tuple[int, ...]) -> None:
    constraint = variable.family.parameters[parameter].constraint
    tensor = torch.tensor(value.array, dtype=torch.float64)
    whole = tensor.expand(shape) if tensor.ndim < len(shape) else tensor    # a matrix is judged whole
    if bool(tensor.isnan().any()) or not bool(constraint.check(whole).all()):
        filled = f", filled to the shape {shape}," if tensor.ndim < constraint.event_dim else ""
        raise GraphError(f"node {name!r}: parameter {parameter!r} = {value}{filled} is outside its range: expected {_words(constraint)}")
    if not bool(torch.isfinite(tensor).all()) and parameter not in ("logits", "low", "high"):
        raise GraphError(f"node {name!r}: parameter {parameter!r} = {value} is not finite")


def _check_ref(name: str, variable: Variable, parameter: str, parent: Variable, ref: Ref) -> None:
    """A random parent taken as it is must not leave the parameter's range; what a Given or deterministic node holds is the user's."""
    constraint = variable.family.parameters[parameter].constraint
    (low, high), (least, largest) = _bounds(constraint), parent.space.bounds
    fits = isinstance(parent.space, Simplex) if constraint is constraints.simplex else low <= least and largest <= high
    if fits or parent.is_given or parent.is_deterministic:
        return
    raise GraphError(
        f"node {name!r}: parameter {parameter!r}: expected {_words(constraint)}; got {ref.name!r} ~ {parent.summary}, with values in {parent.space}; "
        f"{_range_mend(parameter, ref.name, constraint)}"
    )


def _check_indices(name: str, parameter: str, value: Expression, variables: Mapping[str, Variable]) -> None:
    for index in indices(value):
        node = variables[index.name]
        if node.space.cardinality is None and not node.is_given and not node.is_deterministic:
            raise GraphError(
                f"node {name!r}: parameter {parameter!r} = {value}: expected an index with states; got {index.name!r} ~ {node.summary}, with values in {node.space}; "
                f"try Categorical(...) or Given(states=...) for {index.name!r}"
            )


def _range_mend(parameter: str, parent: str, constraint: Constraint) -> str:
    if constraint is constraints.simplex:
        return f"declare {parent!r} as a Dirichlet"
    link = "exp" if _bounds(constraint)[1] == math.inf else "sigmoid"
    return f"try {parameter}=dgm.{link}(dgm.refs({parent!r}))"


def _bounds(constraint: Constraint) -> tuple[float, float]:
    of = vars(constraint.base_constraint if isinstance(constraint, constraints.independent) else constraint)
    return of.get("lower_bound", -math.inf), of.get("upper_bound", math.inf)


def _configurations(name: str, variable: Variable, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> tuple[int, ...]:
    if not variable.classical:
        return ()
    return tuple(variables[parent].space.cardinality for parent in variable.parents if _selects(parent, name, variables, plates))


def _selects(parent: str, name: str, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> bool:
    outside = any(parent in plate.nodes and name not in plate.nodes for plate in plates.values())
    return variables[parent].space.cardinality is not None and not variables[parent].shape and not outside


def _own(name: str, plates: Mapping[str, Plate]) -> list[Plate]:
    return [plate for plate in plates.values() if name in plate.nodes]


def _broadcasts(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(found), reversed(shape)))


def _sized(found: tuple[int, ...], own: list[Plate]) -> bool:
    return all(size == 1 or plate.size in (None, size) for plate, size in zip(own, found))


def _shape_words(shape: tuple[int, ...]) -> str:
    return f"the shape {shape}" if shape else "a number"


WORDS = {
    constraints.positive: "a positive number", constraints.nonnegative: "a number that is not negative", constraints.unit_interval: "a probability",
    constraints.half_open_interval(0.0, 1.0): "a probability below 1",
    constraints.simplex: "probabilities that sum to one along the last dimension", constraints.nonnegative_integer: "a whole number from 0",
    constraints.lower_cholesky: "a lower triangular matrix with a positive diagonal", constraints.positive_definite: "a positive definite matrix",
    constraints.ordered_vector: "increasing numbers", constraints.real: "a number",
}


def _words(constraint: Constraint) -> str:
    """A range in words; constraints of one kind and bounds read alike."""
    if isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    kind = type(constraint), vars(constraint)
    return next((words for known, words in WORDS.items() if (type(known), vars(known)) == kind), str(constraint).rstrip("()"))
