"""A net's declaration as JSON data, complete and versioned, and back; reading it executes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy
from torch import nn

from .. import conditionals
from ..families import CATALOGUE, Architecture, Constant, Expression, Family, Free, Given, Operation, Ref, Setting, Start, Tied, Variable, spaces
from ..families.expressions import as_expression, operation
from ..families.lags import Lag, Lagged, lag, lead
from ..families.variable import checked_shape, states_of
from ..graph import DAG, GraphError, did_you_mean
from ..nets import Net
from ..network import AnySubset, BayesNet, Chain, Plate, RecognitionNet, SequenceGuide, SubsetRecognition

__all__ = ["describe", "restore"]

FORMAT, VERSION = "dgm_ppl net", 1


def describe(net: BayesNet | SubsetRecognition) -> dict[str, Any]:
    """The declaration as JSON data. Code (a module, a function) is named, not stored.

    Nets that nodes share are listed once, so that reading them back shares them again.
    """
    if isinstance(net, SubsetRecognition):
        return {**describe(net.networks), "guide_of": describe(net.model), "any_subset": net.subset.to_dict(), "order": list(net.order)}
    nets: list[Any] = []
    nodes = {name: _variable(variable, nets) for name, variable in net.variables.items()}
    written = {
        "format": FORMAT, "version": VERSION, "nodes": nodes, "nets": [_net(value) for value in nets],
        "plates": {name: _plate(plate) for name, plate in net.plates.items()},
    }
    if isinstance(net, SequenceGuide):
        written["guide_of"], written["over_chain"] = describe(net.model), True
        if net.subset is not None:
            written["any_subset"] = net.subset.to_dict()
    if isinstance(net, RecognitionNet):
        written["guide_of"] = describe(net.model)
        written["observed"] = list(net.observed)
        if net.collapsed:
            written["collapsed"] = dict(net.collapsed)
    return written


def _variable(variable: Variable, nets: list[Any]) -> dict[str, Any]:
    written: dict[str, Any] = {"family": variable.family_name, "shape": list(variable.shape)}
    if isinstance(variable.family, Architecture):
        written["settings"] = _settings(variable.family, nets)
    if variable.parameters:
        written["parameters"] = {name: _value(value) for name, value in variable.parameters}
    if variable.parents:
        written["parents"] = [_lag(parent) if isinstance(parent, Lagged) else parent for parent in variable.parents]
    if variable.before:
        written["before"] = {name: _value(value) for name, value in variable.before}
    if variable.starts:
        written["starts"] = [_variable(start, nets) for start in variable.starts]
    if variable.net is not None:
        written["net"] = _position(variable.net, nets)
    if variable.whole:
        written["whole"] = [[parent, list(plates)] for parent, plates in variable.whole]
    if variable.fn is not None:
        written["fn"] = _field(variable.fn, nets) if isinstance(variable.fn, Setting) else variable.net_label
    if variable.size is not None:
        written["size"] = variable.size
    if variable.labels is not None:
        written["labels"] = list(variable.labels)
    if variable.declared_space is not None:
        written["space"] = _space(variable.declared_space)
    return written


def _plate(plate: Plate) -> dict[str, Any]:
    return {"nodes": list(plate.nodes), "size": plate.size, **({"chain": True} if isinstance(plate, Chain) else {})}


def _lag(name: Lagged, initial: Any = None) -> dict[str, Any]:
    return {"lag": name.node, "steps": name.steps, **({} if initial is None else {"initial": _value(initial)})}


def _position(net: Any, nets: list[Any]) -> int:
    """Where a network stands in the list, put there where it is new."""
    if not any(value is net for value in nets):
        nets.append(net)
    return next(position for position, value in enumerate(nets) if value is net)


def _settings(setting: Setting, nets: list[Any]) -> dict[str, Any]:
    return {one.name: _field(getattr(setting, one.name), nets) for one in fields(setting)}


def _field(value: Any, nets: list[Any]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _finite_list(numpy.asarray(value))
    if isinstance(value, tuple):
        return [_field(one, nets) for one in value]
    if isinstance(value, Variable):
        return {"variable": _variable(value, nets)}
    if isinstance(value, (Net, Tied, nn.Module)):
        return {"net": _position(value, nets)}
    if isinstance(value, DAG):
        return {"dag": {node: list(value.parents(node)) for node in value}}
    if isinstance(value, Setting):
        return {"setting": type(value).__name__, "fields": _settings(value, nets)}
    return {"value": _value(as_expression(value))}


def _net(value: Any) -> dict[str, Any]:
    if isinstance(value, Tied):
        return {"tied": True}
    if isinstance(value, Net):
        try:
            return value.to_dict()
        except ValueError:
            return {"module": value.label()}
    return {"module": type(value).__name__}


def _value(value: Any) -> Any:
    if isinstance(value, Free):
        return {"free": None if value.initial is None else _value(value.initial)}
    if isinstance(value, Start):
        return {"start": _value(value.initial)}
    if isinstance(value, Lag):
        return _lag(value.name, value.initial)
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, Operation):
        return {"operator": value.operator, "operands": [_value(operand) for operand in value.operands]}
    return {"dtype": value.array.dtype.name, "value": _finite_list(value.array)}


def _finite_list(array: numpy.ndarray) -> Any:
    """Nested lists, with infinities as strings, which JSON has no numbers for."""
    cells = array.tolist()
    return _mapped(cells, lambda cell: cell if not isinstance(cell, float) or numpy.isfinite(cell) else str(cell))


def _mapped(cells: Any, function: Any) -> Any:
    return [_mapped(cell, function) for cell in cells] if isinstance(cells, list) else function(cells)


def _space(space: spaces.Space) -> dict[str, Any]:
    return {"space": type(space).__name__, **vars(space)}


SPACES = {kind.__name__: kind for kind in (spaces.Real, spaces.Positive, spaces.Interval, spaces.Circle, spaces.Simplex, spaces.Counts, spaces.Levels, spaces.OneHot, spaces.Finite)}


def restore(
    written: Mapping[str, Any], *, nets: Mapping[str, nn.Module] | None = None, functions: Mapping[str, Any] | None = None,
    families: Mapping[str, Family] | None = None,
) -> BayesNet | SubsetRecognition:
    """The net that `describe` wrote; `nets`, `functions` and `families` supply by node (family) name what is code.

    Raises:
        GraphError: another format or version, an unknown name, code that was not supplied, a document that is damaged.
    """
    with reading("the document"):
        if written.get("format") != FORMAT or written.get("version") != VERSION:
            raise GraphError(f"expected a {FORMAT}, version {VERSION}; got format {written.get('format')!r}, version {written.get('version')!r}")
        reader = Reader(written["nets"], nets or {}, functions or {}, {**CATALOGUE, **(families or {})})
        variables = {name: reader.variable(name, value) for name, value in written["nodes"].items()}
        plates = {name: (Chain if value.get("chain") is True else Plate)(value["nodes"], value["size"]) for name, value in written["plates"].items()}
        if "guide_of" not in written:
            return BayesNet(variables, plates=plates)
        model = restore(written["guide_of"], nets=nets, functions=functions, families=families)
        if "over_chain" in written:
            return SequenceGuide(variables, model=model, plates=plates, subset=AnySubset.of(written["any_subset"]) if "any_subset" in written else None)
        if "any_subset" in written:
            return SubsetRecognition.of(BayesNet(variables, plates=plates), model, AnySubset.of(written["any_subset"]), _strings(written["order"]))
        return RecognitionNet.between(variables, model, _strings(written["observed"]), plates, collapsed=written.get("collapsed", {}))


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Says of whatever a damaged document makes go wrong, where it is."""
    try:
        yield
    except GraphError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise GraphError(f"{place} is damaged ({type(error).__name__}: {error}); write it again with dgm.save") from error


