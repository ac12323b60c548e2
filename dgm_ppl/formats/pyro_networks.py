"""The statements that compute a node's parameters from its parents by a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from ..conditionals import Port
from ..conditionals.predictors import Network
from ..nets import Flat, Net, Shaped
from ..nets.base import numbers, show_shapes
from ..nets.images import FromImages, FromVectors, OverImages, is_image
from ..nets.rows import Rows
from .pyro_layers import is_dense, stack_code
from .pyro_terms import Term, encoded, flattened
from .pyro_text import Code, call, sizes

if TYPE_CHECKING:
    from .pyro_node import NodeSource

__all__ = ["Output", "network_output", "pieces"]

LONG = 65


@dataclass(frozen=True)
class Output:
    """A network's call, or a sum as text; `batch` is the batch shape that the output still needs, as the text of a shape."""

    code: Code | str
    batch: str = ""


def network_output(node: NodeSource, network: Network) -> Output:
    """Writes the statements before the network, and returns its call."""
    module, of_user = network.network, not isinstance(node.variable.net, Net) or isinstance(node.variable.net, (Flat, Shaped))
    if isinstance(module, (FromImages, OverImages)) and len(network.ports) > 1 and _bodies(module):
        return _joined_images(node, network, module)
    layers = None if of_user else _layers(module)
    if layers is None or stack_code(layers) is None:
        return _supplied(node, network, of_user)
    name = _member(node, "net", layers, module)
    if _takes_vector(network):
        term = node.joined(network.ports)
        if is_dense(layers):
            return Output(call(name, term.text))
    else:
        port = network.ports[0]
        term = encoded(port, node.parents[port.name])
    return _under_one_dimension(node, name, term)


