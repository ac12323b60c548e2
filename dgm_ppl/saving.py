"""Models on disk: one safetensors file with the weights and the declaration; reading it executes nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .compile import Guide, Model, SubsetGuide
from .compile.model import assemble
from .conditionals.masked import Masked
from .families import Family
from .formats import describe, restore
from .graph import GraphError
from .network import RecognitionNet, SubsetRecognition, build_conditionals

__all__ = ["load", "save"]

KEY = "dgm_ppl"


def save(model: Model | SubsetGuide, path: str | os.PathLike[str]) -> None:
    """Writes a compiled model or guide: declaration and weights, written beside and moved into place.

    A node with `fn` or with a module as net is saved by name: `load` asks for the code.
    """
    if not isinstance(model, (Model, SubsetGuide)):
        raise GraphError(f"save: expected a compiled model; got {type(model).__name__}; try dgm.save(dgm.compile(net), path)")
    if any(isinstance(part, Masked) for part in model.modules()):
        raise GraphError("save: this is one pattern's view of a guide for any subset; save that guide, and take the pattern once it is loaded: dgm.load(path).at(...)")
    described = {"net": describe(model.net), "nodes": list(model.parts if isinstance(model, SubsetGuide) else model.conditionals), "dtype": str(model.anchor.dtype).removeprefix("torch.")}
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise GraphError(f"save: the folder {folder} does not exist; make it first")
    handle, beside = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(handle)
    try:
        save_file(_tensors(model), beside, metadata={KEY: json.dumps(described)})
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state, each shared tensor once."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    kept = {name for name, tensor in state.items() if first.setdefault(id(tensor), name) == name}
    return {name: tensor.detach().contiguous() for name, tensor in state.items() if name in kept}


def load(
    path: str | os.PathLike[str], *, nets: Mapping[str, nn.Module] | None = None, functions: Mapping[str, Any] | None = None,
    families: Mapping[str, Family] | None = None, device: str | torch.device = "cpu",
) -> Model | SubsetGuide:
    """Reads what `save` wrote.

    Args:
        path: the file.
        nets, functions, families: the code that the file names: modules and functions by node, families of your own by name.
        device: where to put the model.

    Raises:
        GraphError: no such file, not a file of `save`, truncated or altered, code that was not supplied.
    """
    described, tensors = _read(path)
    try:
        net = restore(described["net"], nets=nets, functions=functions, families=families)
        nodes, dtype = described["nodes"], getattr(torch, described["dtype"])
    except GraphError as error:
        raise GraphError(f"load: {os.fspath(path)}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise GraphError(f"load: {os.fspath(path)}: the declaration in it is damaged ({error!r}); write it again with dgm.save") from error
    with torch.random.fork_rng(devices=[]):
        model = _assembled(net, nodes).to(dtype)
    _fill(model, tensors, path)
    return model.to(device)


def _read(path: str | os.PathLike[str]) -> tuple[dict, dict[str, torch.Tensor]]:
    if not os.path.isfile(path):
        raise GraphError(f"load: no file {os.fspath(path)}")
    try:
        with safe_open(path, framework="pt") as opened:
            written = (opened.metadata() or {}).get(KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        described = json.loads(written) if written is not None else None
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise GraphError(f"load: {os.fspath(path)} is truncated, altered, or not a safetensors file ({error}); write it again with dgm.save") from error
    if not isinstance(described, dict):
        raise GraphError(f"load: {os.fspath(path)} holds no dgm_ppl model; files for load come from dgm.save")
    return described, tensors


def _assembled(net: Any, nodes: list[str]) -> Model | SubsetGuide:
    if isinstance(net, SubsetRecognition):
        return SubsetGuide(net)
    if not isinstance(net, RecognitionNet):
        return assemble(net, {}, {})
    built = build_conditionals(net, shared := {})
    return Guide(net, {name: conditional for name, conditional in built.items() if name in nodes}, shared)


def _fill(model: nn.Module, tensors: Mapping[str, torch.Tensor], path: Any) -> None:
    state, first = model.state_dict(keep_vars=True), {}
    wanted = {name for name, tensor in state.items() if first.setdefault(id(tensor), name) == name}
    if wanted != set(tensors):
        odd = sorted(wanted ^ set(tensors))[0]
        raise GraphError(f"load: {os.fspath(path)}: the weights do not belong to the declaration: {odd!r} is {'missing' if odd in wanted else 'not expected'}")
    for name, tensor in tensors.items():
        if state[name].shape != tensor.shape:
            raise GraphError(f"load: {os.fspath(path)}: {name!r} has the shape {tuple(tensor.shape)}; the declaration needs {tuple(state[name].shape)}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