class Reader:
    """Reads the nodes of one document: names are looked up in tables, nothing in it is executed."""

    def __init__(self, described: list, nets: Mapping[str, nn.Module], functions: Mapping[str, Any], families: Mapping[str, Family]):
        self.described, self.nets, self.functions, self.families = described, nets, functions, families
        self.builders = [None if "module" in value else Tied() if "tied" in value else Net.from_dict(value) for value in described]

    def variable(self, name: str, written: Mapping[str, Any]) -> Variable:
        """One node."""
        with reading(f"node {name!r}"):
            space = _read_space(written["space"]) if "space" in written else None
            declared = replace(self._distribution(name, written), declared_space=space)
            before = {key: _read(value) for key, value in written.get("before", {}).items()}
            parents, net, fn = [_parent(one, before) for one in written.get("parents", [])], self._net(name, written), self._function(name, written)
            whole: dict[str, list] = {}
            for parent, plates in written.get("whole", []):
                whole.setdefault(parent, []).append(_strings(plates))
            declared = declared if not parents and net is None and fn is None else declared.given(*parents, net=net, fn=fn, whole=whole)
            return declared.starting(*(self.variable(name, start) for start in written["starts"])) if "starts" in written else declared

    def _distribution(self, name: str, written: Mapping[str, Any]) -> Variable:
        labels, size = _read_states(name, written)
        if written["family"] == "Given":
            return replace(Given(*written["shape"]), labels=labels, size=size)
        parameters = {key: _read(value) for key, value in written.get("parameters", {}).items()}
        if "settings" in written:
            kind, shape = self._setting(name, written["family"], written["settings"]), checked_shape(written["shape"], f"node {name!r}", "write lengths as [3]")
            return Variable(kind, shape, tuple(parameters.items()), size=size, labels=labels)
        return self._family(name, written["family"]).declare(written["shape"], parameters, size=size, labels=labels)

    def _setting(self, name: str, kind: str, written: Mapping[str, Any]) -> Setting:
        return _kind(name, kind)(**{key: self._field(name, value) for key, value in written.items()})

    def _field(self, name: str, written: Any) -> Any:
        if isinstance(written, list):
            return tuple(self._field(name, one) for one in written)
        if isinstance(written, str) and written in ("inf", "-inf", "nan"):
            return float(written)
        if not isinstance(written, dict):
            return written
        if "variable" in written:
            return self.variable(name, written["variable"])
        if "net" in written:
            return self._net(name, written)
        if "dag" in written:
            return DAG({node: _strings(parents) for node, parents in written["dag"].items()})
        return self._setting(name, written["setting"], written["fields"]) if "setting" in written else _read(written["value"])

    def _family(self, name: str, family: str) -> Family:
        if family not in self.families:
            raise GraphError(f"node {name!r}: no family {family!r}{did_you_mean(family, self.families)}; supply it: families={{{family!r}: ...}}")
        return self.families[family]

    def _net(self, name: str, written: Mapping[str, Any]) -> Any:
        if "net" not in written:
            return None
        position = written["net"]
        if self.builders[position] is None and name not in self.nets:
            raise GraphError(f"node {name!r} has the module {self.described[position]['module']}, which is code; supply it: nets={{{name!r}: module}}")
        return self.nets[name] if self.builders[position] is None else self.builders[position]

    def _function(self, name: str, written: Mapping[str, Any]) -> Any:
        if isinstance(written.get("fn"), dict):
            return self._field(name, written["fn"])
        if "fn" in written and name not in self.functions:
            raise GraphError(f"node {name!r} has the function {written['fn']!r}, which is code; supply it: functions={{{name!r}: fn}}")
        return self.functions[name] if "fn" in written else None