def pieces(node: NodeSource, output: Output, labels: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Writes the statements that cut an output into parameters; returns their names."""
    names = [node.temporary(label) for label in labels]
    if len(set(shapes)) == 1:
        cut = _shaped(shapes[0], output.batch) if len(shapes) == 1 else _equal(len(shapes), shapes[0], output.batch)
        node.say(f"{', '.join(names)} = ", _followed(node, output.code, cut))
        return names
    whole = output.code.then(f".reshape(*{output.batch}, -1)") if output.batch else output.code
    node.say(f"{', '.join(names)} = ", f"{_as_variable(node, whole)}.split({[numbers([shape]) for shape in shapes]}, -1)")
    for name, shape in zip(names, shapes):
        if len(shape) != 1:
            node.say(f"{name} = ", name + _shaped(shape, ""))
    return names


def _shaped(shape: tuple[int, ...], batch: str) -> str:
    if batch:
        return f".reshape(*{batch}, {sizes(shape)})" if shape else f".reshape({batch})"
    return ("" if len(shape) == 1 else f".unflatten(-1, {shape})") if shape else ".squeeze(-1)"


def _equal(count: int, shape: tuple[int, ...], batch: str) -> str:
    """Cuts an output into parameters of one shape."""
    if not batch and len(shape) == 1:
        return f".chunk({count}, -1)"
    whole = (count, *shape)
    return ("" if not batch and not shape else _shaped(whole, batch)) + f".unbind({-len(whole)})"


def _followed(node: NodeSource, code: Code | str, tail: str) -> Code | str:
    if isinstance(code, Code) and len(f"{code}{tail}") <= LONG:
        return code.then(tail)
    return _as_variable(node, code) + tail if tail else code


def _as_variable(node: NodeSource, code: str | Code) -> str:
    out = node.temporary("out")
    node.say(f"{out} = ", code)
    return out


# ---- how a network is called


def _takes_vector(network: Network) -> bool:
    return network.flat or isinstance(network.network, FromVectors)


def _under_one_dimension(node: NodeSource, name: str, term: Term) -> Output:
    """A network that wants exactly one leading dimension."""
    value = node.named(term, "h")
    rank = len(value.shape)
    batch = f"{value.text}.shape[:{-rank}]" if rank else f"{value.text}.shape"
    return Output(call(name, f"{value.text}.reshape({sizes((-1, *value.shape))})"), batch)


def _flat_batch(node: NodeSource, ports: Sequence[Port], terms: Sequence[Term]) -> list[str]:
    """Several values under one leading dimension, `batch` being what it stands for."""
    flat = [node.temporary(f"flat_{node.parents[port.name].text}") for port in ports]
    pairs = [f"({term.text}, {len(term.shape)})" for term in terms]
    node.say(f"{', '.join([node.temporary('batch'), *flat])} = ", call("flat_batch", *pairs))
    return flat


def _joined_images(node: NodeSource, network: Network, module: FromImages | OverImages) -> Output:
    terms = {port.name: node.parents[port.name] for port in network.ports}
    images = [is_image(port.encoded_shape) for port in network.ports]
    flat = _flat_batch(node, network.ports, [(encoded if image else flattened)(port, terms[port.name]) for port, image in zip(network.ports, images)])
    batch = node.temporary("batch")
    if isinstance(module, OverImages):
        size = next(port.encoded_shape[1:] for port, image in zip(network.ports, images) if image)
        planes = [name if image else f"{name}[..., None, None].expand(-1, -1, {sizes(size)})" for name, image in zip(flat, images)]
        name = _member(node, "net", list(module.body), module)
        return Output(call(name, call("torch.cat", Code("[", tuple(planes), "]"), "1")), batch)
    body, head = _member(node, "body", list(module.body), module.body), _member(node, "head", _layers(module.head), module.head)
    found, seen = node.temporary("found"), [name for name, image in zip(flat, images) if image]
    vectors = [name for name, image in zip(flat, images) if not image]
    node.say(f"{found} = ", call(body, seen[0] if len(seen) == 1 else f"torch.cat([{', '.join(seen)}], 1)").then(".flatten(1)"))
    features = f"torch.cat([{', '.join([found, *vectors])}], 1)" if vectors else found
    return Output(call(head, features), batch)


def _supplied(node: NodeSource, network: Network, of_user: bool) -> Output:
    """A network that is code of the user's own."""
    inner = network.network.module if isinstance(network.network, Rows) else network.network
    flat, shapes = network.flat, [port.encoded_shape for port in network.ports]
    takes = [(numbers(shapes),)] if flat else shapes
    comment = (
        f"{node.variable.net_label}, an nn.Module that takes {', '.join(f'(n, {sizes(shape)})' if shape else '(n,)' for shape in takes)} "
        f"and returns (n, {numbers(network.shapes)}): {show_shapes(network.shapes, node.conditional.computed)}."
    )
    name = _once(node, inner, lambda: node.members.argument(f"{node.stem}_net", inner, comment))
    terms = [node.joined(network.ports)] if flat else [encoded(port, node.parents[port.name]) for port in network.ports]
    if len(terms) == 1:
        output = _under_one_dimension(node, name, terms[0])
    else:
        output = Output(call(name, *_flat_batch(node, network.ports, terms)), node.temporary("batch"))
    return Output(call("vector_of", output.code, *(f'"{parameter}"' for parameter in node.conditional.computed)), output.batch) if of_user else output


# ---- what a network is made of


def _bodies(module: FromImages | OverImages) -> bool:
    parts = [module.body, module.head] if isinstance(module, FromImages) else [module.body]
    return all(stack_code(_layers(part)) is not None for part in parts)


def _layers(module: nn.Module) -> list[nn.Module] | None:
    """The layers of one of the library's networks, in order; None for another module."""
    if type(module) is nn.Sequential:
        return list(module)
    if type(module) is nn.Linear:
        return [module]
    if isinstance(module, Rows):
        return _layers(module.module)
    if isinstance(module, (FromVectors, OverImages)):
        return _layers(module.body)
    if isinstance(module, FromImages):
        return [*_layers(module.body), nn.Flatten(), *_layers(module.head)]
    return None


def _member(node: NodeSource, suffix: str, layers: list[nn.Module], key: nn.Module) -> str:
    return _once(node, key, lambda: node.members.network(f"{node.stem}_{suffix}", stack_code(layers), layers, node.shared_with()))


def _once(node: NodeSource, key: nn.Module, add) -> str:
    if key not in node.members.shared:
        node.members.shared[key] = add()
    return node.members.shared[key]
