"""The compiled net: an `nn.Module` that is a Pyro program, and the same schedule evaluated directly."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import exact
from ..conditionals import Conditional
from ..conditionals.drawing import Drawing
from ..families import Noise, noise
from ..families.lags import node_of
from ..families.shapes import broadcast
from ..graph import Displayed, GraphError, did_you_mean
from ..network import BayesNet, Layout, SequenceGuide, build_conditionals
from ..network.chains import segments, stages
from .ancestral import draws_of_tables, has_tables
from .program import run_program
from .reduction import PerWorld, Reduction
from .sampling import asked_worlds, in_order, read_evidence
from .schedule import Conditionals, Node, Prepared
from .stepping import determined, run_chains, strand_of
from .unrolling import share_over_steps
from .verification import StructureReport, verify_structure

__all__ = ["Model", "Node", "assemble"]


class Model(Displayed, nn.Module):
    """A net with its parameters.

    Called with data, it is a Pyro program: sites named as the nodes, plates as declared, rows as a plate, observed where data
    has a value. `sample`, `log_prob` and `rsample` evaluate the same schedule without effect handlers. `memo` is for what others work
    out once for the model's structure, such as plans of elimination; a copy starts with none. `random` are the nodes that have a
    distribution of their own, parents first.
    """

    def __init__(self, net: BayesNet, conditionals: Mapping[str, Conditional], shared: Mapping[int, tuple]):
        super().__init__()
        self.net, self.layout = net, Layout(net)
        self.conditionals = Conditionals({name: conditionals[name] for name in net if name in conditionals})
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.shared, self.memo = dict(shared), {}
        self._schedule()

    @property
    def is_guide(self) -> bool:
        """Whether it was derived for a model, so that what it computes on the way is no site of its Pyro program."""
        return isinstance(self.net, SequenceGuide)

    def _schedule(self) -> None:
        self.schedule = tuple(self._node(name) for name in self.net.order if name in self.conditionals)
        self.random = tuple(node.name for node in self.schedule if not node.deterministic)

        self.nodes = {node.name: node for node in self.schedule}
        self._segments: dict[frozenset[str], tuple] = {}
        self.stages = tuple((chain, direction, tuple(self.nodes[name] for name in names if name in self.nodes)) for chain, direction, names in stages(self.net))

    def segments(self, known: Mapping[str, Tensor]) -> tuple[tuple[tuple[str, ...], int], ...]:
        """The nodes that are not known, in the order in which they can be had, and whether each group goes step by step along its chain (1), against it (-1), or not (0)."""
        key = frozenset(known)
        if key not in self._segments:
            self._segments[key] = segments(self.net, known)
        return self._segments[key]

    def _node(self, name: str) -> Node:
        conditional, variable = self.conditionals[name], self.net[name]
        pooled = any(port.pooled for port in conditional.ports)
        inside, rank = tuple(range(-self.layout.rank - conditional.elements, 0)), len(variable.shape)
        strand = strand_of(self.net, name)
        parents = variable.all_parents if strand is None else tuple(node_of(port.name) for port in conditional.ports)
        return Node(name, conditional, parents, rank, variable.is_deterministic, pooled, inside, rank - conditional.elements, strand)

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key not in ("schedule", "random", "nodes", "stages", "_segments", "shared", "memo")}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.shared, self.memo = {}, {}
        self._schedule()                                                    # over this copy's conditionals

    @property
    def device(self) -> torch.device:
        return self.anchor.device

    # ---- the Pyro program

    def forward(self, data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Runs the Pyro program; returns every node's value in Pyro's layout (absent plates as singletons)."""
        values = self.encode(data or {})
        worlds, sizes = self.layout.worlds(values), self.layout.sizes(values)
        return run_program(self, self.layout.align_all(values), worlds, sizes, self.device)

    def encode(self, data: Mapping[str, Any], require: Sequence[str] = ()) -> dict[str, Tensor]:
        """Data checked against the declaration and encoded, on the model's device, in the user's layout."""
        return self.layout.encode(data, require=require, like=self.anchor)

    # ---- direct evaluation, aligned values

    def run(
        self, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int] = {}, noise: Noise = noise,
        drawings: Mapping[str, Drawing] = {},
    ) -> dict[str, Tensor]:
        """Samples what `values` lacks, parents first; everything aligned, differentiable where reparameterized; `drawings` are nodes drawn otherwise."""
        if self.net.chains:
            return run_chains(self, values, worlds, sizes, noise)
        found = dict(values)
        for node in self.schedule:
            if node.deterministic:
                found[node.name] = self.compute(node, found, sizes)
            elif node.name in drawings:
                batch = self.layout.batch(node.name, worlds, sizes)
                found[node.name] = node.conditional.draw_as(batch, node.prepare(found), noise, drawings[node.name])
            elif node.name not in found:
                found[node.name] = self.draw(node, node.prepare(found), worlds, sizes, noise)
        return found

    def compute(self, node: Node, values: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
        """A deterministic node's aligned value, one for each member of its plates."""
        return self.spread(node, node.conditional.value(node.prepare(values)), sizes)

    def spread(self, node: Node, value: Tensor, sizes: Mapping[str, int]) -> Tensor:
        """A deterministic node's value, one for each member of its plates."""
        if not self.layout.rank:
            return value
        members = (*self.layout.batch(node.name, (), sizes), *self.layout.events[node.name])
        return value.expand(broadcast(value.shape, members))

    def draw(self, node: Node, prepared: Prepared, worlds: Sequence[int], sizes: Mapping[str, int], noise: Noise = noise) -> Tensor:
        """One node's sample, aligned."""
        return node.conditional.draw(self.layout.batch(node.name, worlds, sizes), prepared, noise)

    def log_densities(self, values: Mapping[str, Tensor], sizes: Mapping[str, int] = {}) -> dict[str, Tensor]:
        """log p of every random node given its parents, `(*worlds)`, from aligned values of all of them."""
        return {name: -term for name, term in self.surprisals(values, sizes, PerWorld()).items()}

    def surprisals(self, values: Mapping[str, Tensor], sizes: Mapping[str, int], reduce: Reduction) -> dict[str, Tensor]:
        """-log p of every random node given its parents, added up as asked, from aligned values of all of them."""
        found, terms = self.determined(values, sizes) if self.net.chains else dict(values), {}
        for node in self.schedule:
            if node.deterministic and node.name not in found:
                found[node.name] = self.compute(node, found, sizes)
            elif not node.deterministic:
                value = found[node.name]
                terms[node.name] = reduce(node, node.conditional.surprisals(value, node.prepare(found)), value)
        return terms

    def determined(self, values: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """The aligned values with the deterministic nodes, over the steps of chains too."""
        return determined(self, values, sizes)

    def per_world(self, term: Tensor) -> Tensor:
        """Sums an aligned batch `(*worlds, *plates)` over the plates."""
        rank = self.layout.rank
        return term.sum(tuple(range(-rank, 0))) if rank else term

    # ---- what users ask

    def sample(
        self, worlds: int | Sequence[int] = (), *, given: Mapping[str, Any] | None = None, sizes: Mapping[str, int] | None = None, transform: Any = None,
    ) -> dict[str, Tensor]:
        """Draws every node, parents first: `(*worlds, *plates, *event)` each, no gradient.

        `given` holds Given inputs, and may hold other nodes all of whose ancestors are given; for evidence on a descendant
        ask `dgm.posterior`. Where it has rows, `worlds` are those rows or dimensions in front of them: `sample(8, given=...)` with
        eight rows is one draw a row, `sample((100, 8), given=...)` a hundred, and so is `sample(100, given=...)`. `sizes` says how many members
        a plate has, or steps a chain, where neither the declaration nor a value does: `sample(8, sizes={"time": 100})`. Many rows of a
        finite net are drawn from its tables by a generator that torch's seeds.

        Of an autoregressive node a part may be given, `Prefix(...)` or `Partial(..., known=mask)`, and `transform` changes how its elements
        are drawn: `Temperature(0.8)`, `TopK(40)`, `TopP(0.9)`, several in a tuple, or a dict of these by node.

        Raises:
            GraphError: an unknown name, a plate of another size, a Given input without a value, evidence below a node that is not given.
        """
        with torch.no_grad():
            values, rows, drawings = self._asked(worlds, given, transform)
            count = math.prod(rows)
            if has_tables(self, count) and not drawings:
                drawn = draws_of_tables(self, {name: value.expand(rows).reshape(-1) for name, value in values.items()}, count)
                return {name: value.reshape(rows) for name, value in drawn.items()}
            return {name: value.detach() for name, value in self._sampled(values, rows, drawings, sizes).items()}

    def rsample(
        self, worlds: int | Sequence[int] = (), *, given: Mapping[str, Any] | None = None, sizes: Mapping[str, int] | None = None, transform: Any = None,
    ) -> dict[str, Tensor]:
        """`sample` with gradients through the reparameterized nodes."""
        return self._sampled(*self._asked(worlds, given, transform), sizes)

    def _asked(self, worlds: int | Sequence[int], given: Mapping[str, Any] | None, transform: Any) -> tuple[dict[str, Tensor], tuple[int, ...], dict[str, Drawing]]:
        """The given values, encoded, the rows to draw, and the nodes that are drawn otherwise."""
        asked = asked_worlds(worlds)
        values, drawings, inherited = read_evidence(self, given or {}, transform)
        self._check_upstream(values, [*values, *(name for name, drawing in drawings.items() if drawing.known is not None)])
        return values, asked if not inherited or asked[len(asked) - len(inherited):] == inherited else (*asked, *inherited), drawings

    def _sampled(
        self, values: Mapping[str, Tensor], rows: tuple[int, ...], drawings: Mapping[str, Drawing], sizes: Mapping[str, int] | None,
    ) -> dict[str, Tensor]:
        found = self.run(self.layout.align_all(values), rows, self.layout.sized(values, sizes or {}), drawings=drawings)
        return {name: self.released(name, found[name], rows) for name in self.net}

    def released(self, name: str, value: Tensor, worlds: Sequence[int]) -> Tensor:
        """An aligned value in the user's layout, with all worlds."""
        value = self.layout.release(name, value)
        own = value.shape[value.ndim - len(self.layout.members[name]) - len(self.layout.events[name]):]
        return value.expand((*worlds, *own))

    def _check_upstream(self, values: Mapping[str, Tensor], evidence: Sequence[str]) -> None:
        for name in (name for name in evidence if name in self.net):
            above = [parent for parent in self.net.ancestors(name) if parent not in values and parent in self.random]
            if above:
                raise GraphError(
                    f"sample: {name!r} is given but its ancestor {above[0]!r} is not, so this would not be a sample from the posterior; ask "
                    f"dgm.posterior(model, {{{name!r}: ...}}, method=...), or intervene: model.do({name}=...)"
                )

    def log_prob(self, values: Mapping[str, Any]) -> Tensor:
        """log p(values) of complete data, one number a world: the sum of every node's log-density given its parents, in nats.

        Raises:
            GraphError: a node without a value (ask `dgm.log_prob` to marginalise it), values that the declaration excludes.
        """
        encoded = self.encode(values)
        missing = [name for name in self.random if name not in encoded]
        if missing:
            raise GraphError(
                f"log_prob: node {missing[0]!r} has no value; complete data needs {list(self.random)}; to marginalise it: "
                f"dgm.log_prob(model, data, method=dgm.Importance(guide, 1000))"
            )
        terms = self.log_densities(self.layout.align_all(encoded), self.layout.sizes(encoded)).values()
        return sum(terms, start=torch.zeros(self.layout.worlds(encoded), dtype=self.anchor.dtype, device=self.device))

    def do(self, values: Mapping[str, Any] | None = None, /, **interventions: Any) -> Model:
        """The model after setting nodes from outside: their arrows are cut, their parameters shared with this one.

        Example:
            >>> import torch, dgm_ppl as dgm
            >>> model = dgm.compile(dgm.BayesNet(a=dgm.Normal(), b=dgm.Normal(loc="a", scale=0.1)))
            >>> model.do(a=3.0).sample(2)["a"]
            tensor([3., 3.])
        """
        asked = {**(values or {}), **interventions}
        codes = {name: self.layout.encode_one(name, value) for name, value in asked.items()}
        kept = {name: self.conditionals[name] for name in self.conditionals if name not in codes}
        return assemble(self.net.do(codes), kept, self.shared).to(self.anchor)

    def in_order(self, **orders: Sequence[int]) -> Model:
        """The model with autoregressive nodes evaluated and drawn in orders that were trained, its parameters shared: `model.in_order(x=(2, 0, 1))`.

        Raises:
            GraphError: an order in which the node's network was not trained.
        """
        return assemble(*in_order(self, orders), self.shared).to(self.anchor).train(self.training)

    def sampling(self, ways: Mapping[str, Any] | None = None, /, **by_node: Any) -> Model:
        """The model with some nodes drawn in another way, its parameters shared with this one: `model.sampling(x=dgm.DDIM(20))`.

        Densities stay as they are. Which ways a node knows depends on its kind: samplers for `Diffusion` and `FlowMatching`.
        """
        asked = {**(ways or {}), **by_node}
        for name in asked:
            self.conditional(name)
        kept = {name: self.conditionals[name].sampling(asked[name]) if name in asked else self.conditionals[name] for name in self.conditionals}
        return assemble(self.net, kept, self.shared).to(self.anchor).train(self.training)

    def unroll(self, steps: int) -> Model:
        """The model with its chains written out for so many steps, `z[0]`, `z[1]`, ...; its parameters are this model's own.

        Raises:
            GraphError: what `BayesNet.unroll` raises.
        """
        net = self.net.unroll(steps)
        found = assemble(net, {name: self.conditionals[name] for name in net if name in self.conditionals}, self.shared).to(self.anchor)
        share_over_steps(self, found, steps)
        return found

    def conditional(self, name: str) -> Conditional:
        """The compiled conditional of a node."""
        if name not in self.conditionals:
            raise GraphError(f"no random node {name!r}{did_you_mean(name, self.conditionals)}")
        return self.conditionals[name]

    def plan(self, observed: str | Collection[str] | None = None, *, sizes: Mapping[str, int] = {}) -> str | exact.LatentPlan:
        """Which path each node takes in a training step: formulas of its own, or its distribution's methods; with `observed`, what happens to each latent.

        Args:
            observed: the nodes that data will have; each latent is then enumerated, integrated, amortized or dropped, with the reason and the cost.
            sizes: of plates that declare none, for the cost.

        Example:
            >>> import dgm_ppl as dgm
            >>> net = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Normal(5).given("z", net=dgm.MLP(8)))
            >>> dgm.compile(net).plan(observed="x")
            latent  treatment   reason                                          cost a row
            k       enumerated  3 states, summed out of z                       3 evaluations of z
            z       amortized   'x' depends on it, and MLP(8)(z) is not linear  a draw from the guide
        """
        if observed is not None:
            if self.net.chains:
                return exact.plan_chain(self, observed)
            inexact = [node.name for node in self.schedule if not node.deterministic and node.conditional.density != "exact"]
            return exact.plan_latents(self.net, observed, sizes=sizes, inexact=inexact)
        lines = []
        for node in self.schedule:
            path = "deterministic" if node.deterministic else "formulas" if node.conditional.functional else "distribution methods"
            lines.append(f"{node.name}: {path}{'' if node.conditional.reparameterized else ', not reparameterized'}")
        return "\n".join(lines)

    def verify_structure(self, data: Mapping[str, Any] | None = None) -> StructureReport:
        """Holds the compiled conditionals against the graph: a report of what depends on anything but its parents, row by row."""
        return verify_structure(self, data)

    def extra_repr(self) -> str:
        return repr(self.net)


def assemble(net: BayesNet, kept: Mapping[str, Conditional], shared: Mapping[int, tuple]) -> Model:
    """A model over `net` that takes the conditionals at hand and builds the others."""
    shared = dict(shared)
    return Model(net, {**build_conditionals(net, shared, skip=kept), **kept}, shared)