def _kind(name: str, kind: Any) -> type[Setting]:
    """The class of a setting: one of the library's, or one of the user's that was imported."""
    if isinstance(kind, str) and kind in conditionals.__all__ and isinstance(known := getattr(conditionals, kind), type) and issubclass(known, Setting):
        return known
    below, known = [Setting], {}
    while below:
        found = below.pop()
        below += found.__subclasses__()
        known[found.__name__] = found
    if kind not in known or not is_dataclass(known[kind]):
        raise GraphError(f"node {name!r}: no kind {kind!r}{did_you_mean(str(kind), known)}; import the module that defines it first")
    return known[kind]


def _read_states(name: str, written: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, int | None]:
    if "labels" not in written:
        return None, None if "size" not in written else checked_shape([written["size"]], f"node {name!r}", "write a size as 3")[0]
    labels, size = states_of(_strings(written["labels"]), f"node {name!r}")
    if size != written["size"]:
        raise GraphError(f"node {name!r}: expected {size} states, one a label; got {written['size']!r}")
    return labels, size


def _strings(written: Any) -> tuple[str, ...]:
    if not isinstance(written, list) or not all(isinstance(value, str) for value in written):
        raise TypeError(f"expected a list of names; got {written!r}")
    return tuple(written)


def _read(written: Mapping[str, Any]) -> Constant | Expression | Free | Start:
    if "start" in written:
        return Start(_constant(written["start"]))
    if "free" in written:
        return Free(None if written["free"] is None else _constant(written["free"]))
    if "lag" in written:
        return _parent(written, {})
    if "ref" in written:
        return Ref(*_strings([written["ref"]]))
    if "operator" in written:
        return operation(written["operator"], [_operand(operand) for operand in written["operands"]])
    return _constant(written)


def _parent(written: Any, before: Mapping[str, Any]) -> str | Lag:
    if not isinstance(written, Mapping):
        return _strings([written])[0]
    node, steps = *_strings([written["lag"]]), written["steps"]
    initial = _read(written["initial"]) if "initial" in written else before.get(Lagged(node, steps))
    return lag(node, steps, initial=initial) if steps > 0 else lead(node, -steps, initial=initial)


def _operand(written: Mapping[str, Any]) -> Expression:
    return as_expression(_read(written))


def _constant(written: Mapping[str, Any]) -> Constant:
    return Constant(numpy.array(_mapped(written["value"], lambda cell: float(cell) if isinstance(cell, str) else cell), dtype=written["dtype"]))


def _read_space(written: Mapping[str, Any]) -> spaces.Space:
    fields = {key: value for key, value in written.items() if key != "space"}
    for key, value in fields.items():
        if value is not None and not isinstance(value, (int, float)):
            raise TypeError(f"expected a number for {key}; got {value!r}")
    return SPACES[written["space"]](**fields)
