"""A user's module made a net: how it wants its parents is found by a dry run that leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from .base import Shapes, numbers, show_shapes
from .checks import nonempty
from .rows import Rows, parts

__all__ = ["adapt", "fit_flat", "fit_shaped"]

ROWS = 7  # a number that is unlikely to be one of the module's own widths


def adapt(module: nn.Module, inputs: Shapes, outputs: Shapes, names: tuple[str, ...] = ()) -> tuple[nn.Module, bool]:
    """Make a net of any module that computes parameters of shapes `outputs` from encoded parents of shapes `inputs`.

    The module is tried with the parents flattened and concatenated, then with one tensor `(n, *shape)` a parent, in
    evaluation mode and without gradients; its flags, its buffers and the random state stay as they were. A lazy module
    is materialised, and draws its first weights as if it had been built here.

    Args:
        module: returns `(n, ...)`, or a tuple, list or dict with one such tensor for each computed parameter.
        inputs: encoded event shape of each parent.
        outputs: shape of each computed parameter.
        names: names of the computed parameters, for messages and for a module that returns a dict.

    Returns:
        A module with output `(*batch, numbers)`, any number of leading dimensions, and whether it takes one tensor.

    Raises:
        ValueError: if no way of calling the module gives the right number of outputs.

    Example:
        >>> net, flatten = adapt(nn.Linear(20, 4), ((20,),), ((2,), (2,)))
        >>> net(torch.zeros(3, 5, 20)).shape, flatten
        (torch.Size([3, 5, 4]), True)
        >>> adapt(nn.Linear(20, 10), ((20,),), ((20,), (20,)), ("loc", "scale"))
        Traceback (most recent call last):
        ValueError: Linear: last layer must have 40 outputs: loc (20), scale (20); got 10 outputs for parents (20)
    """
    calls = [(_flat(inputs), True), (inputs, False)]
    return _first_fit(module, calls[:1] if _flat(inputs) == inputs else calls, outputs, names)


def fit_flat(module: nn.Module, inputs: Shapes, outputs: Shapes, names: tuple[str, ...] = ()) -> nn.Module:
    """Adapt a module that takes the parents flattened and concatenated."""
    return _first_fit(module, [(_flat(inputs), True)], outputs, names)[0]


def fit_shaped(module: nn.Module, inputs: Shapes, outputs: Shapes, names: tuple[str, ...] = ()) -> nn.Module:
    """Adapt a module that takes one tensor a parent."""
    return _first_fit(module, [(inputs, False)], outputs, names)[0]


def _flat(inputs: Shapes) -> Shapes:
    return ((numbers(inputs),),)


def _first_fit(
    module: nn.Module, calls: list[tuple[Shapes, bool]], outputs: Shapes, names: tuple[str, ...]
) -> tuple[nn.Module, bool]:
    nonempty(type(module).__name__, calls[0][0], outputs)
    wanted, failures = Wanted(outputs, names), []
    for inputs, flatten in calls:
        failure = wanted.compare(module, inputs)
        if failure is None:
            _materialise(module, inputs)
            return Rows(module, rank=len(inputs[0]), names=names), flatten
        failures.append(f"{failure} for parents {show_shapes(inputs)}")
    raise ValueError(
        f"{type(module).__name__}: last layer must have {numbers(outputs)} outputs: {show_shapes(outputs, names)}; "
        f"got {', and '.join(failures)}"
    )


@dataclass(frozen=True)
class Wanted:
    """The parameters that a module has to compute."""

    outputs: Shapes
    names: tuple[str, ...]

    def compare(self, module: nn.Module, inputs: Shapes) -> str | None:
        """Try the module and say what it gave, or `None` where that is right."""
        subject = _copy(module) if _has_lazy(module) else module  # a failed try would leave wrong sizes behind
        try:
            with _untouched(subject), _same_random_state(subject):
                found = parts(subject(*_zeros(subject, inputs)), self.names)
        except Exception as error:  # the module is the user's: it may fail in any way
            return f"{type(error).__name__} ({str(error).strip().splitlines()[0] if str(error) else ''})"
        return self._difference(found)

    def _difference(self, found: list[Tensor]) -> str | None:
        expected = [numbers(self.outputs)] if len(found) == 1 else [numbers([shape]) for shape in self.outputs]
        if not all(isinstance(part, Tensor) for part in found):
            return "outputs that are not tensors"
        if not all(part.dim() and part.shape[0] == ROWS for part in found):
            return "an output that does not keep the first dimension"
        sizes = [part.shape[1:].numel() for part in found]
        return None if sizes == expected else f"{' and '.join(map(str, sizes)) or 'no'} outputs"


def _copy(module: nn.Module) -> nn.Module:
    lazy = [buffer for buffer in module.buffers() if is_lazy(buffer)]  # torch copies lazy parameters, not lazy buffers
    return deepcopy(module, {id(each): UninitializedBuffer(device=each.device, dtype=each.dtype) for each in lazy})


def _materialise(module: nn.Module, inputs: Shapes) -> None:
    if _has_lazy(module):
        with _untouched(module):
            module(*_zeros(module, inputs))


def _has_lazy(module: nn.Module) -> bool:
    return any(map(is_lazy, chain(module.parameters(), module.buffers())))


def _zeros(module: nn.Module, inputs: Shapes) -> list[Tensor]:
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    return [torch.zeros(ROWS, *shape, dtype=like.dtype, device=like.device) for shape in inputs]


@contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Evaluate without gradients, then put training flags and buffers back."""
    flags = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers() if not is_lazy(buffer)]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for buffer, value in buffers:
            buffer.data.copy_(value)
        for part, training in flags:
            part.training = training


@contextmanager
def _same_random_state(module: nn.Module) -> Iterator[None]:
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        yield
