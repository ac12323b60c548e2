"""Training by critics: a game between the model and networks that tell its worlds from the data's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..compile import Model
from ..compile.pairing import check_guide
from ..compile.reduction import added
from ..families import Noise, ShardedNoise, noise
from ..families.randomness import seeded
from ..formats.declaration import describe
from ..graph import GraphError
from ..nets import Net, SpectralNorm
from .base import Objective, Player, refuse_lengths
from .critics import Critic, CriticNetwork, critics_of
from .games import Game, JensenShannon, Wasserstein
from .gradients import check_reached
from .penalties import CriticPenalty, ModelTerm

__all__ = ["Adversarial"]


class Adversarial(Objective):
    """A game of two players: critics tell the data's worlds from the model's, the model makes worlds that they cannot tell.

    Each critic judges a clique of nodes: an implicit node alone, with its parents (a conditional GAN), with latents. With a `guide`
    the data's latents are drawn from it and judged with the data (ALI, BiGAN; with several critics the graphical GAN), and it is
    trained with the model. Whatever a critic judges may have a density or none: samples are all that is used.

    Args:
        model: a compiled net; what the critics judge must be differentiable in its parameters.
        critics: networks by node or tuple of nodes, `{"x": dgm.ConvNet(32), ("x", "label"): dgm.MLP(128)}`, or a list of `Critic`.
        guide: a compiled guide, for joint inference.
        game: what is played, `JensenShannon()` by default; `LeastSquares()`, `Hinge()`, `Wasserstein()`, any `FDivergence`.
        penalties: terms of the critic's loss: `GradientPenalty()`, `R1()`, `R2()`.
        terms: terms of the model's loss: `Consistency(node, target)`, `MutualInformation(latent, guide)`.
        critic_steps: updates of the critics for each update of the model.
        seed: of the critics' initial parameters; the global generator's state without.

    Raises:
        GraphError: an implicit node that no critic covers, a latent of the guide that none judges, an input that none judges with what is
            made of it, an unknown name, a learned node that is not reparameterized, or below all that is judged.

    Source: Goodfellow et al. (2014), https://arxiv.org/abs/1406.2661; Dumoulin et al. (2017), https://arxiv.org/abs/1606.00704; Li et
    al. (2018), https://arxiv.org/abs/1804.03429.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(16)))
        >>> objective = dgm.Adversarial(dgm.compile(net), {"x": dgm.MLP(16)}, game=dgm.Hinge(), critic_steps=2)
        >>> [player.name for player in objective.players]
        ['critic', 'generator']
        >>> run = dgm.fit(objective, {"x": torch.randn(64, 2)}, steps=4, batch_size=32, seed=0)
    """

    has_score = False

    def __init__(
        self, model: Model, critics: Mapping[Any, Any] | Sequence[Critic], *, guide: Model | None = None, game: Game = JensenShannon(),
        penalties: CriticPenalty | Sequence[CriticPenalty] = (), terms: ModelTerm | Sequence[ModelTerm] = (), critic_steps: int = 1, seed: int | None = None,
    ):
        super().__init__()
        _check_compiled("model", model)
        if guide is not None:
            _check_compiled("guide", guide)
        if not isinstance(game, Game):
            raise GraphError(f"Adversarial: expected a game such as dgm.JensenShannon() or dgm.Wasserstein(); got {game!r}")
        if isinstance(critic_steps, bool) or not isinstance(critic_steps, int) or critic_steps < 1:
            raise GraphError(f"Adversarial: expected a positive whole number for critic_steps; got {critic_steps!r}")
        self.model, self.guide, self.game, self.critic_steps = model, guide, game, critic_steps
        self.penalties = _listed("penalties", penalties, CriticPenalty, "dgm.R1(1.0) or dgm.GradientPenalty()")
        self.terms = _listed("terms", terms, ModelTerm, "dgm.Consistency('a_again', 'a')")
        for term in self.terms:
            term.check(model)
        if guide is not None:
            check_guide(model, guide)
        with seeded(seed, model.device):
            self.critics = nn.ModuleList(CriticNetwork(critic, model.net) for critic in critics_of(critics, model.net)).to(model.anchor)
        if self._clips:
            self._clip()
        self.beside = nn.ModuleList(module for term in self.terms for module in term.modules)
        self._share: tuple[int, int] | None = None
        self._check_cover()
        self._check_slope()

    # ---- what is checked

    def _check_cover(self) -> None:
        net, judged = self.model.net, {name for critic in self.critics for name in critic.critic.nodes}
        covered = judged | {name for term in self.terms for name in term.covers}
        above = covered | set(net.ancestors(*covered))
        for node in self.model.schedule:
            if node.conditional.density is None and node.name not in above:
                raise GraphError(f"Adversarial: no critic judges {node.name!r} or anything made of it, so nothing would train it; add {{{node.name!r}: dgm.MLP(128)}}")
        check_reached(self.model, covered, "Adversarial", "critics")
        for node in self.model.schedule:
            if node.name not in above and any(parameter.requires_grad for parameter in node.conditional.parameters()):
                raise GraphError(
                    f"Adversarial: node {node.name!r} ~ {node.conditional.variable.summary} is learned, and no critic judges it or anything made of it, so it would stay as it "
                    f"began; add {{{node.name!r}: dgm.MLP(128)}}, fix its parameters, or train it apart by dgm.MaximumLikelihood"
                )
        for name in () if self.guide is None else self.guide.random:
            if name not in judged:
                raise GraphError(f"Adversarial: no critic judges the guide's latent {name!r}, so nothing would train the guide; add {name!r} to a critic's nodes")
        if self.guide is not None:
            check_reached(self.guide, self.guide.random, "Adversarial: guide", "critics")
        self._check_inputs(judged)
        latents = set() if self.guide is None else set(self.guide.random)
        for child in (node.name for node in self.model.schedule if node.name in judged):
            for parent in net.dag.parents(child):
                if parent in judged and latents & {parent, child} and not any({parent, child} <= set(critic.critic.nodes) for critic in self.critics):
                    raise GraphError(
                        f"Adversarial: no critic judges {parent!r} and {child!r} together, so the guide could draw any {parent!r} for any {child!r}; add {{({child!r}, {parent!r}): dgm.MLP(128)}}"
                    )

    def _check_inputs(self, judged: Collection[str]) -> None:
        """Raises for an input of what is held against its own data that nothing looks at: which row has which would be ignored."""
        net = self.model.net
        told = judged | {column for critic in self.critics for column in critic.critic.against} | {name for term in self.terms for name in term.reads}
        for name in (name for critic in self.critics for name, column in zip(critic.critic.nodes, critic.critic.against) if name == column):
            for given in net.ancestors(name):
                if net[given].is_given and given not in told:
                    raise GraphError(f"Adversarial: no critic judges {name!r} together with its input {given!r}, so the model could ignore {given!r}; add {{({name!r}, {given!r}): dgm.MLP(128)}}")

    def _check_slope(self) -> None:
        if not isinstance(self.game, Wasserstein) or self.game.clip is not None or self.penalties:
            return
        for critic in (network.critic for network in self.critics):
            if isinstance(critic.net, Net) and not isinstance(critic.net, SpectralNorm):
                raise GraphError(
                    f"Adversarial: nothing bounds the slope of {critic!r}, so the distance of Wasserstein() has no bound either; add penalties=dgm.GradientPenalty(), "
                    f"net=dgm.SpectralNorm({critic.net!r}), or game=dgm.Wasserstein(clip=0.01)"
                )

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        values = self.model.layout.rowed(self.model.encode(data))
        drawn = () if self.guide is None else self.guide.random
        needed = {column: critic.critic for critic in self.critics for column in critic.critic.against}
        for column, critic in needed.items():
            if column not in values and column not in drawn:
                raise GraphError(f"Adversarial: {critic!r} judges {column!r}, for which the data have no column; give it, or a guide that draws it: guide=")
        refuse_lengths(self.model, values, "Adversarial")
        for name in values:
            if name in drawn:
                raise GraphError(f"Adversarial: the guide draws {name!r}, so its data would be ignored; leave it out of the data, or out of the guide")
            if name in self.model.random and name not in needed:
                raise GraphError(f"Adversarial: no critic judges {name!r}, so its data would be ignored; add it to a critic's nodes, or leave it out of the data")
        return values

    # ---- the players

    @property
    def players(self) -> tuple[Player, ...]:
        own = [*self.model.parameters(), *([] if self.guide is None else self.guide.parameters()), *self.beside.parameters()]
        learned = tuple(dict.fromkeys(parameter for parameter in own if parameter.requires_grad))
        critics = tuple(parameter for parameter in self.critics.parameters() if parameter.requires_grad)
        return Player("critic", critics, self.critic_loss, after=self._clip if self._clips else None), Player("generator", learned, self.generator_loss, every=self.critic_steps)

    def critic_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The critics' loss, the mean over worlds, summed over critics."""
        with torch.no_grad():
            real, fake = self._real(batch), self._fake(batch)
        losses = []
        for critic in self.critics:
            truth, made = self._judged(critic, real, fake)
            losses.append(self.game.critic(critic(*truth), critic(*made)).mean())
            losses += [penalty(critic, truth, made).mean() for penalty in self.penalties]
        return added(losses)

    def generator_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The model's (and guide's) loss, the mean over worlds."""
        fake = self._fake(batch)
        real = fake if self.guide is None else self._real(batch)
        losses = [term(fake).mean() for term in self.terms]
        for critic in self.critics:
            truth, made = self._judged(critic, real, fake)
            losses.append(self.game.generator(critic(*made)).mean())
            if self.guide is not None:
                losses.append(self.game.guide(critic(*truth)).mean())
        return added(losses)

    @property
    def _clips(self) -> bool:
        return isinstance(self.game, Wasserstein) and self.game.clip is not None

    @torch.no_grad()
    def _clip(self) -> None:
        for parameter in self.critics.parameters():
            parameter.clamp_(-self.game.clip, self.game.clip)

    # ---- worlds of the data and of the model

    def _judged(self, critic: CriticNetwork, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        declared = critic.critic
        return [real.get(column) for column in declared.against], [fake[name] for name in declared.nodes]

    def _real(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The data, aligned, with the latents that the guide draws for them."""
        layout = self.model.layout
        values = layout.align_all(batch)
        if self.guide is None:
            return values
        worlds = layout.worlds(batch)
        known = {name: value for name, value in values.items() if name in self.guide.net and self.guide.net[name].is_given}
        drawn = self.guide.run(known, worlds, layout.sizes(batch), self._noise(worlds))
        return {**values, **{name: drawn[name] for name in self.guide.random}}

    def _fake(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As many worlds of the model, given the inputs of the data."""
        layout, worlds = self.model.layout, self.model.layout.worlds(batch)
        inputs = {name: value for name, value in batch.items() if self.model.net[name].is_given}
        return self.model.run(layout.align_all(inputs), worlds, layout.sizes(batch), self._noise(worlds))

    def _noise(self, worlds: Sequence[int]) -> Noise:
        return noise if self._share is None or not worlds else ShardedNoise(*self._share, local=worlds[0], axis=0)

    def shard(self, offset: int, total: int) -> None:
        self._share = offset, total

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self.players[player].loss(batch)

    def declaration(self) -> dict:
        return {
            "objective": "Adversarial", "model": describe(self.model.net), "guide": None if self.guide is None else describe(self.guide.net),
            "critics": [repr(critic.critic) for critic in self.critics], "game": repr(self.game), "penalties": [repr(one) for one in self.penalties],
            "terms": [term.describe() for term in self.terms], "critic_steps": self.critic_steps,
        }


def _check_compiled(role: str, value: Any) -> None:
    if not isinstance(value, Model):
        mend = "dgm.Adversarial(dgm.compile(net), {'x': dgm.MLP(128)})" if role == "model" else "guide=dgm.compile(dgm.amortize(net, observed='x'))"
        raise GraphError(f"Adversarial: expected a compiled {role}; got {type(value).__name__}; try {mend}")


def _listed(name: str, given: Any, kind: type, mend: str) -> tuple[Any, ...]:
    """One object or a list of them, as a tuple."""
    found = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for value in found:
        if not isinstance(value, kind):
            raise GraphError(f"Adversarial: expected {name} such as {mend}; got {value!r}")
    return found
