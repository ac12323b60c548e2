"""A certificate for a guide: for each latent, the separation in the model that lets it read so little."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .bayes_ball import connected
from .dag import DAG
from .errors import GraphError, did_you_mean
from .independence import Independence
from .names import Names, chosen, disjoint, quoted, several
from .separation import Path, open_path
from .templates import Factor, Read, Templates, templates
from .twin import LinearGaussian, lost_nats

__all__ = ["Certificate", "Line", "certify"]


@dataclass(frozen=True)
class Line:
    """What a certificate says of one latent."""

    node: str
    keeps: tuple[str, ...]
    """Its parents in the guide."""

    drops: tuple[str, ...]
    """What was known before it in the guide and is not read."""

    lost: tuple[str, ...]
    """Those of the dropped nodes that it depends on in the model, given what it keeps."""

    needless: tuple[str, ...]
    """Those of the kept nodes without which it would still be sound."""

    barren: bool
    """Whether it has no observed descendant and takes the model's own conditional."""

    path: Path | None = None
    """Where a dependence is lost, an open path in the model to the first of the `lost`."""

    nats: float | None = 0.0
    """What that costs on a linear-Gaussian twin of the model (two members a plate); None where it was not worked out."""

    own: bool = False
    """Whether the model is linear Gaussian itself, and the cost is its own."""

    coupled: tuple[str, ...] = ()
    """The plates over which its copies are drawn together."""

    remarks: tuple[str, ...] = ()
    """Over which plates it pools and broadcasts, and over which its copies are drawn together."""

    @property
    def statement(self) -> Independence | None:
        """The separation that would justify what is dropped; None where nothing is."""
        return Independence(self.node, self.drops, self.keeps) if self.drops else None

    @property
    def sound(self) -> bool:
        """Whether that separation holds in the model."""
        return not self.lost

    def __str__(self) -> str:
        return f"{Read(self.node, self.coupled)} | {', '.join(self.keeps) or 'nothing'}: {'; '.join(self._said())}"

    def _said(self) -> Iterable[str]:
        claim = self._claim()
        if self.sound:
            yield f"sound, {claim}"
        else:
            yield f"NOT sound, {claim} does not hold: it depends on {_braced(self.lost)} ({self.path})"
            if self.nats is not None:
                yield f"costs {self.nats:.3f} nats {_on(self.own)}"
        if self.needless:
            yield f"needless: {', '.join(self.needless)}"
        if self.barren:
            yield "no observed descendant: takes the model's own conditional"
        yield from self.remarks

    def _claim(self) -> str:
        if not self.drops:
            return "nothing is dropped"
        given = f" | {_braced(self.keeps)}" if self.keeps else ""
        return f"{self.node} _||_ {_braced(self.drops)}{given}"


@dataclass(frozen=True)
class Certificate:
    """What `certify` found, one line a latent in the guide's sampling order; print it to read it."""

    lines: tuple[Line, ...]

    eliminated: tuple[tuple[str, str], ...] = ()
    """The latents that the guide leaves to exact elimination, with the reason."""

    @property
    def sound(self) -> bool:
        """Whether the guide can represent every posterior of the model: no dependence is lost."""
        return all(line.sound for line in self.lines)

    @property
    def minimal(self) -> bool:
        """Whether no arrow of the guide is needless."""
        return not any(line.needless for line in self.lines)

    @property
    def nats(self) -> float | None:
        """What the structure costs: `E KL(posterior || best guide)` on a linear-Gaussian twin, the mean over random weights.

        Of a model that is linear Gaussian itself it is the model's own.
        """
        costs = [line.nats for line in self.lines]
        return None if None in costs else float(sum(costs))

    def __str__(self) -> str:
        verdict = "sound" if self.sound else "NOT sound"
        cost = "" if self.sound or self.nats is None else f", {self.nats:.3f} nats {_on(self.lines[0].own)}"
        return "\n".join([f"{verdict}, {'minimal' if self.minimal else 'not minimal'}{cost}", *map(str, self.lines), *(f"{name}: not in the guide, eliminated exactly: {reason}" for name, reason in self.eliminated)])


