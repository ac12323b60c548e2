"""What a written module holds: learned and fixed tensors, networks, and what the user supplies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import torch
from torch import Tensor, nn

from .pyro_text import Code, Line, Names, array, call, quoted

__all__ = ["Members"]


class Members:
    """The constructor of a written module, and the tensors that its `load_state_dict` takes.

    Each method adds one member and returns how the program reads it.
    """

    def __init__(self) -> None:
        self.names = Names(("ranks",))
        self.arguments: list[str] = []
        self.statements: list[Line] = []
        self.state: dict[str, Tensor] = {}
        self.shared: dict[object, str] = {}
        self.learned = False

    def parameter(self, wanted: str, start: Code, value: Tensor, comment: str = "") -> str:
        """A learned tensor that begins at `start`."""
        name = self._add(wanted, call("nn.Parameter", start), comment, {"": value})
        self.learned = True
        return name

    def buffer(self, wanted: str, values: numpy.ndarray) -> str:
        """A fixed array."""
        name = self.names.new(wanted)
        self.statements.append(Line("", call("self.register_buffer", quoted(name), array(values)), 2))
        self.state[name] = torch.tensor(values, dtype=torch.get_default_dtype())
        return f"self.{name}"

    def network(self, wanted: str, code: Code, layers: list[nn.Module], comment: str = "") -> str:
        """Layers one after the other."""
        prefixes = [""] if len(layers) == 1 else [f"{position}." for position in range(len(layers))]
        state = {prefix + key: value for prefix, layer in zip(prefixes, layers) for key, value in layer.state_dict().items()}
        self.learned = True
        return self._add(wanted, code, comment, state)

    def argument(self, wanted: str, value: object, comment: str) -> str:
        """What the user supplies to the constructor; the comment says what."""
        state = value.state_dict() if isinstance(value, nn.Module) else {}
        name = self.names.new(wanted)
        self.arguments.append(name)
        self.learned |= isinstance(value, nn.Module)
        self.statements.append(Line(f"self.{name} = ", name, 2, f"Supply {name}: {comment}"))
        self._hold(name, state)
        return f"self.{name}"

    def _add(self, wanted: str, code: Code, comment: str, state: Mapping[str, Tensor]) -> str:
        name = self.names.new(wanted)
        self.statements.append(Line(f"self.{name} = ", code, 2, comment))
        self._hold(name, state)
        return f"self.{name}"

    def _hold(self, name: str, state: Mapping[str, Tensor]) -> None:
        self.state |= {f"{name}.{key}" if key else name: value.detach() for key, value in state.items()}
