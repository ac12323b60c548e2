"""A compiled net as a Pyro program: the only place that says `pyro.sample` and `pyro.plate`."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pyro
import torch
from pyro.poutine.runtime import am_i_wrapped, effectful
from torch import Tensor, nn

from ..families.shapes import broadcast

if TYPE_CHECKING:
    from .collapsing import CollapsedProgram
    from .model import Model, Node

__all__ = ["run_collapsed", "run_program"]


def run_program(model: Model, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], device) -> dict[str, Tensor]:
    """Runs the net as sample statements in plates; `values` are aligned, those of random nodes are observed.

    Rows are plates always, so that importance-weighted bounds are per row; plates of the net sit to their right.
    """
    declare_parameters(model)
    layout, found = model.layout, dict(values)
    plates = {
        name: pyro.plate(name, layout.size(name, sizes), dim=position - layout.rank, device=device)
        for position, name in enumerate(model.net.plates) if any(node in model.conditionals for node in model.net.plates[name].nodes)
    }
    with ExitStack() as rows:
        for position, size in enumerate(worlds):
            name = "rows" if len(worlds) == 1 else f"rows_{position}"
            rows.enter_context(pyro.plate(name, size, dim=position - len(worlds) - layout.rank, device=device))
        for node in model.schedule:
            if node.name in found and model.is_guide:
                continue
            with ExitStack() as inside:
                for plate in model.net.plates_of(node.name):
                    inside.enter_context(plates[plate])
                if node.deterministic:
                    value = model.compute(node, found, sizes)
                    found[node.name] = value if model.is_guide else pyro.deterministic(node.name, value, event_dim=node.event_rank)
                else:
                    infer = {"enumerate": "parallel"} if node.conditional.finite else {}
                    found[node.name] = pyro.sample(node.name, node.conditional(*_parents(node, found)), obs=values.get(node.name), infer=infer)
    return found


def run_collapsed(program: CollapsedProgram, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], device) -> dict[str, Tensor]:
    """Runs what is not eliminated as sample statements; densities that read what is eliminated are in one factor a row.

    Eliminated nodes have no site: the model's draw stands for them where others are drawn from it.
    """
    declare_parameters(program)
    model = program.model
    layout, found = model.layout, dict(values)
    plates = {
        name: pyro.plate(name, layout.size(name, sizes), dim=position - layout.rank, device=device)
        for position, name in enumerate(model.net.plates) if any(node in model.conditionals for node in model.net.plates[name].nodes)
    }
    with ExitStack() as rows:
        for position, size in enumerate(worlds):
            name = "rows" if len(worlds) == 1 else f"rows_{position}"
            rows.enter_context(pyro.plate(name, size, dim=position - len(worlds) - layout.rank, device=device))
        for node in model.schedule:
            if node.name in program.hidden:
                leads = [found[parent].shape[: found[parent].ndim - layout.rank - len(layout.events[parent])] for parent in node.parents]
                with torch.no_grad():
                    found[node.name] = model.draw(node, node.prepare(found), broadcast(tuple(worlds), *leads), sizes)
            elif node.deterministic:
                found[node.name] = model.compute(node, found, sizes)
            else:
                with ExitStack() as inside:
                    for plate in model.net.plates_of(node.name):
                        inside.enter_context(plates[plate])
                    distribution = node.conditional(*_parents(node, found))
                    if node.name in program.touched:
                        distribution = distribution.mask(False)             # its density is in the factor
                    found[node.name] = pyro.sample(node.name, distribution, obs=values.get(node.name))
        pyro.factor("eliminated", program.log_factor(found, worlds, sizes))
    return found


def _parents(node: Node, found: Mapping[str, Tensor]) -> list[Tensor]:
    """The parents without leading singletons, which would make a site's shape depend on what it reads; plates put back those of size one."""
    return [_trimmed(value, port.rank) for port, value in zip(node.conditional.ports, node.receive(found))]


def _trimmed(value: Tensor, rank: int) -> Tensor:
    while value.ndim > rank and value.shape[0] == 1:
        value = value.squeeze(0)
    return value


def declare_parameters(module: nn.Module) -> None:
    """Shows the parameters to SVI where it listens; nothing enters Pyro's parameter store."""
    if not am_i_wrapped():
        return
    prefix = "guide" if module.is_guide else "model"
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            effectful(type="param")(_handle)(parameter, name=f"{prefix}.{name}")


def _handle(parameter: nn.Parameter) -> Tensor:
    handle = parameter.detach()
    handle.unconstrained = weakref.ref(parameter)
    return handle