def certify(dag: DAG | Templates, guide_dag: DAG | Templates, observed: Names, order: Iterable[str] | None = None,
            deterministic: Names = (), collapsed: Names = (), coupled: Mapping[str, Collection[str]] | None = None,
            own: LinearGaussian | None = None, reasons: Mapping[str, str] | None = None) -> Certificate:
    """Check each factor of a guide against the model by d-separation; with plates, on all copies where each has two members.

    Arguments:
        dag: the model's graph, or `templates(...)` where it has plates.
        guide_dag: the guide's graph, over the observed nodes and the latents, likewise.
        observed: the nodes that the guide is given.
        order: the order in which the guide samples its latents; the guide's own `order` when left out.
        deterministic: nodes that are functions of their parents, contracted away in both graphs.
        collapsed: latents that the guide leaves out because they are summed or integrated out exactly.
        coupled: latents whose copies the guide draws together, with the plates over which it does.
        own: weights and variances, deterministic nodes contracted, where the model is linear Gaussian itself.
        reasons: why collapsed latents can be.

    >>> print(certify(DAG("a -> x <- b"), DAG("x -> a, x -> b"), "x"))
    NOT sound, minimal, 0.141 nats on a linear-Gaussian twin
    a | x: sound, nothing is dropped
    b | x: NOT sound, b _||_ a | x does not hold: it depends on a (b -> x <- a: open, the collider x is given); costs 0.141 nats on a linear-Gaussian twin
    """
    whole, inverse = _templates(dag), _templates(guide_dag)
    observed, collapsed = chosen(observed, whole.dag, "observed"), chosen(collapsed, whole.dag, "collapsed")
    functions = chosen(deterministic, whole.dag, "deterministic")
    disjoint("certify", observed=observed, collapsed=collapsed, deterministic=functions)
    model, guide = whole.contracted(functions), inverse.contracted([node for node in functions if node in inverse.dag])
    _check_guide(model.dag, guide.dag, observed, collapsed)
    sampled = _sampled(guide.dag, observed, order)
    check = Check(model, guide, model.ground(), observed, {} if coupled is None else coupled, None if own is None else _grounded(model, own))
    eliminated = tuple((name, reason) for name, reason in (reasons or {}).items() if name in collapsed)
    return Certificate(tuple(check.line(node, sampled[:index]) for index, node in enumerate(sampled)), eliminated)


def _braced(names: Collection[str]) -> str:
    """Names as text; what follows one in brackets is ours."""
    words = [name if name.endswith("]") else quoted(name) for name in names]
    return words[0] if len(words) == 1 else "{" + ", ".join(words) + "}"


def _on(own: bool) -> str:
    return "on this model, which is linear Gaussian" if own else "on a linear-Gaussian twin"


def _grounded(model: Templates, own: LinearGaussian) -> LinearGaussian:
    """The weights and variances of all copies."""
    owner = {copy: node for node in model.dag for copy in model.copies(node)}
    weights = {edge: own.weights[owner[edge[0]], owner[edge[1]]] for edge in model.ground().edges}
    return LinearGaussian(weights, {copy: own.variances[node] for copy, node in owner.items()})


def _templates(graph: DAG | Templates) -> Templates:
    return graph if isinstance(graph, Templates) else templates(graph)


LARGE = 60
"""Beyond so many copies the cost on a twin is not worked out."""


