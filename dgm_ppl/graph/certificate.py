"""A certificate for a guide: for each latent, the separation in the model that lets it read so little."""

from collections.abc import Iterable
from dataclasses import dataclass

from .bayes_ball import connected
from .dag import DAG
from .errors import GraphError, did_you_mean
from .independence import Independence
from .names import Names, braced, chosen, disjoint, several
from .separation import Path, open_path
from .contraction import contract

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

    @property
    def statement(self) -> Independence | None:
        """The separation that would justify what is dropped; None where nothing is."""
        return Independence(self.node, self.drops, self.keeps) if self.drops else None

    @property
    def sound(self) -> bool:
        """Whether that separation holds in the model."""
        return not self.lost

    def __str__(self) -> str:
        return f"{self.node} | {', '.join(self.keeps) or 'nothing'}: {'; '.join(self._remarks())}"

    def _remarks(self) -> Iterable[str]:
        claim = self._claim()
        if self.sound:
            yield f"sound, {claim}"
        else:
            yield f"NOT sound, {claim} does not hold: it depends on {braced(self.lost)} ({self.path})"
        if self.needless:
            yield f"needless: {', '.join(self.needless)}"
        if self.barren:
            yield "no observed descendant: takes the model's own conditional"

    def _claim(self) -> str:
        if not self.drops:
            return "nothing is dropped"
        given = f" | {braced(self.keeps)}" if self.keeps else ""
        return f"{self.node} _||_ {braced(self.drops)}{given}"


@dataclass(frozen=True)
class Certificate:
    """What `certify` found, one line a latent in the guide's sampling order; print it to read it."""

    lines: tuple[Line, ...]

    @property
    def sound(self) -> bool:
        """Whether the guide can represent every posterior of the model: no dependence is lost."""
        return all(line.sound for line in self.lines)

    @property
    def minimal(self) -> bool:
        """Whether no arrow of the guide is needless."""
        return not any(line.needless for line in self.lines)

    def __str__(self) -> str:
        verdict = "sound" if self.sound else "NOT sound"
        return "\n".join([f"{verdict}, {'minimal' if self.minimal else 'not minimal'}", *map(str, self.lines)])


def certify(dag: DAG, guide_dag: DAG, observed: Names, order: Iterable[str] | None = None,
            deterministic: Names = (), collapsed: Names = ()) -> Certificate:
    """Check each factor of a guide against the model by d-separation.

    Arguments:
        dag: the model's graph.
        guide_dag: the guide's graph, over the observed nodes and the latents.
        observed: the nodes that the guide is given.
        order: the order in which the guide samples its latents; the guide's own `order` when left out.
        deterministic: nodes that are functions of their parents, contracted away in both graphs.
        collapsed: latents that the guide leaves out because they are summed or integrated out exactly.

    >>> print(certify(DAG("a -> x <- b"), DAG("x -> a, x -> b"), "x"))
    NOT sound, minimal
    a | x: sound, nothing is dropped
    b | x: NOT sound, b _||_ a | x does not hold: it depends on a (b -> x <- a: open, the collider x is given)
    """
    observed, collapsed = chosen(observed, dag, "observed"), chosen(collapsed, dag, "collapsed")
    functions = chosen(deterministic, dag, "deterministic")
    disjoint("certify", observed=observed, collapsed=collapsed, deterministic=functions)
    model, guide = contract(dag, functions), contract(guide_dag, [node for node in functions if node in guide_dag])
    _check_guide(model, guide, observed, collapsed)
    sampled = _sampled(guide, observed, order)
    relevant = {*observed, *model.ancestors(*observed)}
    return Certificate(tuple(
        _line(model, guide.parents(node), (*observed, *sampled[:index]), node, node not in relevant)
        for index, node in enumerate(sampled)))


def _line(model: DAG, keeps: tuple[str, ...], before: tuple[str, ...], node: str, childless: bool) -> Line:
    drops = tuple(one for one in before if one not in keeps)
    met = set(connected(model, node, keeps))
    lost = tuple(one for one in drops if one in met)
    needless = tuple(one for one in keeps if not lost and one not in connected(model, node, set(keeps) - {one}))
    return Line(node, keeps, drops, lost, needless, childless and set(keeps) == set(model.parents(node)),
                open_path(model, node, lost[0], keeps) if lost else None)


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
