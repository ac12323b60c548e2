r"""NET, the language of HUGIN, for networks of discrete chance nodes.

The language is described in the HUGIN API reference manual, chapter "The NET language", https://download.hugin.com/webdocs/manuals/.
A table has the node's own states innermost, then those of the last parent; parentheses may show its shape or be left out.
Comments run from `%` to the end of the line; `\"` and `\\` are the escapes of a string. Nodes may stand in a `class`.

States without labels (HUGIN writes `""` for numbered nodes) are numbered. A name that is no identifier is written as a
like one, and as it is in the attribute `dgm_ppl_name`. In a document, a property is an attribute as it stands,
`key = value`; a line that is none, from another format, is written as a string under `dgm_ppl_property_1`, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy
from lark import Lark, Token, Transformer

from .contents import Contents, Flat, spelt_shape
from .document import Lines
from .draft import Draft, Node
from .errors import FormatError, clipped
from .grammar import DEEPEST, build, parse as parsed, quoted, unquoted
from .identifiers import identifiers
from .numbers import RUN, floats, spelt
from .source import Source

__all__ = ["parse", "render"]

_GRAMMAR = rf'''
start: block*
block: WORD+ scope? "{{" (attribute | block)* "}}"
scope: "(" WORD* bar? ")"
bar: "|" WORD*
attribute: WORD "=" value ";"
?value: QUOTED | NUMBERS | WORD | list
list: ROW | "(" value* ")"

WORD: /[^\s{{}}()=;|"%]+/
QUOTED: /"[^"\\]*(?:\\.[^"\\]*)*"/s
NUMBERS.2: /{RUN}(?=[\s();%])/
ROW.2: /\(\s*{RUN}\)/
%ignore /%[^\n]*/
%ignore /\s+/
'''
_KINDS = (["node"], ["discrete", "node"])
_NAME, _PROPERTY = "dgm_ppl_name", re.compile(r"dgm_ppl_property_[0-9]+")


@dataclass(frozen=True)
class _List:
    """A list in parentheses: runs of numbers, words, strings and lists."""

    items: Sequence[Token | _List]
    depth: int

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The sizes of nested lists of numbers, or None where they differ."""
        if not any(isinstance(item, _List) for item in self.items):
            return (sum(len(item.replace(",", " ").split()) for item in self.items),)
        inner = {item.shape if isinstance(item, _List) else None for item in self.items}
        shape = inner.pop()
        return (len(self.items), *shape) if shape is not None and not inner else None

    def numbers(self) -> Iterator[float]:
        """The numbers inside, in order."""
        for item in self.items:
            if isinstance(item, _List):
                yield from item.numbers()
            elif item.type == "NUMBERS":
                yield from floats(item, item.line)
            else:
                raise FormatError(f"expected a number; got {clipped(item)!r}", line=item.line, token=item)

    def __str__(self) -> str:
        return f"({' '.join(map(_canonical, self.items))})"


@dataclass(frozen=True)
class _Attribute:
    key: Token
    value: Token | _List

    def __str__(self) -> str:
        return f"{self.key} = {_canonical(self.value)}"


@dataclass(frozen=True)
class _Block:
    """A block: the words before its braces, the names of its scope, and what is inside."""

    words: Sequence[Token]
    names: Sequence[str]
    parents: Sequence[str]
    attributes: Sequence[_Attribute]
    blocks: Sequence[_Block]
    depth: int

    @property
    def kind(self) -> str:
        return self.words[0].value

    @property
    def line(self) -> int:
        return self.words[0].line

    def get(self, key: str) -> _Attribute | None:
        """The attribute of a key."""
        return next((attribute for attribute in self.attributes if attribute.key == key), None)

    def text(self, key: str, default: str = "") -> str:
        """The attribute of a key as text."""
        found = self.get(key)
        return default if found is None or isinstance(found.value, _List) else _plain(found.value)

    def properties(self, *others: str) -> Lines:
        """The attributes as lines, without those that have a place of their own."""
        kept = (attribute for attribute in self.attributes if attribute.key not in (*others, _NAME))
        return tuple(self.text(attribute.key) if _PROPERTY.fullmatch(attribute.key) else str(attribute) for attribute in kept)


