r"""BIF, the Bayesian Interchange Format 0.15, in the dialects of JavaBayes, bnlearn and pgmpy.

The format is Fabio Cozman's: https://www.cs.washington.edu/dm/vfml/appendixes/bif.htm. Commas are blanks. `table` runs
with the node's own states outermost and the last parent innermost; a row `(yes, no) 0.1, 0.9;` belongs to one
configuration of the parents, and `default` to those that have no row. Text between blocks is a comment, as the draft
has it, where its line has no brace.

Beyond the draft, words hold any character that is not a delimiter (bnlearn writes `<5` and `Asy/Patch`), names in double
quotes hold any at all with `\"` and `\\` as escapes, and numbers need no decimal point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy
from lark import Lark, Token, Transformer

from .contents import Contents, Flat, Rows
from .document import Lines
from .draft import Draft, Node
from .errors import hint
from .grammar import build, parse as parsed, quoted, unquoted
from .numbers import RUN, floats, spelt
from .source import Source

__all__ = ["parse", "render"]

_GRAMMAR = rf'''
start: (network | variable | probability | TEXT)*
network: NETWORK name? "{{" PROPERTY* "}}"
variable: VARIABLE name "{{" (PROPERTY | type)* "}}"
type: "type" "discrete" "[" COUNT "]" "{{" names "}}" ";"
probability: PROBABILITY "(" names ("|" names)? ")" "{{" (PROPERTY | table | default | row)* "}}"
table: "table" numbers ";"
default: "default" numbers ";"
row: ROW | "(" names ")" numbers ";"
numbers: NUMBERS+
names: name*
name: WORD | QUOTED

NETWORK.2: /network(?![^\s{{"])/
VARIABLE.2: /variable(?![^\s{{"])/
PROBABILITY.2: /probability(?![^\s(])/
PROPERTY.2: /property\b[^;"]*(?:"[^"]*"[^;"]*)*;/
ROW.2: /\([^(){{}}\[\]|";\/]*\)[\s,]*{RUN};/
COUNT: /[0-9]{{1,9}}/
WORD: /(?:[^\s{{}}()\[\],;|"\/]+|\/(?![\/*]))+/
QUOTED: /"[^"\\]*(?:\\.[^"\\]*)*"/s
TEXT.-1: /(?!\/\*)[^\s{{}}][^\n{{}}]*(?=\n|\Z)/
NUMBERS: /{RUN}/
COMMENT: /\/\/[^\n]*|\/\*.*?\*\//s
%ignore COMMENT
%ignore /[\s,]+/
'''
_WORD = re.compile(r"[A-Za-z0-9_<>=+./-]+")
_KEYWORDS = {"network", "variable", "probability", "property", "type", "discrete", "table", "default"}
_PROPERTY = re.compile(r'[^;"]*(?:"[^"]*"[^;"]*)*')


@dataclass(frozen=True)
class _Block:
    """A block as it stands: its keyword, its names before and after the bar, and what is in its braces."""

    keyword: Token
    names: list[str]
    parents: list[str] | None
    properties: Lines
    entries: list[_Entry]

    @property
    def name(self) -> str:
        return self.names[0] if self.names else ""


@dataclass(frozen=True)
class _Entry:
    """A `type`, `table`, `default` or row: its line, its names and its numbers."""

    kind: str
    line: int
    names: tuple[str, ...] = ()
    numbers: list[float] | int = 0


class _Reader(Transformer):
    """Blocks from the parse, which a callback a rule makes as soon as the rule is complete."""

    def start(self, children: list) -> list[_Block]:
        return [child for child in children if isinstance(child, _Block)]

    def network(self, children: list) -> _Block:
        return _block(children[0], [child for child in children[1:] if type(child) is str], None, children)

    def variable(self, children: list) -> _Block:
        return _block(children[0], children[1:2], None, children)

    def probability(self, children: list) -> _Block:
        names = [child for child in children if isinstance(child, list)]
        return _block(children[0], names[0], names[1] if len(names) > 1 else None, children)

    def type(self, children: list) -> _Entry:
        count, names = children
        return _Entry("type", count.line, tuple(names), int(count))

    def table(self, children: list) -> _Entry:
        return _numbered("table", (), children[0])

    def default(self, children: list) -> _Entry:
        return _numbered("default", (), children[0])

    def row(self, children: list) -> _Entry:
        if len(children) == 1:
            return _plain_row(children[0])
        return _numbered("row", tuple(children[0]), children[1])

    def numbers(self, children: list) -> tuple[list[float], int]:
        return [number for token in children for number in floats(token, token.line)], children[0].line

    def names(self, children: list) -> list[str]:
        return children

    def name(self, children: list) -> str:
        token = children[0]
        return unquoted(token) if token.type == "QUOTED" else token.value


def _block(keyword: Token, names: list[str], parents: list[str] | None, children: list) -> _Block:
    properties = tuple(child[len("property"):-1].strip() for child in children if isinstance(child, Token) and child.type == "PROPERTY")
    return _Block(keyword, names, parents, properties, [child for child in children if isinstance(child, _Entry)])


def _plain_row(token: Token) -> _Entry:
    """A row without quotes and comments, which the lexer takes whole: most of a large file is made of them."""
    names, _, numbers = token[1:-1].partition(")")
    line = token.line + names.count("\n")
    return _Entry("row", token.line, tuple(names.replace(",", " ").split()), floats(numbers, line))


def _numbered(kind: str, names: tuple[str, ...], numbers: tuple[list[float], int]) -> _Entry:
    return _Entry(kind, numbers[1], names, numbers[0])


@cache
def _parser() -> Lark:
    return build(_GRAMMAR, _Reader())


def parse(source: Source) -> Draft:
    """Return the draft of a BIF file."""
    blocks = parsed(_parser(), source)
    networks = [block for block in blocks if block.keyword == "network"]
    tables = _tables(source, blocks)
    nodes = [_node(source, block, tables) for block in blocks if block.keyword == "variable"]
    known = {node.name for node in nodes}
    for block in tables.values():
        if block.name not in known:
            raise source.error(f"expected a declared variable; got {block.name!r}{hint(block.name, known)}", block.keyword.line, block.name)
    first = networks[0] if networks else _Block(Token("NETWORK", "network"), [], None, (), [])
    return Draft(nodes, first.name, first.properties)


def _tables(source: Source, blocks: Iterable[_Block]) -> dict[str, _Block]:
    tables: dict[str, _Block] = {}
    for block in blocks:
        if block.keyword != "probability":
            continue
        if not block.names or (block.parents is not None and len(block.names) > 1):
            raise source.error(f"expected one variable before the bar; got {block.names}", block.keyword.line, block.keyword)
        if block.name in tables:
            first = tables[block.name].keyword.line
            raise source.error(f"node {block.name!r}: has a probability block already, in line {first}", block.keyword.line, block.name)
        tables[block.name] = block
    return tables


def _node(source: Source, block: _Block, tables: dict[str, _Block]) -> Node:
    line, table = block.keyword.line, tables.get(block.name)
    if len(block.entries) != 1:
        expected = "'type discrete [ 2 ] { yes, no };' once"
        raise source.error(f"node {block.name!r}: expected {expected}; got it {len(block.entries)} times", line, block.name)
    declared = block.entries[0]
    if declared.numbers != len(declared.names):
        raise source.error(f"node {block.name!r}: declares {declared.numbers:,} states; got {len(declared.names):,} names", declared.line)
    if table is None:
        raise source.error(f"node {block.name!r}: expected a block 'probability ( {block.name} ) {{ ... }}'; got none", line, block.name)
    parents = tuple(table.names[1:] if table.parents is None else table.parents)
    return Node(block.name, declared.names, parents, _contents(source, table), line, block.properties, table.properties)


def _contents(source: Source, block: _Block) -> Contents:
    line = block.keyword.line
    rows = [(entry.names, entry.numbers, entry.line) for entry in block.entries if entry.kind == "row"]
    defaults = [entry for entry in block.entries if entry.kind == "default"]
    whole = [entry for entry in block.entries if entry.kind == "table"]
    if len(whole) > 1 or len(defaults) > 1 or (whole and (rows or defaults)):
        raise source.error(f"node {block.name!r}: expected one table, or rows with at most one default", line, block.name)
    if whole:
        return Flat(numpy.array(whole[0].numbers), whole[0].line, own_first=True)
    if not rows and not defaults:
        raise source.error(f"node {block.name!r}: expected 'table', rows or 'default'; got an empty block", line, block.name)
    return Rows(rows, defaults[0].numbers if defaults else None, line)


def render(draft: Draft) -> str:
    """Return a draft as BIF: `table` for roots, a row for each configuration of the parents otherwise."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    yield f"network {_name(draft.name or 'unknown')} {{"
    yield from _properties(draft.properties)
    yield "}"
    for node in draft.nodes:
        yield f"variable {_name(node.name)} {{"
        yield f"  type discrete [ {len(node.states)} ] {{ {_listed(node.states)} }};"
        yield from _properties(node.properties)
        yield "}"
    states = draft.states
    for node in draft.nodes:
        given = f" | {_listed(node.parents)}" if node.parents else ""
        yield f"probability ( {_name(node.name)}{given} ) {{"
        for labels, row in zip(product(*(states[parent] for parent in node.parents)), node.rows):
            yield f"  ({_listed(labels)}) {spelt(row, ', ')};" if labels else f"  table {spelt(row, ', ')};"
        yield from _properties(node.table_properties)
        yield "}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_name, names))


def _name(name: str) -> str:
    plain = _WORD.fullmatch(name) and name not in _KEYWORDS and not {"//", "/*"} & {name[i:i + 2] for i in range(len(name))}
    return name if plain else quoted(name)


def _properties(lines: Lines) -> Iterator[str]:
    for line in lines:
        kept = _PROPERTY.fullmatch(line) and line == line.strip()
        yield f"  property {line} ;" if kept else f'  property "{line.replace(chr(34), chr(39))}" ;'
