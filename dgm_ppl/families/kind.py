"""What a variable's distribution is: what a declaration says of it before anything is built."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .spaces import Space
    from .variable import Variable

__all__ = ["Architecture", "Kind", "Setting"]


class Kind(ABC):
    """What stands as the `family` of a variable: a `Family` of parameters, or an `Architecture`."""

    name: str
    deterministic: bool
    sized: bool

    @abstractmethod
    def space(self, variable: Variable) -> Space:
        """Where the values of a variable of this kind live."""

    @abstractmethod
    def signature(self, names: Collection[str]) -> tuple[str, ...]:
        """The named parameters of the distribution, in order; none where it has no names for them."""

    @abstractmethod
    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        """The shape of a parameter for one world and one plate member."""

    @abstractmethod
    def summary(self, variable: Variable) -> str:
        """The distribution as it was declared: `Normal(20, loc=0.0, scale=1.0)`."""

    @abstractmethod
    def caption(self, variable: Variable) -> str:
        """The distribution in a picture, where parameters are left to the arrows: `Normal(20)`."""

    def recognition(self, variable: Variable) -> Variable | None:
        """The declaration that a guide takes for a latent of this kind, where its values need one of their own."""
        return None

    def start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Where a learned parameter starts, before its constraint."""
        if name == "cov_factor":                                            # zero would be a saddle point
            return torch.randn(shape) / math.sqrt(shape[-1])
        return torch.zeros(shape)


class Setting:
    """A frozen dataclass of data that is part of a declaration: compared, printed and saved by its fields.

    Fields are numbers, strings, tuples, DAGs, variables, networks, and other settings. A subclass is found again by its name,
    so one of your own must be imported before a file that names it is read.
    """

    def __repr__(self) -> str:
        shown = [one for one in fields(self) if one.default is MISSING or one.default != getattr(self, one.name)]
        return f"{type(self).__name__}({', '.join(f'{one.name}={getattr(self, one.name)!r}' for one in shown)})"


class Architecture(Setting, Kind):
    """A distribution that is more than a family of parameters: autoregressive, a flow, a mixture, a generator, a diffusion.

    To add one, write in a file of `conditionals/` a frozen dataclass with `repr=False` that derives from this class, the
    conditional that it becomes, and a function (or the class's own `declare`) that returns the `Variable`:

        @dataclass(frozen=True, repr=False)
        class Doubled(Architecture):
            base: Variable                                   # a declaration inside this one
            def space(self, variable): return self.base.space
            def build(self, name, variable, ports, *, plates, all_plates, shared): return DoubledConditional(...)

        def doubled(base): return Variable(Doubled(base), base.shape, size=base.size, labels=base.labels)

    Printing, comparing, saving, drawing, `.given(...)` and `net.check` follow from the fields.
    """

    deterministic: ClassVar[bool] = False
    sized: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {}
    linear: ClassVar[tuple[str, ...]] = ()
    event_dim: ClassVar[int] = 0

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def inner(self) -> tuple[Variable, ...]:
        """The declarations inside this one, whose expressions make arrows too."""
        return ()

    @property
    def coupled(self) -> tuple[str, ...]:
        """The plates over which copies of the node are drawn together, and depend on each other."""
        return ()

    @property
    def net_label(self) -> str:
        """The network that reads the parents, for the arrows of a picture."""
        return ""

    @abstractmethod
    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> Any:
        """The `Conditional` of a node, for what `Parametric` takes: `ports` are how it sees its parents, `shared` the networks built so far."""

    def exact(self, variable: Variable) -> bool:
        """Whether its conditional has an exact density: `Conditional.density` says so of the compiled one."""
        return True

    def as_guide_of(self, variable: Variable, latent: Variable) -> Variable:
        """The declaration as the family of a guide for a latent: of its shape, over its values, scaled as it is; unchanged where it has no such form."""
        return variable

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        """Raises `GraphError` where the declaration cannot be compiled, before anything is allocated."""

    def check_values(self, name: str, variables: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
        """Raises `GraphError` where values `(*worlds, *plates, *event)` of a node are legal ones of its space and yet have no density, given those of other nodes."""

    def signature(self, names: Collection[str]) -> tuple[str, ...]:
        return ()

    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        raise KeyError(name)

    def summary(self, variable: Variable) -> str:
        return repr(self)

    def caption(self, variable: Variable) -> str:
        return f"{self.name}({', '.join(map(str, variable.shape))})"
