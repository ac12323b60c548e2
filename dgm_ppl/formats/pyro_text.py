"""Python source as text: calls broken over short lines, numbers, arrays, and names that Python takes."""

from __future__ import annotations

import itertools
import json
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

__all__ = ["Code", "Line", "Names", "array", "call", "lines", "number", "one_line", "quoted", "sizes"]

WIDTH = 88


@dataclass(frozen=True)
class Code:
    """Items between brackets, one a line where they do not fit on one; `filled` puts as many on a line as fit."""

    opening: str
    items: tuple[str | Code, ...]
    closing: str
    filled: bool = False
    separator: str = ","

    def __str__(self) -> str:
        return f"{self.opening}{', '.join(map(str, self.items))}{self.closing}"

    def then(self, tail: str) -> Code:
        """The same with a method or an index after it."""
        return replace(self, closing=self.closing + tail)

    def inside(self, outer: Code) -> Code:
        """The only item of `outer`, both brackets on one line."""
        return replace(self, opening=outer.opening + self.opening, closing=self.closing + outer.closing)


@dataclass(frozen=True)
class Line:
    """A statement, `depth` blocks deep: text, then code that may be broken over lines, a comment above and a note behind."""

    before: str
    code: str | Code = ""
    depth: int = 0
    comment: str = ""
    note: str = ""


def call(function: str, *arguments: str | Code) -> Code:
    """A call.

    >>> print(call("nn.Linear", "20", "400"))
    nn.Linear(20, 400)
    """
    return Code(f"{function}(", arguments, ")")


def lines(statements: Iterable[Line]) -> Iterator[str]:
    """Statements as lines of source, indented by four a block."""
    for statement in statements:
        pad = " " * 4 * statement.depth
        *first, last = (line.rstrip() for line in _broken(statement.before, statement.code, pad))
        noted = f"{last}  # {one_line(statement.note)}" if statement.note else last
        comment, noted = (statement.comment, noted) if len(noted) <= WIDTH else (statement.note, last)
        yield from textwrap.wrap(one_line(comment), WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}#     ", break_long_words=False)
        yield from (*first, noted)


def _broken(before: str, code: str | Code, pad: str, after: str = "") -> Iterator[str]:
    if len(f"{pad}{before}{code}{after}") > WIDTH and isinstance(code, str):
        code = _parsed(code)
    if len(f"{pad}{before}{code}{after}") <= WIDTH or isinstance(code, str) or not code.items:
        yield f"{pad}{before}{code}{after}"
        return
    if len(code.items) == 1 and isinstance(code.items[0], Code):
        code = code.items[0].inside(code)
    inner, items = pad + "    ", ", ".join(map(str, code.items))
    yield f"{pad}{before}{code.opening}"
    if code.filled:
        yield from _filled(code.items, inner)
    elif len(inner + items) <= WIDTH and code.separator == ",":
        yield inner + items
    else:
        for item in code.items:
            yield from _broken(*_signed(item), inner, code.separator)
    yield f"{pad}{code.closing}{after}"


def _filled(items: Iterable[str | Code], pad: str) -> Iterator[str]:
    line = pad
    for item in items:
        if len(line) > len(pad) and len(f"{line}{item},") > WIDTH:
            yield line
            line = pad
        line += f"{item}, "
    yield line


def _parsed(text: str) -> str | Code:
    """A long expression as code: a sum, a product or a chain of methods as its parts, a call as its arguments."""
    depths = list(itertools.accumulate((char in "([{") - (char in ")]}") for char in text))
    if '"' in text or not text.endswith(")") and not _places(text, depths, r" [-+*/@] "):  # a name in quotes may hold brackets
        return text
    for pattern in (r" [-+] ", r" [*/@] ", r"(?<=[)\]])\.\w+\("):
        if places := _places(text, depths, pattern):
            starts, ends = [0, *places], [*places, None]
            return Code("(", tuple(text[start:end].strip() for start, end in zip(starts, ends)), ")", separator="")
    start = max((place + 1 for place, depth in enumerate(depths[:-1]) if depth == 0), default=0)
    commas = [place for place, char in enumerate(text) if char == "," and place > start and depths[place] == 1]
    parts = [text[begin + 1:end].strip() for begin, end in zip([start, *commas], [*commas, -1])]
    return Code(text[: start + 1], tuple(parts), ")", separator="," if start or commas else "")


def _places(text: str, depths: list[int], pattern: str) -> list[int]:
    return [match.start() for match in re.finditer(pattern, text) if depths[match.start()] == 0]


def _signed(item: str | Code) -> tuple[str, str | Code]:
    signed = isinstance(item, str) and re.match(r"[-+*/@] ", item)
    return (item[:2], item[2:]) if signed else ("", item)


# ---- numbers and arrays


def number(value: float | int) -> str:
    """A number as Python source.

    >>> number(0.1), number(float("-inf"))
    ('0.1', '-torch.inf')
    """
    if isinstance(value, float) and not numpy.isfinite(value):
        return "-torch.inf" if value < 0 else "torch.inf"
    return repr(value)


def sizes(shape: Sequence[int]) -> str:
    """A shape as arguments, `()` for a scalar.

    >>> sizes((1, 28, 28)), sizes(())
    ('1, 28, 28', '()')
    """
    return ", ".join(map(str, shape)) or "()"


def array(values: numpy.ndarray) -> Code:
    """An array as the call that makes the tensor, in words where one number fills it.

    >>> print(array(numpy.array([15.0, 10.0])), array(numpy.zeros((2, 3))))
    torch.tensor([15.0, 10.0]) torch.zeros(2, 3)
    """
    values = values.astype(float) if values.dtype.kind == "b" else values
    first = values.flat[0].item()
    if (values == first).all():
        return _constant(values.shape, float(first))
    if values.ndim == 2 and values.shape[0] == values.shape[1] and (values == numpy.eye(len(values))).all():
        return call("torch.eye", str(len(values)))
    return call("torch.tensor", _nested(values.astype(float).tolist()))


def _constant(shape: tuple[int, ...], value: float) -> Code:
    if value in (0, 1):
        return call("torch.ones" if value else "torch.zeros", sizes(shape))
    return call("torch.full", str(shape), number(value)) if shape else call("torch.tensor", number(value))


def _nested(values: Any) -> str | Code:
    if not isinstance(values, list):
        return number(values)
    return Code("[", tuple(map(_nested, values)), "]", filled=not isinstance(values[0], list))


# ---- names


def quoted(name: str) -> str:
    """A name as a string literal."""
    return json.dumps(name, ensure_ascii=False)


def one_line(text: str) -> str:
    """A name that a comment or a docstring can hold, whatever characters are in it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class Names:
    """Identifiers for a program's names, each given once.

    >>> names = Names({"data"})
    >>> names.new("data"), names.new("two words"), names.new("1"), names.new("two_words")
    ('data_', 'two_words', 'node_1', 'two_words_')
    """

    def __init__(self, taken: Iterable[str]):
        self.taken = set(taken)

    def new(self, wanted: str) -> str:
        """The nearest free identifier."""
        name = re.sub(r"\W", "_", unicodedata.normalize("NFKC", wanted)).lstrip("_")  # a class mangles names with two in front
        name = name if name.isidentifier() else f"node_{name}".rstrip("_")
        while name in self.taken or keyword.iskeyword(name):
            name += "_"
        self.taken.add(name)
        return name

    def local(self, owner: str, wanted: str) -> str:
        """A name for a passing value, which another node may use again; with the owner's where a node has it."""
        while wanted in self.taken:
            wanted = f"{owner}_{wanted}"
        return wanted
