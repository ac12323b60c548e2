"""A guide over a chain: a net over the model's chain that samples the latents of each step given what is observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..families import Architecture, Variable
from ..families.usual import usual
from ..graph import Certificate, Templates, certify
from ..nets import MLP
from .bayes_net import BayesNet
from .plates import Plate
from .subsets import AnySubset
from .unrolling import at_step

__all__ = ["OBSERVED", "SEEN", "SequenceGuide", "random_templates", "with_seen"]

OBSERVED = "_observed"                                    # after a node's name, the input that is 1 where a cell is observed
SEEN = "_seen"                                            # after the name of a node that others read, the input that has its value where it is observed


def random_templates(net: BayesNet, steps: int, gone: Iterable[str] = ()) -> Templates:
    """The arrows between the random nodes of a net whose chains are written out, deterministic nodes contracted away and some of its nodes left out."""
    flat = net.unroll(steps)
    out = {at_step(name, step) for name in gone if net.chain_of(name) is not None for step in range(steps)} | set(gone)
    return flat.templates.contracted([name for name in flat if name in out or flat[name].is_deterministic])


def with_seen(model: BayesNet, names: Iterable[str]) -> BayesNet:
    """The model with an observed child of each of some nodes, which stands for what is seen of it: the node itself where it is there, else nothing.

    What is independent given these children is independent given any part of the nodes' cells.
    """
    names = tuple(names)
    seen = {f"{name}{SEEN}": usual(model[name]).given(name, net=MLP(1)) for name in names}
    plates = {plate: declared.like([*declared.nodes, *(f"{name}{SEEN}" for name in names if name in declared.nodes)], declared.size) for plate, declared in model.plates.items()}
    return BayesNet({**model.variables, **seen}, plates=plates) if names else model


class SequenceGuide(BayesNet):
    """A guide derived for a model with a chain: recognition conditionals for the latents of every step, its observed nodes Given.

    Deterministic nodes that the model lacks are the states of its encoders, which read the sequence from the start or from the end. With a `subset`
    it serves evidence on any part of its nodes.
    """

    def __init__(self, variables: Mapping[str, Variable], *, model: BayesNet, plates: Mapping[str, Any], subset: AnySubset | None = None):
        super().__init__(variables, plates=plates)
        vars(self).update(model=model, subset=subset)

    @property
    def observed(self) -> tuple[str, ...]:
        """What the guide is given."""
        stands_for = {seen: name for name, seen in self.completed.items()}
        return tuple(stands_for.get(name, name) for name in self.inputs if name in self.model or name in stands_for)

    @property
    def masks(self) -> Mapping[str, str]:
        """For each observed node whose cells may be missing, the input that is 1 where a cell is there."""
        return {name.removesuffix(OBSERVED): name for name in self.inputs if name not in self.model and name.endswith(OBSERVED)}

    @property
    def completed(self) -> Mapping[str, str]:
        """For each observed node whose missing cells the guide draws, because others read it, the input that has its value where it is there."""
        return {name: f"{name}{SEEN}" for name in self.masks if f"{name}{SEEN}" in self and name in self and not self[name].is_given}

    @property
    def own(self) -> tuple[str, ...]:
        """The latents that the guide leaves to the model, because nothing observed depends on them."""
        return tuple(name for name in self.model if name not in self and not self.model[name].is_deterministic)

    def around(self, chain: str) -> tuple[str, ...]:
        """The plates that hold all nodes of the model's chain."""
        return self.model.around(chain)

    def certificate(self, steps: int = 4) -> Certificate:
        """For each latent of a sequence of so many steps: the nodes it reads, through the encoders too, and the separation in the model's graph that
        justifies dropping the others; with plates, on all copies where each has two members."""
        ours = random_templates(self, steps, self.masks.values())
        order = [name for name in self.unroll(steps).order if name in ours.dag and name not in self._given(steps)]
        coupled = {copy: variable.family.coupled for name, variable in self.variables.items() if isinstance(variable.family, Architecture) for copy in self._copies(name, steps)}
        return certify(random_templates(with_seen(self.model, self.completed), steps, self.own), ours, self._given(steps), order=order, coupled=coupled)

    def _given(self, steps: int) -> list[str]:
        return [copy for name in self.observed for copy in self._copies(self.completed.get(name, name), steps)]

    def _copies(self, name: str, steps: int) -> list[str]:
        return [name] if self.chain_of(name) is None else [at_step(name, step) for step in range(steps)]

    def _with(self, variables: Mapping[str, Variable], plates: Mapping[str, Plate] | None = None) -> SequenceGuide:
        return SequenceGuide(variables, model=self.model, plates=self.plates if plates is None else plates, subset=self.subset)

    def __reduce__(self):
        return _rebuilt, (dict(self.variables), self.model, dict(self.plates), self.subset)


def _rebuilt(variables: dict, model: BayesNet, plates: dict, subset: AnySubset | None) -> SequenceGuide:
    return SequenceGuide(variables, model=model, plates=plates, subset=subset)