class _Reader(Transformer):
    """Blocks from the parse."""

    def start(self, children: list) -> list[_Block]:
        return children

    def block(self, children: list) -> _Block:
        words = [child for child in children if isinstance(child, Token)]
        blocks = [child for child in children if isinstance(child, _Block)]
        names, parents = next((child for child in children if isinstance(child, tuple)), ((), ()))
        attributes = [child for child in children if isinstance(child, _Attribute)]
        return _Block(words, names, parents, attributes, blocks, _deeper(blocks))

    def scope(self, children: list) -> tuple[list[str], list[str]]:
        parents = children.pop() if children and isinstance(children[-1], list) else []
        return [token.value for token in children], parents

    def bar(self, children: list) -> list[str]:
        return [token.value for token in children]

    def attribute(self, children: list) -> _Attribute:
        return _Attribute(*children)

    def list(self, children: list) -> _List:
        return _List(children, _deeper([child for child in children if isinstance(child, _List)]))

    def ROW(self, token: Token) -> Token:
        return Token.new_borrow_pos("NUMBERS", token[1:-1], token)


def _deeper(inner: Sequence[_Block | _List]) -> int:
    depth = 1 + max((part.depth for part in inner), default=0)
    if depth > DEEPEST:
        raise FormatError(f"expected blocks and lists at most {DEEPEST} deep")
    return depth


def _canonical(value: Token | _List) -> str:
    return str(value) if isinstance(value, _List) or value.type == "QUOTED" else " ".join(value.split())


def _plain(token: Token) -> str:
    return unquoted(token) if token.type == "QUOTED" else token.value


@cache
def _parser() -> Lark:
    return build(_GRAMMAR, _Reader())


def parse(source: Source) -> Draft:
    """Return the draft of a NET file."""
    blocks = parsed(_parser(), source)
    title = next((block for block in blocks if block.kind in ("net", "class")), None)
    if title is not None and title.kind == "class":
        blocks = [*(block for block in blocks if block is not title), *title.blocks]
    for block in blocks:
        if block is not title and block.kind != "potential" and [*block.words[:-1]] not in _KINDS:
            got = " ".join(block.words[:3])
            raise source.error(f"expected a net, a discrete node or a potential; got {clipped(got)!r}, which has no table of states", block.line, got)
        if block.blocks and block is not title:
            raise source.error(f"expected attributes; got the block {block.blocks[0].kind!r}", block.blocks[0].line, block.blocks[0].kind)
    return _draft(source, title, blocks)


def _draft(source: Source, title: _Block | None, blocks: Sequence[_Block]) -> Draft:
    declared = [block for block in blocks if block.kind in ("node", "discrete")]
    names = {block.words[-1].value: block.text(_NAME, block.words[-1].value) for block in declared}
    potentials = _potentials(source, blocks, names)
    states = {block.words[-1].value: _states(source, block) for block in declared}
    nodes = [_node(source, block, potentials, names, states) for block in declared]
    if title is None:
        return Draft(nodes)
    return Draft(nodes, title.text("name", title.words[-1] if title.kind == "class" else ""), title.properties("name"))


def _potentials(source: Source, blocks: Iterable[_Block], names: dict[str, str]) -> dict[str, _Block]:
    found: dict[str, _Block] = {}
    for block in blocks:
        if block.kind != "potential":
            continue
        if len(block.names) != 1 or block.names[0] not in names:
            raise source.error(f"expected one declared node before the bar; got {list(block.names)}", block.line, block.kind)
        name = block.names[0]
        if name in found:
            raise source.error(f"node {name!r}: has a potential already, in line {found[name].line}", block.line, name)
        found[name] = block
    return found


