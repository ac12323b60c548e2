"""A net as the source of one `nn.Module` whose forward is a Pyro program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..conditionals import Conditional, Parametric
from ..families import Architecture, Constant
from ..graph import GraphError
from ..network import BayesNet, Layout, RecognitionNet
from .pyro_helpers import HELPERS, IMPORTS
from .pyro_members import Members
from .pyro_node import NodeSource
from .pyro_text import Code, Line, Names, call, lines, one_line, quoted

__all__ = ["ClassSource"]


class ClassSource:
    """The class, and the tensors that its `load_state_dict` takes."""

    def __init__(self, net: BayesNet, conditionals: Mapping[str, Conditional], *, as_guide: bool = False):
        self.net, self.layout = net, Layout(net)
        self.is_guide = as_guide or isinstance(net, RecognitionNet)
        self.conditionals = {name: _parametric(name, conditionals[name]) for name in net.order if name in conditionals}
        self.names = Names((*IMPORTS, *HELPERS, "self", "data"))
        self.variables = {name: self.names.new(name) for name in net}
        self.plates = {name: self.names.new(name) for name, plate in net.plates.items() if any(node in conditionals for node in plate.nodes)}
        self.read = {port.name for conditional in self.conditionals.values() for port in conditional.ports}
        self.members = Members()
        self.body = [*self._inputs(), *self._plates(), *self._rows()]

    @property
    def name(self) -> str:
        return "Guide" if self.is_guide else "Model"

    def lines(self) -> Iterator[str]:
        """The source, line by line."""
        yield f"class {self.name}(nn.Module):"
        yield '    """'
        yield from (f"    {one_line(line)}" for line in repr(self.net).replace("\\", "\\\\").replace('"""', '\\"\\"\\"').split("\n"))
        yield '    """'
        yield ""
        yield from lines([self._ranks()])
        yield ""
        if self.members.statements:
            yield from lines(self._constructor())
            yield ""
        yield from lines([*self._signature(), *self.body])

    def _ranks(self) -> Line:
        items = [f"{quoted(name)}: {len(self.layout.members[name]) + len(self.layout.events[name])}" for name in self.net if not self.net[name].is_deterministic]
        return Line("ranks = ", Code("{", tuple(items), "}", filled=True), 1, "dimensions of a value in one world: its plates, then its event")

    def _constructor(self) -> list[Line]:
        start = Code("def __init__(", ("self", *self.members.arguments), "):")
        return [Line("", start, 1), Line("super().__init__()", "", 2), *self.members.statements]

    def _signature(self) -> Iterator[Line]:
        if any(conditional.finite and not conditional.variable.is_deterministic for conditional in self.conditionals.values()):
            yield Line("@config_enumerate", "", 1)
        yield Line("def forward(self, data):" if self.net.inputs else "def forward(self, data=None):", "", 1)
        if not self.net.inputs:
            yield Line("data = data or {}", "", 2)
        if self.members.learned:
            yield Line("", call("pyro.module", quoted(self.name.lower()), "self"), 2, note="shows SVI the parameters")

    # ---- the body

    def _inputs(self) -> Iterator[Line]:
        for name in self.net.inputs:
            if name in self.read:
                aligned = "".join(f".unsqueeze({axis})" for axis in reversed(self.layout.absent[name]))
                yield Line(f"{self.variables[name]} = ", f"data[{quoted(name)}]{aligned}", 2, _states(self.net, name))

    def _plates(self) -> Iterator[Line]:
        for position, name in enumerate(self.net.plates):
            if name in self.plates:
                code = call("pyro.plate", quoted(name), self._size(name), f"dim={position - len(self.net.plates)}")
                yield Line(f"{self.plates[name]} = ", code, 2)

    def _size(self, plate: str) -> str | Code:
        declared = self.net.plates[plate]
        if declared.size is not None:
            return str(declared.size)
        axes = {name: self._axis(plate, name) for name in declared.nodes if not self.net[name].is_deterministic}
        for name in axes:
            if self.net[name].is_given:
                return f"data[{quoted(name)}].shape[{axes[name]}]"
        return call("size_of", "data", Code("{", tuple(f"{quoted(name)}: {axis}" for name, axis in axes.items()), "}"))

    def _axis(self, plate: str, node: str) -> int:
        plates = self.net.plates_of(node)
        return plates.index(plate) - len(plates) - len(self.layout.events[node])

    def _rows(self) -> Iterator[Line]:
        yield Line("with ", call("rows_of", "data", "self.ranks", f"dim={-1 - len(self.net.plates)}").then(":"), 2)
        entered: tuple[tuple[str, ...], ...] = ()
        for name in self.conditionals:
            plates = self.net.plates_of(name)
            while entered and sum(entered, ()) != plates[: sum(map(len, entered))]:
                entered = entered[:-1]
            missing = plates[sum(map(len, entered)):]
            if missing:
                yield Line(f"with {', '.join(self.plates[plate] for plate in missing)}:", "", 3 + len(entered))
                entered += (missing,)
            yield from _deeper(self._node(name), 3 + len(entered))
        left = [name for name in self.net if name not in self.conditionals and not self.net[name].is_given]
        if left:
            yield Line(f"# {one_line(', '.join(left))}: left to the model, from whose conditional the guide would draw too", "", 3)

    # ---- one node

    def _node(self, name: str) -> list[Line]:
        source = NodeSource(
            self.conditionals[name], self.variables[name], self.variables, self.members, self.names, twins=self._twins(name), plates=list(self.net.plates),
        )
        if self.net[name].is_deterministic:
            return self._deterministic(name, source)
        distribution = source.distribution()
        if self.is_guide:
            return self._latent(name, source, distribution)
        return [*source.statements, self._assigned(name, call("pyro.sample", quoted(name), distribution, self._value(name, "obs=")))]

    def _deterministic(self, name: str, source: NodeSource) -> list[Line]:
        value = source.value(self._members(name))
        if self.is_guide:                                                   # no site, as it would be one that the model lacks or observes
            return [*source.statements, *([self._assigned(name, value)] if name in self.read else [])]
        return [*source.statements, self._assigned(name, call("pyro.deterministic", quoted(name), value, f"event_dim={len(self.net[name].shape)}"))]

    def _members(self, name: str) -> list[str]:
        """The sizes over which a deterministic value is spread: none where its parents have all of its plates."""
        own, fixed = self.net.plates_of(name), self.net[name].fixed.get("v")
        reached = {plate for parent in self.net[name].all_parents for plate in self.net.plates_of(parent)}
        if set(own) <= reached or (isinstance(fixed, Constant) and len(fixed.shape) > len(self.net[name].shape)):
            return []
        inside = list(self.net.plates)[list(self.net.plates).index(own[0]):]
        return [f"{self.plates[plate]}.size" if plate in own else "1" for plate in inside]

    def _latent(self, name: str, source: NodeSource, distribution: Code) -> list[Line]:
        inside = [*source.statements, self._assigned(name, call("pyro.sample", quoted(name), distribution))]
        if name not in self.read:
            return [Line(f"if {quoted(name)} not in data:"), *_deeper(inside, 1)]
        variable = self.variables[name]
        return [Line(f"{variable} = ", self._value(name)), Line(f"if {variable} is None:"), *_deeper(inside, 1)]

    def _assigned(self, name: str, code: str | Code) -> Line:
        return Line(f"{self.variables[name]} = " if name in self.read else "", code, comment=_states(self.net, name))

    def _value(self, name: str, before: str = "") -> Code:
        axes = [str(axis) for axis in reversed(self.layout.absent[name])]
        return call(f"{before}observed", "data", quoted(name), *axes) if axes else call(f"{before}data.get", quoted(name))

    def _twins(self, name: str) -> list[str]:
        net = self.net[name].net
        return [other for other in self.conditionals if other != name and net is not None and self.net[other].net is net]


def _deeper(statements: Iterable[Line], depth: int) -> Iterator[Line]:
    return (replace(statement, depth=statement.depth + depth) for statement in statements)


def _states(net: BayesNet, name: str) -> str:
    labels = net[name].labels
    return f"{name}: " + ", ".join(f"{code} {label}" for code, label in enumerate(labels)) if labels else ""


def _parametric(name: str, conditional: Conditional) -> Parametric:
    if not isinstance(conditional, Parametric) or isinstance(conditional.variable.family, Architecture):
        raise GraphError(
            f"node {name!r}: to_pyro writes families with parameters; got {conditional.variable.summary}; replace the node: "
            f"dgm.to_pyro(net.replace({name}=dgm.Normal(...).given(..., net=...)))"
        )
    return conditional
