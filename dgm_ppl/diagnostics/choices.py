"""What may be chosen about a guide: structure, families, networks, and the objective that trains it."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..compile import Model
from ..graph import Faithful, GraphError, Structure
from ..guides import Recognition, Usual
from ..nets import MLP
from ..objectives import ELBO, Objective

__all__ = ["GuideChoice", "guide_choices"]


@dataclass(frozen=True)
class GuideChoice:
    """A guide to try: `amortize(net, observed, structure=, family=, net=)`, trained by `objective(model, guide)`.

    The objective is a class such as `dgm.ELBO`, or `functools.partial(dgm.IWAE, particles=5)`; any other function needs a `name`, by which runs are
    found again.

    >>> from functools import partial
    >>> import dgm_ppl as dgm
    >>> GuideChoice(dgm.MeanField(), objective=partial(dgm.IWAE, particles=5)).label
    'MeanField(), Usual(), IWAE(particles=5), MLP(64)'
    """

    structure: Structure = Faithful()
    family: Recognition = Usual()
    objective: Callable[[Model, Model], Objective] = ELBO
    net: Any = MLP(64)
    name: str | None = None

    @property
    def label(self) -> str:
        """The name, or what was chosen."""
        return self.name or f"{self.structure!r}, {self.family!r}, {_said(self.objective)}, {self.net!r}"

    def check(self) -> None:
        """Raises `GraphError` where the choice cannot be told from another."""
        if not isinstance(self.structure, Structure) or not isinstance(self.family, Recognition):
            raise GraphError(f"compare_guides: expected a structure such as dgm.Faithful() and a family such as dgm.LowRank(2); got {self.structure!r} and {self.family!r}")
        if not callable(self.objective):
            raise GraphError(f"compare_guides: expected an objective such as dgm.ELBO or functools.partial(dgm.IWAE, particles=5); got {self.objective!r}")
        if self.name is None and not inspect.isclass(_function(self.objective)):
            raise GraphError(f"compare_guides: the objective {self.objective!r} has no name by which a run is found again; give one: GuideChoice(objective=..., name='mine')")


def guide_choices(
    structures: Iterable[Structure] = (Faithful(),), families: Iterable[Recognition] = (Usual(),), objectives: Iterable[Callable[[Model, Model], Objective]] = (ELBO,),
    nets: Iterable[Any] = (MLP(64),),
) -> list[GuideChoice]:
    """Every combination.

    >>> import dgm_ppl as dgm
    >>> [choice.label for choice in guide_choices([dgm.Faithful(), dgm.MeanField()], objectives=[dgm.ELBO])]
    ["Faithful(order='auto'), Usual(), ELBO, MLP(64)", 'MeanField(), Usual(), ELBO, MLP(64)']
    """
    return [GuideChoice(*chosen) for chosen in itertools.product(structures, families, objectives, nets)]


def _function(objective: Any) -> Any:
    return objective.func if isinstance(objective, functools.partial) else objective


def _said(objective: Any) -> str:
    name = getattr(_function(objective), "__name__", repr(objective))
    if not isinstance(objective, functools.partial):
        return name
    return f"{name}({', '.join([*map(repr, objective.args), *(f'{key}={value!r}' for key, value in objective.keywords.items())])})"