def _states(source: Source, block: _Block) -> tuple[str, ...]:
    found = block.get("states")
    if found is None or not isinstance(found.value, _List) or any(isinstance(item, _List) for item in found.value.items):
        got = "none" if found is None else clipped(str(found))
        raise source.error(f'node {block.words[-1].value!r}: expected states = ("yes" "no"); got {got}', block.line)
    labels = [word for item in found.value.items for word in ([unquoted(item)] if item.type == "QUOTED" else item.split())]
    return tuple(label or str(number) for number, label in enumerate(labels))


def _node(source: Source, block: _Block, potentials: dict[str, _Block], names: dict[str, str], states: dict[str, tuple[str, ...]]) -> Node:
    word = block.words[-1].value
    if word not in potentials:
        raise source.error(f"node {word!r}: expected a block 'potential ({word}) {{ ... }}'; got none", block.line, word)
    potential = potentials[word]
    sizes = [len(states[name]) for name in (*potential.parents, word) if name in states]
    return Node(
        names[word], states[word], tuple(names.get(parent, parent) for parent in potential.parents), _contents(source, potential, sizes),
        block.line, block.properties("states"), potential.properties("data"),
    )


def _contents(source: Source, potential: _Block, sizes: Sequence[int]) -> Contents:
    place, data = f"node {potential.names[0]!r}", potential.get("data")
    if data is None or not isinstance(data.value, _List):
        got = "none" if data is None else clipped(str(data))
        raise source.error(f"{place}: expected data = (...) in its potential; got {got}", potential.line)
    shape = data.value.shape
    try:
        contents = Flat(numpy.array(list(data.value.numbers())), data.key.line)
    except FormatError as error:
        raise source.error(error.problem, error.line, error.token) from None
    if shape is None or (len(shape) > 1 and [size for size in shape if size > 1] != [size for size in sizes if size > 1]):
        got = "lists of different sizes" if shape is None else spelt_shape(shape)
        raise source.error(f"{place}: expected data of {spelt_shape(sizes)}, or without inner parentheses; got {got}", data.key.line)
    return contents


def render(draft: Draft) -> str:
    """Return a draft as NET."""
    ids = identifiers((node.name for node in draft.nodes), taken=("net", "class", "node", "potential", "discrete"))
    return "\n".join(_lines(draft, ids)) + "\n"


def _lines(draft: Draft, ids: dict[str, str]) -> Iterator[str]:
    yield from _braced("net", [f"name = {quoted(draft.name or 'unknown')}", *_attributes(draft.properties)])
    for node in draft.nodes:
        kept = [f"{_NAME} = {quoted(node.name)}"] if ids[node.name] != node.name else []
        states = f"states = ({' '.join(map(quoted, node.states))})"
        yield from _braced(f"node {ids[node.name]}", [states, *_attributes(node.properties), *kept])
    sizes = {node.name: len(node.states) for node in draft.nodes}
    for node in draft.nodes:
        given = " | " + " ".join(ids[parent] for parent in node.parents) if node.parents else ""
        data = f"data = {_nested(node, [sizes[parent] for parent in node.parents])}"
        yield from _braced(f"potential ({ids[node.name]}{given})", [data, *_attributes(node.table_properties)])


def _braced(head: str, attributes: Iterable[str]) -> list[str]:
    return [head, "{", *(f"    {attribute};" for attribute in attributes), "}"]


def _nested(node: Node, sizes: Sequence[int]) -> str:
    groups = [f"({spelt(row)})" for row in node.rows]
    for size in reversed(sizes):
        groups = [f"({' '.join(groups[i:i + size])})" for i in range(0, len(groups), size)]
    return groups[0].replace(") (", ")\n            (")


def _attributes(lines: Lines) -> list[str]:
    return [line if _is_attribute(line) else f"dgm_ppl_property_{number} = {quoted(line)}" for number, line in enumerate(lines, 1)]


def _is_attribute(line: str) -> bool:
    """Whether a line is an attribute that reads back as it is."""
    try:
        blocks = parsed(_parser(), Source("property", f"net {{ {line}; }}".encode()))
    except (FormatError, UnicodeEncodeError):
        return False
    return len(blocks) == 1 and not blocks[0].blocks and [*blocks[0].properties("name", "states", "data")] == [line]