@dataclass(frozen=True)
class Check:
    """A guide held against the copies of a model's nodes."""

    model: Templates
    guide: Templates
    ground: DAG
    observed: tuple[str, ...]
    coupled: Mapping[str, Collection[str]]
    own: LinearGaussian | None = None

    def line(self, node: str, sampled: tuple[str, ...]) -> Line:
        """What is to say of a latent after those sampled before it; every block of its copies is like the first."""
        factor, (block, kept), *_ = self._factor(node), *self._blocks(node)
        earlier = (*self.observed, *sampled, node)
        before = [copy for name in earlier for copy in self.model.copies(name) if copy not in block]
        dropped = [copy for copy in before if copy not in kept]
        met = set(connected(self.ground, block, kept))
        lost = [copy for copy in dropped if copy in met]
        needless = [copy for copy in kept if not lost and copy not in connected(self.ground, block, set(kept) - {copy})]
        relevant = {*self.observed, *self.model.dag.ancestors(*self.observed)}
        barren = node not in relevant and set(self.guide.dag.parents(node)) == set(self.model.dag.parents(node))
        path = open_path(self.ground, block[0] if len(block) == 1 else next(one for one in block if lost[0] in connected(self.ground, one, kept)), lost[0], kept) if lost else None
        return Line(
            node, tuple(map(str, factor.reads)), self._names(dropped, kept, block, earlier), self._names(lost, kept, block, earlier),
            self._names(needless, set(kept) - set(needless), (), earlier), barren, path, self._nats(node, sampled) if lost else 0.0, self.own is not None, factor.coupled, tuple(factor.remarks()),
        )

    def _factor(self, node: str) -> Factor:
        together = frozenset(self.coupled.get(node, ()))
        reads = [self.guide.read(parent, node, agree - together) for parent in self.guide.dag.parents(node)
                 for agree in sorted(self.guide.aligned[parent, node], key=sorted)]
        return Factor(node, self.model.plates[node], tuple(reads), tuple(plate for plate in self.model.plates[node] if plate in together))

    def _blocks(self, node: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The copies that are drawn together, and what they read, for all copies."""
        model, found = self.model, []
        apart = frozenset(model.plates[node]) - frozenset(self.coupled.get(node, ()))
        factor, left = self._factor(node), dict.fromkeys(model.copies(node))
        for places in model.members(node):
            block = model.agreeing(node, places, [apart])
            if block[0] in left:
                kept = [copy for read in factor.reads for copy in model.agreeing(
                    read.node, places, [frozenset(plate for plate in model.plates[read.node] if plate not in read.pools)])]
                found.append((block, tuple(dict.fromkeys(kept))))
            for copy in block:
                left.pop(copy, None)
        return found

    def _names(self, copies: Collection[str], kept: Collection[str], block: Collection[str], nodes: Iterable[str]) -> tuple[str, ...]:
        """Copies by their templates: all of one's, or those other than what is kept or drawn."""
        found, given = [], set(copies)
        for node in nodes:
            own = self.model.copies(node)
            if given & set(own):
                partly = any(copy in kept or copy in block for copy in own)
                found.append(f"{node}[other {', '.join(self.model.plates[node])}]" if partly else node)
        return tuple(found)

    def _nats(self, node: str, sampled: tuple[str, ...]) -> float | None:
        before = [copy for name in (*self.observed, *sampled) for copy in self.model.copies(name)]
        return lost_nats(self.ground, self._blocks(node), before, self.own) if len(self.ground) <= LARGE else None


def _check_guide(model: DAG, guide: DAG, observed: tuple[str, ...], collapsed: tuple[str, ...]) -> None:
    for node in guide:
        if node not in model:
            raise GraphError(f"guide: expected nodes of the model; got {node!r}{did_you_mean(node, model)}")
        if node in observed and guide.parents(node):
            raise GraphError(f"guide: expected no arrow into the observed node {node!r}; got one from "
                             f"{guide.parents(node)[0]!r}; try turning it round")
        if node in collapsed:
            raise GraphError(f"guide: expected no collapsed node; got {node!r}; try leaving it out of collapsed")
    missing = [node for node in model if node not in guide and node not in observed and node not in collapsed]
    if missing:
        raise GraphError(f"guide: expected every latent; got none for {missing[0]!r}; "
                         f"try adding it to the guide, or collapsed={missing!r} if it is summed or integrated out")


def _sampled(guide: DAG, observed: tuple[str, ...], order: Iterable[str] | None) -> tuple[str, ...]:
    latents = [node for node in guide.order if node not in observed]
    if order is None:
        return tuple(latents)
    sampled = several(order, "order")
    if set(sampled) != set(latents):
        raise GraphError(f"order: expected each of the guide's latents {latents!r}; got {list(sampled)!r}; "
                         f"try order={latents!r}")
    for index, node in enumerate(sampled):
        late = [parent for parent in guide.parents(node) if parent in sampled[index:]]
        if late:
            raise GraphError(f"order: expected {late[0]!r} before its child {node!r}; got {list(sampled)!r}; "
                             f"try order={latents!r}")
    return sampled
