"""What a builder of networks promises, and how it is written down and read back."""

import inspect
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import nn

__all__ = ["Net", "Shape", "Shapes", "numbers", "show_shapes"]

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]


def numbers(shapes: Iterable[Shape]) -> int:
    """Count the numbers in tensors of these shapes: `sum of products`.

    >>> numbers([(1, 28, 28), (), (3,)])
    788
    """
    return sum(math.prod(shape) for shape in shapes)


def show_shapes(shapes: Iterable[Shape], names: Iterable[str] = ()) -> str:
    """Write shapes for a message, each after its name where names are given.

    >>> show_shapes([(20,), ()], ["loc", "scale"])
    'loc (20), scale ()'
    """
    shown = ["(" + ", ".join(map(str, shape)) + ")" for shape in shapes]
    labels = list(names)
    return ", ".join(f"{name} {text}" for name, text in zip(labels, shown)) if labels else ", ".join(shown)


class Net(ABC):
    """A frozen description of a network from parents to parameters; it allocates nothing until `build`.

    To add another one, write a frozen dataclass in a file of its own, hand its name on in
    `dgm_ppl/nets/__init__.py`, and add a line to `tests/nets/net_cases.py`, which runs every contract test on it:

    1. State `flatten`. `True`: the module is called with one tensor `(*batch, features)`, the parents flattened and
       concatenated, under any number of leading dimensions. `False`: it is called with one tensor a parent,
       `(n, *shape)` each, under exactly one.
    2. Check the arguments in the constructor. Each constructor argument is a field of the same name (a `*widths`
       argument is a tuple), from which `repr`, `label`, `to_dict` and `from_dict` follow. Fields are numbers, tuples of
       numbers, other builders, or `torch.nn` classes annotated `type[nn.Module]`, which are saved by name.
    3. Write `build`, all mathematics; where the shapes do not fit, raise a `ValueError` that says the mend.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, repr=False)
        ... class Scaled(Net):
        ...     flatten = True
        ...     width: int = 8
        ...     def build(self, inputs, outputs):
        ...         layers = nn.Linear(numbers(inputs), self.width), nn.Linear(self.width, numbers(outputs))
        ...         return nn.Sequential(*layers)
        >>> Scaled(width=4).to_dict()
        {'net': 'Scaled', 'width': 4}
        >>> Net.from_dict({"net": "Scaled", "width": 4})
        Scaled(width=4)
    """

    flatten: ClassVar[bool]

    @abstractmethod
    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        """Allocate the module that computes parameters of shapes `outputs` from encoded parents of shapes `inputs`.

        Its output has the leading dimensions of its input and then `numbers(outputs)` numbers, parameter after
        parameter, each in its own C order.

        Raises:
            ValueError: if a net of this kind cannot join these shapes.
        """

    def label(self) -> str:
        """Name the net as pictures show it: its kind and its widths.

        >>> from dgm_ppl.nets import MLP
        >>> MLP(400, 200, activation=nn.Tanh).label()
        'MLP(400, 200)'
        """
        return f"{type(self).__name__}({', '.join(self._positional())})"

    def to_dict(self) -> dict[str, Any]:
        """Write the whole builder as JSON-able data.

        >>> from dgm_ppl.nets import MLP
        >>> MLP(400).to_dict()
        {'net': 'MLP', 'hidden': [400], 'activation': 'ReLU', 'dropout': 0.0, 'norm': False}

        Raises:
            ValueError: if it holds code: a module, or an activation that is not in `torch.nn`.
        """
        fields = {name: self._encode(name) for name in _arguments(type(self))}
        return {"net": type(self).__name__} | fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Net":
        """Read what `to_dict` wrote; names are looked up among the builders and in `torch.nn`, nothing is executed.

        >>> Net.from_dict({"net": "MLP", "hidden": [400], "activation": "Tanh"})
        MLP(400, activation=nn.Tanh)

        Raises:
            ValueError: if the builder, one of its fields or its activation is unknown.
        """
        builder = _find_builder(data.get("net"))
        if not issubclass(builder, cls):
            raise ValueError(f"net {builder.__name__!r}: expected a {cls.__name__}; try Net.from_dict(data)")
        return _construct(builder, {name: value for name, value in data.items() if name != "net"})

    def __repr__(self) -> str:
        options = [f"{name}={_show(getattr(self, name))}" for name in self._options_set()]
        return f"{type(self).__name__}({', '.join(self._positional() + options)})"

    def _freeze(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _positional(self) -> list[str]:
        given = []
        for name, argument in _arguments(type(self)).items():
            if argument.kind is argument.VAR_POSITIONAL:
                given += map(_show, getattr(self, name))
            elif argument.default is argument.empty:
                given.append(_show(getattr(self, name)))
        return given

    def _options_set(self) -> list[str]:
        options = {n: a for n, a in _arguments(type(self)).items() if a.default is not a.empty}
        return [name for name, option in options.items() if getattr(self, name) != option.default]

    def _encode(self, name: str) -> Any:
        value = getattr(self, name)
        if isinstance(value, tuple):
            return list(value)
        if isinstance(value, type):
            return self._encode_class(name, value)
        if isinstance(value, Net):
            return value.to_dict()
        if isinstance(value, nn.Module):
            raise ValueError(
                f"net {self!r}: expected data; got a module, which is code and cannot be saved as data; "
                "try a builder such as MLP(400), or a frozen subclass of Net, or give the module again when loading"
            )
        return value

    def _encode_class(self, name: str, value: type) -> str:
        if vars(nn).get(value.__name__) is not value:
            raise ValueError(
                f"net {self.label()}: expected {name} to be a class of torch.nn, which is saved by name; "
                f"got {value.__qualname__}; try {name}=nn.ReLU"
            )
        return value.__name__


def _arguments(builder: type[Net]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(builder, eval_str=True).parameters


def _show(value: Any) -> str:
    if isinstance(value, type):
        known = vars(nn).get(value.__name__) is value
        return f"nn.{value.__name__}" if known else value.__name__
    return type(value).__name__ if isinstance(value, nn.Module) else repr(value)


def _builders(base: type[Net]) -> list[type[Net]]:
    below = [builder for each in base.__subclasses__() for builder in _builders(each)]
    return below if inspect.isabstract(base) else [base, *below]


def _find_builder(name: Any) -> type[Net]:
    package = sys.modules[__package__]
    if name in package.__all__:
        getattr(package, name)  # a builder that is loaded when first asked for
    found = [builder for builder in _builders(Net) if builder.__name__ == name]
    homes = {builder.__module__ for builder in found}
    if not found:
        known = sorted({builder.__name__ for builder in _builders(Net)})
        raise ValueError(f"net {name!r}: expected one of {', '.join(known)}; import the module that defines it first")
    if len(homes) > 1:
        raise ValueError(f"net {name!r}: expected one builder of this name; got one in each of {sorted(homes)}")
    return found[-1]  # a class defined again, as in a notebook, replaces the earlier one


def _construct(builder: type[Net], fields: dict[str, Any]) -> Net:
    arguments = _arguments(builder)
    if unknown := fields.keys() - arguments.keys():
        expected = ", ".join(arguments) or "none"
        raise ValueError(f"net {builder.__name__!r}: expected the fields {expected}; got {sorted(unknown)}")
    values = {name: _decode(arguments[name], value) for name, value in fields.items()}
    widths = [values.pop(n) for n, a in arguments.items() if a.kind is a.VAR_POSITIONAL and n in values]
    return builder(*(width for each in widths for width in each), **values)


def _decode(argument: inspect.Parameter, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return Net.from_dict(value)
    return _find_class(value) if argument.annotation == type[nn.Module] else value


def _find_class(name: Any) -> type[nn.Module]:
    found = vars(nn).get(name) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"activation {name!r}: expected the name of a module class in torch.nn; try 'ReLU'")
    return found
