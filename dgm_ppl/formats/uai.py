"""UAI, the model format of the UAI inference competitions, for `BAYES` networks.

The format is described at http://www.hlt.utdallas.edu/~vgogate/uai16-evaluation/uaiformat.html: numbers only; the last
variable of a scope is the child, and its states run innermost. Lines that begin with `c` are comments, and
so is what follows a `#`, as pyAgrum writes.

It has no names. They are written beside the file, as JSON in `<file>.names.json`: `{"name": ..., "nodes": {name: [states]}}`
in the file's order, and read from there. Without that file the variables are `x0`, `x1`, ... and their states `0`, `1`, ...
Properties have no place here and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice

from .contents import Flat, cells, spelt_shape
from .draft import Draft, Node
from .errors import clipped
from .format import Files
from .json_text import parsed
from .numbers import array_of, spelt
from .source import Source

__all__ = ["NAMES", "parse", "render"]

NAMES = ".names.json"
"""What is added to a file's name for the file of names."""

_COMMENT = re.compile(r"^c(?:[ \t].*)?$|#.*", re.MULTILINE)
_WORD = re.compile(r"\S+")
_WHOLE = re.compile(r"[0-9]{1,9}")


class _Words:
    """The words of a file, one after the other."""

    def __init__(self, source: Source) -> None:
        self.source, self.text = source, _COMMENT.sub(lambda match: " " * len(match.group()), source.text)
        self.words, self.at, self._counted, self._line = _WORD.finditer(self.text), 0, 0, 1

    @property
    def line(self) -> int:
        """The line of the word that was taken last."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def next(self, expected: str) -> str:
        match = next(self.words, None)
        if match is None:
            self.at = len(self.text)
            raise self.source.error(f"expected {expected}; got the end of the file", self.line)
        self.at = match.start()
        return match.group()

    def whole(self, expected: str) -> int:
        word = self.next(expected)
        if not _WHOLE.fullmatch(word):
            raise self.source.error(f"expected {expected}; got {clipped(word)!r}", self.line, word)
        return int(word)

    def numbers(self, count: int) -> Flat:
        """The next numbers, at most so many as there are."""
        taken = list(islice(self.words, count))
        if len(taken) < count:
            self.at = len(self.text)
            raise self.source.error(f"expected {count:,} probabilities; got {len(taken):,} and the end of the file", self.line)
        self.at = taken[0].start()
        return Flat(array_of(self.source, self.text[self.at:taken[-1].end()], self.line), self.line)


def parse(source: Source) -> Draft:
    """Return the draft of a UAI file and its file of names, if there is one."""
    words = _Words(source)
    kind = words.next("BAYES")
    if kind != "BAYES":
        raise source.error(f"expected a BAYES network; got {clipped(kind)!r}", words.line, kind)
    sizes = [words.whole("a number of states") for _ in range(words.whole("the number of variables"))]
    scopes = _scopes(words, len(sizes))
    tables = {scope[-1]: (scope[:-1], _table(words, scope, sizes)) for scope in scopes}
    rest = next(words.words, None)
    if rest is not None:
        words.at = rest.start()
        raise source.error(f"expected the end of the file; got {clipped(rest.group())!r}", words.line, rest.group())
    name, names, states = _named(source, sizes)
    return Draft([Node(names[i], states[i], tuple(names[parent] for parent in parents), contents, contents.line)
                  for i, (parents, contents) in sorted(tables.items())], name)


def _scopes(words: _Words, variables: int) -> list[list[int]]:
    if (count := words.whole("the number of tables")) != variables:
        raise words.source.error(f"expected a table for each of {variables:,} variables; got {count:,}", words.line, str(count))
    scopes: list[list[int]] = []
    children: set[int] = set()
    for _ in range(count):
        scopes.append([_variable(words, variables) for _ in range(words.whole("the size of a scope"))])
        child = scopes[-1][-1] if scopes[-1] else None
        if child is None or child in children or len(set(scopes[-1])) < len(scopes[-1]):
            raise words.source.error("expected scopes of different variables, each variable the last of one scope; "
                                     f"got the scope {scopes[-1][:20]}", words.line)
        children.add(child)
    return scopes


def _variable(words: _Words, variables: int) -> int:
    if (found := words.whole("a variable's number")) >= variables:
        raise words.source.error(f"expected a variable below {variables:,}; got {found:,}", words.line, str(found))
    return found


def _table(words: _Words, scope: Sequence[int], sizes: Sequence[int]) -> Flat:
    shape = [sizes[variable] for variable in scope]
    count, wanted = words.whole("the number of probabilities"), cells(shape)
    if count != wanted or not count:
        expected = f"{wanted:,} probabilities ({spelt_shape(shape)})" if wanted else "at least one state"
        raise words.source.error(f"variable {scope[-1]}: expected {expected}; got {count:,}", words.line, str(count))
    return words.numbers(count)


def _named(source: Source, sizes: Sequence[int]) -> tuple[str, list[str], list[tuple[str, ...]]]:
    """The network's name, the nodes' and their states', from the file beside or by number."""
    beside = source.beside(NAMES)
    if beside is None:
        return "", [f"x{i}" for i in range(len(sizes))], [tuple(map(str, range(size))) for size in sizes]
    found = parsed(beside)
    nodes = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(nodes, dict) or not all(isinstance(states, list) for states in nodes.values()):
        raise beside.error('expected {"name": ..., "nodes": {name: [states]}}', 1)
    states = [tuple(map(str, labels)) for labels in nodes.values()]
    if [len(labels) for labels in states] != list(sizes):
        raise beside.error(f"expected the variables of {source.path.name}, with as many states; try deleting it if it belongs to another file", 1)
    return str(found.get("name", "")), list(nodes), states


def render(draft: Draft) -> Files:
    """Return a draft as UAI, and the file of its names."""
    number = {node.name: i for i, node in enumerate(draft.nodes)}
    lines = ["BAYES", str(len(number)), " ".join(str(len(node.states)) for node in draft.nodes), str(len(number))]
    for node in draft.nodes:
        scope = [number[name] for name in (*node.parents, node.name)]
        lines.append(" ".join(map(str, (len(scope), *scope))))
    for node in draft.nodes:
        rows = node.rows
        lines += ["", str(len(rows) * len(node.states)), *map(spelt, rows)]
    names = {"name": draft.name, "nodes": {node.name: node.states for node in draft.nodes}}
    return {"": "\n".join(lines) + "\n", NAMES: json.dumps(names, ensure_ascii=False, indent=1) + "\n"}
