"""The graph turned round: a net over the same names that samples the latents given what is observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..families import Architecture, Variable
from ..graph import Certificate, Faithful, Inversion, Structure, certify
from .bayes_net import BayesNet
from .linear import linear_gaussian
from .plates import Plate

__all__ = ["RecognitionNet", "given_as", "inverted"]


def inverted(model: BayesNet, observed: Iterable[str], structure: Structure = Faithful()) -> Inversion:
    """A net turned round for some observed nodes."""
    own = model.templates
    sets = {edge: [tuple(set(own.plates[edge[0]]) & set(own.plates[edge[1]]) - agree) for agree in own.aligned[edge]] for edge in model.dag.edges}
    return structure.of(model.dag, tuple(observed), model.deterministic, {name: plate.nodes for name, plate in model.plates.items()}, sets)


def given_as(variable: Variable) -> Variable:
    """A node as a guide is given it."""
    return Variable(None, variable.shape, size=variable.size, labels=variable.labels, declared_space=variable.space)


class RecognitionNet(BayesNet):
    """A guide: a Bayesian network of recognition conditionals for the latents of `model`, its observed nodes Given.

    `own` are the latents that take the model's own conditional, because nothing observed depends on them; `collapsed` those that are left to exact
    elimination, with the reason.
    """

    def __init__(
        self, variables: Mapping[str, Variable], *, model: BayesNet, inversion: Inversion, plates: Mapping[str, Any] | None = None, collapsed: Mapping[str, str] = {},
    ):
        super().__init__(variables, plates=plates)
        vars(self).update(model=model, inversion=inversion, collapsed=dict(collapsed))

    @classmethod
    def between(
        cls, variables: Mapping[str, Variable], model: BayesNet, observed: Iterable[str], plates: Mapping[str, Any], order: Any = "auto",
        collapsed: Mapping[str, str] = {},
    ) -> RecognitionNet:
        """The guide of a model from its declarations, as a file holds them."""
        return cls(variables, model=model, inversion=inverted(model, observed, Faithful(order)), plates=plates, collapsed=collapsed)

    @property
    def observed(self) -> tuple[str, ...]:
        """What the guide is given."""
        return self.inputs

    @property
    def own(self) -> tuple[str, ...]:
        """The latents that take the model's own conditional."""
        return tuple(name for name in self.inversion.barren if name in self and self[name] == self.model[name])

    def _line(self, name: str) -> str:
        return super()._line(name) + ("; nothing observed depends on it: the model's own" if name in self.own else "")

    def certificate(self) -> Certificate:
        """For each latent: the parents it keeps, and the separation in the model's graph that justifies dropping the others.

        What a cheaper structure gives up is named, with its cost in nats: the model's own where it is linear Gaussian, else that of a
        linear-Gaussian twin.
        """
        sampled = [name for name in self.order if name not in self.inputs and not self[name].is_deterministic]
        coupled = {name: self[name].family.coupled for name in sampled if isinstance(self[name].family, Architecture)}
        encoders = [name for name in self if name not in self.model]       # what the guide computes of observed nodes on the way
        return certify(
            self.model.templates, self.templates.contracted(encoders) if encoders else self.templates, self.observed, order=sampled, deterministic=self.model.deterministic, collapsed=self.left_out, coupled=coupled,
            own=linear_gaussian(self.model), reasons=self.collapsed,
        )

    def check(self, data: Any = None) -> str:
        """The table of `BayesNet.check`, and the latents that are left to exact elimination."""
        return "\n".join([super().check(data), *(f"{name}: not in the guide, eliminated exactly: {reason}" for name, reason in self.collapsed.items() if name not in self)])

    @property
    def left_out(self) -> tuple[str, ...]:
        """The latents that are not sampled here: eliminated exactly, or hanging on some that are."""
        return tuple(name for name in self.inversion.order if name not in self)

    def _with(self, variables: Mapping[str, Variable], plates: Mapping[str, Plate] | None = None) -> RecognitionNet:
        return RecognitionNet(variables, model=self.model, inversion=self.inversion, plates=self.plates if plates is None else plates, collapsed=self.collapsed)

    def __reduce__(self):
        inversion = self.inversion
        return RecognitionNet.between, (dict(self.variables), self.model, inversion.observed, dict(self.plates), inversion.order, self.collapsed)
