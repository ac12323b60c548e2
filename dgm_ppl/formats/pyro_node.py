"""One node of a net as source: the statements before its distribution, and the distribution."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy
import pyro.distributions as dist
import torch
from torch import nn

from ..conditionals import Parametric, Port
from ..conditionals.predictors import Configurations, Function, Linear, LinearAndTable, Network, Table
from ..families import Bernoulli, Categorical, Constant, Expression, Free, LogitNormal, OrderedLogistic, ZeroInflatedPoisson
from ..nets.base import show_shapes
from .pyro_constraints import Constrained, constrained
from .pyro_members import Members
from .pyro_networks import Output, network_output, pieces
from .pyro_terms import Term, flattened, joined_shape, literal, padded, received, written
from .pyro_text import Code, Line, Names, array, call, quoted, sizes

__all__ = ["NodeSource"]

LONG = 40


class NodeSource:
    """A conditional as source.

    Args:
        conditional: what is written.
        label: the node's variable in the program.
        variables: the variables of all nodes.
        members: where tensors, networks and the user's own code go.
        names: the identifiers that are taken.
        twins: other nodes that have the same network.
        plates: the names of the net's plates.
    """

    def __init__(
        self, conditional: Parametric, label: str, variables: Mapping[str, str], members: Members, names: Names, *, twins: Sequence[str], plates: Sequence[str],
    ):
        self.conditional, self.variable = conditional, conditional.variable
        self.stem = label.rstrip("_")
        self.members, self.names, self.twins = members, names, twins
        self.statements: list[Line] = []
        self.commented = False
        self.parents = {port.name: self._parent(port, variables[port.name], plates) for port in conditional.ports}
        self.given = [port for port in conditional.ports if port.name in self.variable.parents]
        finite = [position for position, port in enumerate(self.given) if port.is_configuration]
        classical = self.variable.net is None and self.variable.fn is None
        self.configurations = Configurations(self.given, finite) if finite and classical else None

    # ---- writing

    def say(self, before: str, code: str | Code = "") -> None:
        """Adds a statement."""
        self.statements.append(Line(before, code))

    def temporary(self, wanted: str) -> str:
        """A name for a passing value."""
        return self.names.local(self.stem, wanted)

    def named(self, term: Term, wanted: str) -> Term:
        """The term as a variable."""
        if term.text.isidentifier():
            return term
        name = self.temporary(wanted)
        self.say(f"{name} = ", term.text)
        return replace(term, text=name, binding=Term.binding)

    def joined(self, ports: Sequence[Port]) -> Term:
        """Parents encoded, in one vector."""
        vectors = [flattened(port, self.parents[port.name]) for port in ports]
        if len(vectors) == 1:
            return vectors[0]
        name = self.temporary("h")
        self.say(f"{name} = ", call("cat", *(vector.text for vector in vectors)))
        return Term(name, (sum(port.features for port in ports),))

    def shared_with(self) -> str:
        """A comment on the other nodes that have the same network."""
        return f"also for {', '.join(self.twins)}" if self.twins else ""

    def _parent(self, port: Port, variable: str, plates: Sequence[str]) -> Term:
        if not port.pooled:
            return Term(variable, port.shape, is_integer=port.space.integer)
        name, event = self.temporary(f"all_{variable.rstrip('_')}"), [*(plates[position] for position in port.pooled), *map(str, port.event)]
        self.statements.append(Line(f"{name} = ", received(port, variable), note=f"event {_tuple(event)}"))
        return Term(name, port.shape, is_integer=port.space.integer)

    # ---- the distribution

    def distribution(self) -> Code:
        """The distribution, over the node's whole event."""
        terms = self.terms()
        code, event = self._constructor(terms), self.variable.shape
        elements = event[: len(event) - self.variable.family.event_dim]
        if not elements:
            return code
        if joined_shape(*(self._batch(name, term) for name, term in terms.items())) == elements:
            return code.then(f".to_event({len(elements)})")
        if all(term.is_number for term in terms.values()):
            return code.then(f".expand({list(elements)}).to_event({len(elements)})")
        return call("spread", code, *map(str, elements))

    def value(self, plates: Sequence[str]) -> str:
        """The value of a deterministic node, over its whole event and the members of its plates, given as the text of sizes."""
        term, event = self.terms()["v"], self.variable.shape
        sizes = [*plates, *map(str, event)]
        if term.is_number:
            term = Term(f"torch.full({_tuple(sizes)}, {term.text})" if sizes else f"torch.tensor({term.text})")
        elif term.shape != event or plates:
            value = self.named(replace(term, text=f"torch.as_tensor({term.text})") if term.shape is None else term, "v")
            term = value.then(f".expand(torch.broadcast_shapes({value.text}.shape, {_tuple(sizes)}))", event) if sizes else value
        return term.then(".long()", event).text if self.variable.space.integer else term.text

    def _batch(self, parameter: str, term: Term) -> tuple[int | None, ...] | None:
        own = self.variable.family.parameters[parameter].constraint.event_dim
        return term.shape if term.is_number or term.shape is None else term.shape[: len(term.shape) - own]

    def _constructor(self, terms: Mapping[str, Term]) -> Code:
        family, distribution = self.variable.family, self.conditional.forms.distribution
        texts = {name: term.text for name, term in terms.items()}
        if family is Bernoulli and "probs" in terms:
            return call("ExactBernoulli" if self._may_be_certain() else "dist.Bernoulli", f"probs={texts['probs']}")
        if family is Bernoulli:
            return call("dist.Bernoulli", f"logits={texts['logits']}")
        if family is Categorical:
            return call("dist.Categorical", self._states(terms))
        if family is LogitNormal:
            return call("logit_normal", *texts.values())
        if family in (OrderedLogistic, ZeroInflatedPoisson) or vars(dist).get(family.name) is not distribution:
            texts = {name: f"torch.tensor({text})" if terms[name].is_number else text for name, text in texts.items()}
        return call(self._class(distribution), *_arguments(distribution, texts))

    def _states(self, terms: Mapping[str, Term]) -> str:
        if "logits" in terms:
            return f"logits={terms['logits'].text}"
        return f"logits={terms['probs'].then('.log()', None).text}" if self._may_be_certain() else f"probs={terms['probs'].text}"

    def _may_be_certain(self) -> bool:
        """Whether a probability may be so close to 0 or 1 that torch would clamp it."""
        given, tiny = self.variable.fixed.get("probs"), torch.finfo(torch.get_default_dtype()).eps
        return not isinstance(given, Constant) or bool(((given.array < tiny) | (given.array > 1 - tiny)).any())

    def _class(self, distribution: Callable) -> str:
        name = getattr(distribution, "__name__", "")
        if vars(dist).get(name) is distribution:
            return f"dist.{name}"
        family, signature = self.variable.family.name, ", ".join(self.variable.signature)
        comment = f"your distribution {family}({signature})."
        return self.members.argument(f"{self.stem}_family", distribution, comment)

    # ---- where each parameter comes from

    def terms(self) -> dict[str, Term]:
        """The parameters, in the order of the signature."""
        computed = self._computed()
        return {name: computed[name] if name in computed else self._term(name) for name in self.variable.signature}

    def _term(self, parameter: str) -> Term:
        given = self.variable.fixed.get(parameter)
        if isinstance(given, Constant):
            return self._constant(parameter, given)
        if isinstance(given, Expression):
            term = padded(written(given, self.parents, self._hold(parameter)), len(self._shape(parameter)))
            return self.named(term, parameter) if len(term.text) > LONG else term
        return self._learned(parameter, given)

    def _shape(self, parameter: str) -> tuple[int, ...]:
        return self.variable.parameter_shape(parameter)

    def _constrained(self, parameter: str) -> Constrained:
        return constrained(self.variable.family.parameters[parameter].constraint)

    def _hold(self, parameter: str) -> Callable[[Constant], Term]:
        return lambda fixed: Term(self.members.buffer(f"{self.stem}_{parameter}", fixed.array), fixed.shape, batched=False)

    def _constant(self, parameter: str, given: Constant) -> Term:
        shape, values, name = self._shape(parameter), given.array, f"{self.stem}_{parameter}"
        if values.ndim == 0 and shape == self.variable.shape and not self.variable.family.event_dim:
            return literal(int(values) if parameter == "total_count" and values == int(values) else float(values))
        rows = self.configurations
        if rows is not None and values.shape == (*rows.sizes, *shape):
            return Term(f"{self.members.buffer(name, values)}[{self._row()}]", shape)
        outer = values.ndim - len(shape)
        if outer <= 0:
            return Term(self.members.buffer(name, numpy.broadcast_to(values, shape)), shape)
        aligned = [1] * self.conditional.all_plates
        for position, size in zip(self.conditional.plates, values.shape[:outer]):
            aligned[position] = size
        return Term(self.members.buffer(name, values.reshape(*aligned, *values.shape[outer:])), values.shape[outer:])

    def _learned(self, parameter: str, given: Free | None) -> Term:
        shape, kept = self._shape(parameter), self._constrained(parameter)
        start = call("torch.zeros", sizes(shape))
        if given is not None and given.initial is not None:
            start = Code("", (kept.inverse.format(array(numpy.broadcast_to(given.initial.array, shape))),), "")
        elif parameter == "cov_factor":
            start = call("torch.randn", sizes(shape)).then(f" / math.sqrt({shape[-1]})")
        name = self.members.parameter(f"{self.stem}_{kept.prefix}{parameter}", start, self.conditional.unconstrained[parameter])
        return Term(kept.forward.format(name), shape)

    # ---- computed from the parents

    def _computed(self) -> dict[str, Term]:
        predictor = self.conditional.predictor
        parts = [predictor.linear, predictor.table] if isinstance(predictor, LinearAndTable) else [predictor]
        return {name: term for part in parts for name, term in self._predicted(part).items()}

    def _predicted(self, predictor: nn.Module | None) -> dict[str, Term]:
        if predictor is None:
            return {}
        if isinstance(predictor, Table):
            return {name: self._table(name, rows) for name, rows in predictor.rows.items()}
        if isinstance(predictor, Function):
            return self._function(predictor)
        output = network_output(self, predictor) if isinstance(predictor, Network) else self._linear(predictor)
        computed = self.conditional.computed[: len(predictor.shapes)]
        ranges = [self._constrained(name) for name in computed]
        names = pieces(self, output, [kept.prefix + name for kept, name in zip(ranges, computed)], predictor.shapes)
        return {name: Term(kept.forward.format(text), self._shape(name)) for name, kept, text in zip(computed, ranges, names)}

    def _row(self) -> str:
        terms = [self.parents[self.given[position].name] for position in self.configurations.selected]
        return ", ".join(term.text if term.is_integer else f"{term.text}.long()" for term in terms)

    def _rows(self) -> str:
        """A comment on what the rows of the node's first table stand for."""
        if self.commented:
            return ""
        self.commented = True
        return f"a row for each state of {', '.join(self.given[position].name for position in self.configurations.selected)}"

    def _table(self, parameter: str, rows: torch.Tensor) -> Term:
        shape, kept = self._shape(parameter), self._constrained(parameter)
        whole = (*self.configurations.sizes, *shape)
        name = self.members.parameter(f"{self.stem}_{kept.prefix}{parameter}", call("0.1 * torch.randn", *map(str, whole)), rows.reshape(whole), self._rows())
        return Term(kept.forward.format(f"{name}[{self._row()}]"), shape)

    def _function(self, predictor: Function) -> dict[str, Term]:
        inputs = [self.parents[port.name].text for port in self.given]
        results = show_shapes(predictor.shapes, predictor.names)
        comment = f"your function {self.variable.net_label}({', '.join(inputs)}), which returns {results} after the batch dimensions."
        function = self.members.argument(f"{self.stem}_fn", predictor.fn, comment)
        names = [self.temporary(name) for name in predictor.names]
        result = call("values_of", f"{function}({', '.join(inputs)})", *map(quoted, predictor.names))
        self.say(f"{names[0] if len(names) > 1 else _tuple(names)}{''.join(f', {name}' for name in names[1:])} = ", result)
        return {name: Term(text, None) for name, text in zip(predictor.names, names)}

    def _linear(self, predictor: Linear) -> Output:
        features = self.joined([self.given[position] for position in predictor.inputs])
        if predictor.configurations is None:
            layer = predictor.predictor
            code = call("nn.Linear", str(layer.in_features), str(layer.out_features))
            return Output(call(self.members.network(f"{self.stem}_linear", code, [layer]), features.text))
        row, states = self._row(), self.configurations.sizes
        bound = f"{1 / math.sqrt(features.shape[0]):.4g}"
        tensors = {name: getattr(predictor, name) for name in ("weight", "bias")}
        weight, bias = (
            self.members.parameter(
                f"{self.stem}_{name}", call("torch.empty", sizes((*states, *value.shape[1:]))).then(f".uniform_(-{bound}, {bound})"),
                value.reshape(*states, *value.shape[1:]), self._rows(),
            ) for name, value in tensors.items()
        )
        self.say(f"{self.temporary('weight')} = ", f"{weight}[{row}]")
        column = features.then(".unsqueeze(-1)", None).text
        return Output(f"({self.temporary('weight')} @ {column}).squeeze(-1) + {bias}[{row}]")


def _tuple(sizes: Sequence[str]) -> str:
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _arguments(distribution: Callable, texts: Mapping[str, str]) -> list[str]:
    """Positional where the constructor has no default, by name where it has."""
    described = list(inspect.signature(distribution).parameters.values())
    positional = [parameter.name for parameter in described if parameter.default is parameter.empty]
    in_order = list(texts)[: len(positional)] == positional[: len(texts)]
    return [text if in_order and name in positional else f"{name}={text}" for name, text in texts.items()]
