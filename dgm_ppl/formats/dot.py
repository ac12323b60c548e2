"""DOT, the language of Graphviz, for graphs alone: reading one gives a `DAG`.

The language is described at https://graphviz.org/doc/info/lang.html: chains, subgraphs as ends of arrows, ports, quoted and
HTML-like strings and comments are read. In a document, the lines of properties are the attributes `key = value` of the
graph and of each node, as they stand; default attributes (`node [...]`) and those of arrows are left out, as are properties
that come from other formats. A name with a backslash, which DOT cannot quote faithfully, is written percent-encoded in the
attribute `dgm_ppl_name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, unquote

from lark import Lark, Token, Transformer

from ..graph import DAG, GraphError
from .document import Document
from .errors import FormatError
from .format import Files
from .grammar import DEEPEST, build, parse as parsed
from .source import Source

__all__ = ["read", "write"]

_GRAMMAR = r"""
start: STRICT? (DIGRAPH | GRAPH) id? "{" _statements "}"
_statements: (_statement ";"?)*
_statement: node | chain | attribute | defaults | subgraph
node: end attributes*
chain: point (ARROW point)+ attributes*
attribute: id "=" id
defaults: (GRAPH | NODE | EDGE) attributes+
point: end | subgraph
subgraph: (SUBGRAPH id?)? "{" _statements "}"
end: id (":" id (":" id)?)?
attributes: "[" (attribute (";" | ",")?)* "]"
id: WORD | QUOTED ("+" QUOTED)* | HTML

