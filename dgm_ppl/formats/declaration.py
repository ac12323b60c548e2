"""A net's declaration as JSON data, complete and versioned, and back; reading it executes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
from torch import nn

from ..families import CATALOGUE, Constant, Expression, Family, Free, Operation, Ref, Variable, spaces
from ..graph import GraphError, did_you_mean
from ..nets import Net
from ..network import BayesNet, Plate, RecognitionNet

__all__ = ["describe", "restore"]

VERSION = 1


def describe(net: BayesNet) -> dict[str, Any]:
    """The declaration as JSON data. Code (a module, a function) is named, not stored.

    Nets that nodes share are listed once, so that reading them back shares them again.
    """
    nets: list[Any] = []
    nodes = {name: _variable(variable, nets) for name, variable in net.variables.items()}
    written = {
        "format": "dgm_ppl net", "version": VERSION, "nodes": nodes, "nets": [_net(value) for value in nets],
        "plates": {name: {"nodes": list(plate.nodes), "size": plate.size} for name, plate in net.plates.items()},
    }
    if isinstance(net, RecognitionNet):
        written["guide_of"] = describe(net.model)
        written["observed"] = list(net.observed)
    return written


def _variable(variable: Variable, nets: list[Any]) -> dict[str, Any]:
    written: dict[str, Any] = {"family": variable.family_name, "shape": list(variable.shape)}
    if variable.parameters:
        written["parameters"] = {name: _value(value) for name, value in variable.parameters}
    if variable.parents:
        written["parents"] = list(variable.parents)
    if variable.net is not None:
        if not any(value is variable.net for value in nets):
            nets.append(variable.net)
        written["net"] = next(position for position, value in enumerate(nets) if value is variable.net)
    if variable.fn is not None:
        written["fn"] = variable.net_label
    if variable.size is not None:
        written["size"] = variable.size
    if variable.labels is not None:
        written["labels"] = list(variable.labels)
    if variable.declared_space is not None:
        written["space"] = _space(variable.declared_space)
    return written


def _net(value: Any) -> dict[str, Any]:
    if isinstance(value, Net):
        try:
            return value.to_dict()
        except ValueError:
            return {"module": value.label()}
    return {"module": type(value).__name__}


def _value(value: Any) -> Any:
    if isinstance(value, Free):
        return {"free": None if value.initial is None else _value(value.initial)}
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


SPACES = {kind.__name__: kind for kind in (spaces.Real, spaces.Positive, spaces.Interval, spaces.Circle, spaces.Simplex, spaces.Counts, spaces.Finite)}


def restore(
    written: Mapping[str, Any], *, nets: Mapping[str, nn.Module] | None = None, functions: Mapping[str, Any] | None = None,
    families: Mapping[str, Family] | None = None, observed: Any = None,
) -> BayesNet:
    """The net that `describe` wrote; `nets`, `functions` and `families` supply by node (family) name what is code.

    Raises:
        GraphError: another format or version, an unknown name, code that was not supplied.
    """
    if written.get("format") != "dgm_ppl net" or written.get("version") != VERSION:
        raise GraphError(f"expected a dgm_ppl net, version {VERSION}; got format {written.get('format')!r}, version {written.get('version')!r}")
    known = {**CATALOGUE, **(families or {})}
    shared = [None if "module" in value else Net.from_dict(value) for value in written["nets"]]
    variables = {name: _restored(name, value, known, shared, written["nets"], nets or {}, functions or {}) for name, value in written["nodes"].items()}
    plates = {name: Plate(value["nodes"], value["size"]) for name, value in written["plates"].items()}
    if "guide_of" in written:
        from_model = restore(written["guide_of"], nets=nets, functions=functions, families=families)
        return RecognitionNet.between(variables, from_model, written["observed"], plates)
    return BayesNet(variables, plates=plates)


def _restored(
    name: str, written: Mapping[str, Any], families: Mapping[str, Family], shared: list, described: list, nets: Mapping[str, nn.Module], functions: Mapping[str, Any],
) -> Variable:
    net, fn = None, None
    if "net" in written:
        net = shared[written["net"]]
        if net is None:
            net = nets.get(name)
        if net is None:
            raise GraphError(f"node {name!r} has the module {described[written['net']]['module']}, which is code; supply it: nets={{{name!r}: module}}")
    if "fn" in written:
        fn = functions.get(name)
        if fn is None:
            raise GraphError(f"node {name!r} has the function {written['fn']!r}, which is code; supply it: functions={{{name!r}: fn}}")
    if written["family"] == "Given":
        family = None
    elif written["family"] in families:
        family = families[written["family"]]
    else:
        raise GraphError(f"node {name!r}: no family {written['family']!r}{did_you_mean(written['family'], families)}; supply it: families={{{written['family']!r}: ...}}")
    if family is not None:
        family.check_names(written.get("parameters", {}))
    return Variable(
        family, tuple(written["shape"]), tuple((k, _read(v)) for k, v in written.get("parameters", {}).items()), tuple(written.get("parents", ())),
        net, fn, written.get("size"), tuple(written["labels"]) if "labels" in written else None, _read_space(written.get("space")),
    )


def _read(written: Mapping[str, Any]) -> Constant | Expression | Free:
    if "free" in written:
        return Free(None if written["free"] is None else _read(written["free"]))
    if "ref" in written:
        return Ref(written["ref"])
    if "operator" in written:
        return Operation(written["operator"], tuple(_read(operand) for operand in written["operands"]))
    return Constant(numpy.array(_mapped(written["value"], lambda cell: float(cell) if isinstance(cell, str) else cell), dtype=written["dtype"]))


def _read_space(written: Mapping[str, Any] | None) -> spaces.Space | None:
    return None if written is None else SPACES[written["space"]](**{key: value for key, value in written.items() if key != "space"})
