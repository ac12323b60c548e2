"""What a graph may be declared from: text, pairs, parents by node, or a networkx graph.

The text reads like a drawing. `->` and `<-` are arrows, chains and braces say several at once, and a comma, a
semicolon or a new line ends a statement: `"age -> {height vocabulary}; luck"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from .errors import GraphError
from .lazy import networkx as nx
from .names import NAME, named, several, unquoted

__all__ = ["Declared", "read"]

Declared = tuple[list[str], list[tuple[str, str]]]
"""Nodes in the order in which they were first mentioned, and arrows `(parent, child)`."""

_PLACE = "DAG"
_TOKEN = re.compile(rf"(?P<space>[^\S\n]+)|(?P<mixed><-+>|--+>?|↔)|(?P<arrow>->|<-|→|←)"
                    rf"|(?P<end>[,;\n])|(?P<brace>[{{}}])|(?P<name>{NAME})|(?P<odd>.)")
_Token = tuple[str, str]


def read(declaration: object) -> Declared:
    """Return the nodes and arrows of a declaration in any of the forms that it may take.

    >>> read("a -> b <- c, d")
    (['a', 'b', 'c', 'd'], [('a', 'b'), ('c', 'b')])
    >>> read({"b": ["a"], "c": "b"})
    (['b', 'c', 'a'], [('a', 'b'), ('b', 'c')])
    """
    if isinstance(declaration, str):
        return _from_text(declaration)
    if isinstance(declaration, nx.Graph):
        return _from_networkx(declaration)
    if isinstance(declaration, Mapping):
        return _from_parents(declaration)
    if isinstance(declaration, Iterable):
        return _from_pairs(declaration)
    raise GraphError(f"{_PLACE}: expected text, pairs (parent, child), a dict of each node's parents or a networkx "
                     f'DiGraph; got {declaration!r} ({type(declaration).__name__}); try DAG("a -> b")')


def _from_networkx(graph: nx.Graph) -> Declared:
    if not graph.is_directed() or graph.is_multigraph():
        raise GraphError(f"{_PLACE}: expected a networkx DiGraph; got {type(graph).__name__}; "
                         "try DAG(nx.DiGraph(edges)) with each arrow once, from parent to child")
    nodes = [named(node, "networkx graph", "nx.relabel_nodes(graph, str)") for node in graph]
    return nodes, list(graph.edges)


def _from_parents(parents: Mapping) -> Declared:
    edges = [(parent, named(node, _PLACE)) for node, group in parents.items()
             for parent in _parents_of(node, group)]
    return _mentioned([*parents, *(parent for parent, _ in edges)]), edges


def _parents_of(node: str, group: object) -> tuple[str, ...]:
    place = f"node {node!r}"
    found = several(group, place)
    if not isinstance(group, str) and isinstance(group, (list, tuple)) and len(group) > len(found):
        raise GraphError(f"{place}: expected each parent once; got {list(group)!r}; try {list(found)!r}")
    return found


def _from_pairs(pairs: Iterable) -> Declared:
    edges = [_pair(pair) for pair in pairs]
    return _mentioned(name for edge in edges for name in edge), edges


def _pair(pair: object) -> tuple[str, str]:
    if isinstance(pair, str) or not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise GraphError(f"{_PLACE}: expected arrows as pairs (parent, child); got {pair!r}; "
                         'try DAG([("a", "b")]) or DAG("a -> b"), and nodes=[...] for nodes without arrows')
    parent, child = pair
    return named(parent, _PLACE), named(child, _PLACE)


def _mentioned(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _from_text(text: str) -> Declared:
    names, edges, alone = [], [], []
    for statement in _statements(_tokens(text)):
        groups, arrows = _chain(statement)
        names += [name for group in groups for name in group]
        edges += [edge for step in zip(groups, arrows, groups[1:]) for edge in _arrows(*step)]
        alone += [] if arrows else groups[0]
    twice = [name for name in _mentioned(alone) if alone.count(name) > 1]
    if twice:
        raise GraphError(f"{_PLACE}: expected each node once; got {twice[0]!r} twice; try naming it once")
    return _mentioned(names), edges


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group()
        if kind == "mixed":
            raise GraphError(f"{_PLACE}: expected arrows '->' and '<-'; got {word!r} in {text!r}; "
                             "try 'a -> b', or a common parent 'a <- u -> b' for what two nodes share")
        if kind == "odd":
            raise GraphError(f"{_PLACE}: expected names and arrows; got {word!r} in {text!r}; "
                             "try '->' for an arrow, and double quotes around a name with odd characters")
        if kind != "space":
            yield kind, word


def _statements(tokens: Iterator[_Token]) -> Iterator[list[_Token]]:
    statement, depth = [], 0
    for kind, word in tokens:
        depth += {"{": 1, "}": -1}.get(word, 0) if kind == "brace" else 0
        if kind == "end" and depth == 0:
            yield from [statement] if statement else []
            statement = []
        elif kind != "end":
            statement.append((kind, word))
    if statement:
        yield statement


def _chain(statement: list[_Token]) -> tuple[list[list[str]], list[str]]:
    """Split `a -> {b c} <- d` into its groups of names and the arrows between them."""
    groups, arrows, rest = [], [], list(statement)
    while True:
        groups.append(_group(rest, statement))
        if not rest:
            return groups, arrows
        kind, word = rest.pop(0)
        if kind != "arrow":
            raise _misread(statement, f"an arrow or a comma before {word!r}")
        arrows.append(word)


def _group(rest: list[_Token], statement: list[_Token]) -> list[str]:
    if not rest or rest[0][0] == "arrow" or rest[0][1] == "}":
        raise _misread(statement, "a name on each side of an arrow")
    kind, word = rest.pop(0)
    if kind == "name":
        return [unquoted(word, _PLACE)]
    group = []
    while rest and rest[0][0] == "name":
        group.append(unquoted(rest.pop(0)[1], _PLACE))
    if not group or not rest or rest.pop(0)[1] != "}":
        raise _misread(statement, "names between '{' and '}'")
    return group


def _arrows(left: list[str], arrow: str, right: list[str]) -> Iterator[tuple[str, str]]:
    forward = arrow in ("->", "→")
    return ((a, b) if forward else (b, a) for a in left for b in right)


def _misread(statement: list[_Token], expected: str) -> GraphError:
    got = " ".join(word for _, word in statement)
    return GraphError(f"{_PLACE}: expected {expected}; got {got!r}; try 'a -> b -> c' or '{{a b}} -> c'")