STRICT.2: /strict\b/i
DIGRAPH.2: /digraph\b/i
GRAPH.2: /graph\b/i
NODE.2: /node\b/i
EDGE.2: /edge\b/i
SUBGRAPH.2: /subgraph\b/i
ARROW: "->" | "--"
WORD: /[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]*|-?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)/
QUOTED: /"[^"\\]*(?:\\.[^"\\]*)*"/s
HTML: /<[^<>]*(?:<[^<>]*>[^<>]*)*>/
COMMENT: /\/\/[^\n]*|\/\*.*?\*\/|^#[^\n]*/ms
%ignore COMMENT
%ignore /\s+/
"""
_NAME, _PLAIN, _KEYWORDS = "dgm_ppl_name", re.compile(r"[A-Za-z_][A-Za-z_0-9]*"), {"strict", "digraph", "graph", "node", "edge", "subgraph"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class _Id:
    """An identifier as it stands, and the line where it stands."""

    raw: str
    line: int

    @property
    def name(self) -> str:
        """What it stands for: in double quotes, only the escaped quote and the escaped line break are not themselves."""
        if not self.raw.startswith('"'):
            return self.raw
        return _ESCAPE.sub(lambda match: {'"': '"', "\n": ""}.get(match[1], match[0]), self.raw[1:-1])


@dataclass(frozen=True)
class _Attribute:
    key: _Id
    value: _Id

    def __str__(self) -> str:
        return f"{self.key.raw} = {self.value.raw}"


@dataclass(frozen=True)
class _Node:
    name: str
    attributes: Sequence[_Attribute]


@dataclass(frozen=True)
class _Chain:
    """Ends that arrows join, each one name or the names of a subgraph."""

    points: Sequence[_Node | _Subgraph]
    arrow: Token


@dataclass(frozen=True)
class _Subgraph:
    statements: Sequence[_Attribute | _Node | _Chain | _Subgraph]
    depth: int

    @property
    def nodes(self) -> list[_Node]:
        """The nodes that are named inside, in order."""
        return list(_nodes(self.statements))


def _nodes(statements: Iterable[object]) -> Iterator[_Node]:
    for statement in statements:
        if isinstance(statement, _Node):
            yield statement
        elif isinstance(statement, _Chain):
            yield from _nodes(statement.points)
        elif isinstance(statement, _Subgraph):
            yield from _nodes(statement.statements)


def _chains(statements: Iterable[object]) -> Iterator[_Chain]:
    for statement in statements:
        if isinstance(statement, _Chain):
            yield from _chains(statement.points)
            yield statement
        elif isinstance(statement, _Subgraph):
            yield from _chains(statement.statements)


class _Reader(Transformer):
    """Statements from the parse."""

    def start(self, children: list) -> tuple[list[Token], str, list]:
        heads = [child for child in children if isinstance(child, Token)]
        titles = [child.name for child in children if isinstance(child, _Id)]
        return heads, (titles or [""])[0], [child for child in children if isinstance(child, (_Attribute, _Node, _Chain, _Subgraph))]

    def node(self, children: list) -> _Node:
        return _Node(children[0].name, [attribute for group in children[1:] for attribute in group])

    def chain(self, children: list) -> _Chain:
        points = [child for child in children if isinstance(child, (_Node, _Subgraph))]
        arrows = [child for child in children if isinstance(child, Token)]
        return _Chain(points, next((arrow for arrow in arrows if arrow == "--"), arrows[0]))

    def point(self, children: list) -> _Node | _Subgraph:
        return children[0] if isinstance(children[0], _Subgraph) else _Node(children[0].name, ())

    def subgraph(self, children: list) -> _Subgraph:
        statements = [child for child in children if isinstance(child, (_Attribute, _Node, _Chain, _Subgraph))]
        return _Subgraph(statements, _deeper(statements))

    def attribute(self, children: list) -> _Attribute:
        return _Attribute(*children)

    def attributes(self, children: list) -> list[_Attribute]:
        return children

    def defaults(self, children: list) -> None:
        return None

    def end(self, children: list) -> _Id:
        return children[0]

    def id(self, children: list) -> _Id:
        first = children[0]
        return _Id(first.value if len(children) == 1 else f'"{"".join(token[1:-1] for token in children)}"', first.line)


def _deeper(statements: Iterable[object]) -> int:
    inner = [point for statement in statements for point in (statement.points if isinstance(statement, _Chain) else (statement,))]
    depth = 1 + max((part.depth for part in inner if isinstance(part, _Subgraph)), default=0)
    if depth > DEEPEST:
        raise FormatError(f"expected subgraphs at most {DEEPEST} deep")
    return depth


@cache
def _parser() -> Lark:
    return build(_GRAMMAR, _Reader())


def read(source: Source, normalise: bool = False) -> Document:
    """Return the graph of a DOT file; `normalise` is for formats with tables."""
    heads, title, statements = parsed(_parser(), source)
    if heads[-1].type != "DIGRAPH":
        raise source.error(f"expected a digraph; got a {heads[-1].value}, which has no arrows", heads[-1].line, heads[-1])
    attributes: dict[str, dict[str, _Attribute]] = {}
    for node in _nodes(statements):
        attributes.setdefault(node.name, {}).update((attribute.key.name, attribute) for attribute in node.attributes)
    names = {name: unquote(own[_NAME].value.name) if _NAME in own else name for name, own in attributes.items()}
    properties = {names[name]: tuple(str(attribute) for key, attribute in own.items() if key != _NAME) for name, own in attributes.items()}
    if len(properties) < len(names):
        raise source.error(f"expected another {_NAME} for each node; got one twice")
    graph = {attribute.key.name: str(attribute) for attribute in statements if isinstance(attribute, _Attribute)}
    try:
        dag = DAG([(names[a], names[b]) for a, b in _arrows(source, statements, strict=heads[0].type == "STRICT")], nodes=tuple(names.values()))
    except GraphError as error:
        raise source.error(str(error)) from error
    return Document(dag, title, tuple(graph.values()), {name: lines for name, lines in properties.items() if lines})


def _arrows(source: Source, statements: Sequence[object], strict: bool) -> Iterator[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    for chain in _chains(statements):
        if chain.arrow == "--":
            raise source.error("expected arrows '->'; got '--'", chain.arrow.line, chain.arrow)
        ends = [point.nodes if isinstance(point, _Subgraph) else [point] for point in chain.points]
        for tails, heads in zip(ends, ends[1:]):
            source.reserve(len(tails) * len(heads), chain.arrow.line)
            for arrow in ((tail.name, head.name) for tail in dict.fromkeys(tails) for head in heads):
                if arrow in seen and not strict:
                    raise source.error(f"expected each arrow once; got {arrow[0]!r} -> {arrow[1]!r} again", chain.arrow.line, arrow[1])
                if arrow not in seen:
                    yield arrow
                seen.add(arrow)


def write(document: Document) -> Files:
    """Return a document's graph as DOT."""
    return {"": "\n".join([f"digraph {_id(document.name or 'unknown')} {{", *(f"  {line}" for line in _lines(document)), "}"]) + "\n"}


def _lines(document: Document) -> Iterator[str]:
    ids = {name: _id(name) for name in document.dag.nodes}
    yield from filter(_is_attribute, document.properties)
    for name, written in ids.items():
        lines = [line for line in document.node_properties.get(name, ()) if _is_attribute(line)]
        lines += [f'{_NAME} = "{quote(name, safe="")}"'] if "\\" in name else []
        yield written + (f" [{', '.join(lines)}]" if lines else "")
    for tail, head in document.dag.edges:
        yield f"{ids[tail]} -> {ids[head]}"


def _id(name: str) -> str:
    if "\\" in name:
        return f'"{quote(name, safe="")}"'
    plain = _PLAIN.fullmatch(name) and name.lower() not in _KEYWORDS
    return name if plain else '"' + name.replace('"', '\\"') + '"'


def _is_attribute(line: str) -> bool:
    """Whether a line is an attribute that reads back as it is."""
    try:
        document = read(Source("property", f"digraph {{ {line} }}".encode()))
    except (FormatError, UnicodeEncodeError):
        return False
    return document.properties == (line,) and not document.dag.nodes
