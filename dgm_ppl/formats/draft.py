"""What every format of tables says, in one form: nodes with states, parents and numbers, before they are checked.

A codec turns a file into a `Draft` and a `Draft` into text; everything that formats have in common (unknown parents,
wrong sizes, rows that do not sum to one) is checked here, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy

from ..families import Categorical, Variable
from ..graph import GraphError
from ..network import BayesNet
from .contents import Axes, Contents, Flat
from .document import Document, Lines
from .errors import FormatError, hint
from .probabilities import table_of
from .source import Source

__all__ = ["Draft", "Node", "TOLERANCE", "assemble", "drafted"]

TOLERANCE = 1e-6
"""How far from one the probabilities of a row may sum."""


@dataclass(frozen=True)
class Node:
    """One node as a file declares it; `contents` are its probabilities and `line` is where they stand."""

    name: str
    states: tuple[str, ...]
    parents: tuple[str, ...]
    contents: Contents
    line: int | None = None
    properties: Lines = ()
    table_properties: Lines = ()

    @property
    def rows(self) -> list[list[float]]:
        """The probabilities of a node that is being written, one row for each configuration, the last parent fastest."""
        return self.contents.values.reshape(-1, len(self.states)).tolist()


@dataclass(frozen=True)
class Draft:
    """A network as a file declares it."""

    nodes: Sequence[Node]
    name: str = ""
    properties: Lines = ()

    @property
    def states(self) -> dict[str, tuple[str, ...]]:
        """The states of each node."""
        return {node.name: node.states for node in self.nodes}


def assemble(source: Source, draft: Draft, normalise: bool) -> Document:
    """Return the checked network of a draft; the message of each error names the node and its line."""
    if not draft.nodes:
        raise source.error("expected at least one node; got none")
    _check_nodes(source, draft.nodes)
    states = draft.states
    variables = {node.name: _variable(source, node, states, normalise) for node in draft.nodes}
    try:
        net = BayesNet(variables)
    except GraphError as error:
        raise source.error(str(error)) from error
    return Document(net, draft.name, draft.properties, _kept(draft, "properties"), _kept(draft, "table_properties"))


def drafted(document: Document) -> Draft:
    """Return the draft of a document that a format of tables is to hold."""
    if not isinstance(document.net, BayesNet):
        raise FormatError("expected a BayesNet with fixed tables; got a DAG, which has none; try the suffix .dot")
    return Draft([_node(document, name) for name in document.net], document.name, document.properties)


def _node(document: Document, name: str) -> Node:
    states, table = table_of(document.net, name)
    beside = (tuple(lines.get(name, ())) for lines in (document.node_properties, document.table_properties))
    return Node(name, states, document.net[name].parents, Flat(table), None, *beside)


def _kept(draft: Draft, kind: str) -> dict[str, Lines]:
    return {node.name: lines for node in draft.nodes if (lines := getattr(node, kind))}


def _check_nodes(source: Source, nodes: Sequence[Node]) -> None:
    known: set[str] = set()
    for node in nodes:
        if not node.name.strip():
            raise source.error(f"expected a node's name; got {node.name!r}", node.line)
        if node.name in known:
            raise source.error(f"node {node.name!r} is declared twice", node.line, node.name)
        _check_states(source, node)
        known.add(node.name)
    for node in nodes:
        _check_parents(source, node, known)


def _check_states(source: Source, node: Node) -> None:
    if len(node.states) < 2:
        raise source.error(f"node {node.name!r}: expected at least two states; got {list(node.states)}", node.line)
    seen: set[str] = set()
    for state in node.states:
        if not state or state in seen:
            problem = f"the state {state!r} is named twice" if state else "expected states with names; got one without"
            raise source.error(f"node {node.name!r}: {problem}", node.line, state)
        seen.add(state)


def _check_parents(source: Source, node: Node, known: set[str]) -> None:
    seen: set[str] = set()
    for parent in node.parents:
        if parent not in known:
            raise source.error(f"node {node.name!r}: no parent {parent!r}{hint(parent, known)}", node.line, parent)
        if parent == node.name or parent in seen:
            what = "is its own parent" if parent == node.name else f"has the parent {parent!r} twice"
            raise source.error(f"node {node.name!r} {what}", node.line, parent)
        seen.add(parent)


def _variable(source: Source, node: Node, states: Mapping[str, tuple[str, ...]], normalise: bool) -> Variable:
    axes = [(parent, states[parent]) for parent in node.parents]
    table = node.contents.table(source, node.name, axes, node.states)
    _check_rows(source, node, axes, table, normalise)
    if normalise:
        table = table / table.sum(-1, keepdims=True)
    variable = Categorical(node.states, probs=table)
    return replace(variable, parents=node.parents)


def _check_rows(source: Source, node: Node, axes: Axes, table: numpy.ndarray, normalise: bool) -> None:
    with numpy.errstate(over="ignore", invalid="ignore"):
        sums = table.sum(-1)
        right = (sums > 0) & numpy.isfinite(sums) if normalise else abs(sums - 1) < TOLERANCE
    right &= (table >= 0).all(-1)
    if not right.all():
        at = numpy.unravel_index(int(right.argmin()), right.shape)
        raise _row_error(source, node, [(parent, labels[code]) for (parent, labels), code in zip(axes, at)], table[at])


def _row_error(source: Source, node: Node, given: list[tuple[str, str]], row: numpy.ndarray) -> FormatError:
    line = node.contents.line_of(tuple(state for _, state in given)) or node.line
    place = ", ".join([f"node {node.name!r}", *(f"{'given ' if not i else ''}{parent}={state!r}" for i, (parent, state) in enumerate(given))])
    if not (numpy.isfinite(row).all() and (row >= 0).all()):
        return source.error(f"{place}: expected probabilities; got {row.tolist()}", line)
    mend = "; try dgm.read(path, normalise=True)" if row.sum() > 0 else ""
    return source.error(f"{place}: the probabilities sum to {float(row.sum())!r}; expected 1 within {TOLERANCE:g}{mend}", line)
