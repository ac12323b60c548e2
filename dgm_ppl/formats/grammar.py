"""The door to lark: grammars built once, and its errors in this package's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput
from lark.lexer import PatternStr

from .errors import FormatError, clipped
from .source import Source

__all__ = ["DEEPEST", "build", "parse", "quoted", "unquoted"]

DEEPEST = 64
"""How deep lists and blocks may nest."""

_ESCAPE = re.compile(r'\\(["\\])')


def build(grammar: str, transformer: Transformer) -> Lark:
    """Return the LALR(1) parser of a grammar; its time and memory are linear in the text, and it never backtracks."""
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=transformer, maybe_placeholders=False)


def parse(parser: Lark, source: Source) -> Any:
    """Return what the parser's transformer makes of a file, or raise `FormatError` with the line and the token."""
    try:
        return parser.parse(source.text)
    except UnexpectedInput as error:
        raise _refused(parser, source, error) from None
    except FormatError as error:
        raise source.error(error.problem, error.line, error.token) from None


def unquoted(token: Token) -> str:
    r"""Return the text of a token in double quotes, in which only `\"` and `\\` are escapes.

    >>> unquoted(Token("QUOTED", r'"a \"b\" c:\d"'))
    'a "b" c:\\d'
    """
    return _ESCAPE.sub(r"\1", token[1:-1])


def quoted(text: str) -> str:
    r"""Return a text in double quotes, as `unquoted` reads it.

    >>> print(quoted('a "b"'))
    "a \"b\""
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _refused(parser: Lark, source: Source, error: UnexpectedInput) -> FormatError:
    if isinstance(error, UnexpectedCharacters):
        found = _word_at(source.text, error.pos_in_stream)
        return source.error(f"expected {_spelt(parser, error.allowed)}; got {clipped(found)!r}", error.line, found)
    wanted = _spelt(parser, error.accepts or error.expected)
    if error.token.type == "$END":
        return source.error(f"expected {wanted}; got the end of the file", source.text.count("\n") + 1)
    return source.error(f"expected {wanted}; got {clipped(error.token)!r}", error.token.line, error.token)


def _word_at(text: str, position: int) -> str:
    match = re.compile(r"[\w.+-]+|.", re.DOTALL).match(text, position, position + 80)
    return match.group() if match else ""


def _spelt(parser: Lark, terminals: Iterable[str] | None) -> str:
    """The terminals as a reader would write them: `';'` for a literal, `word` for a pattern."""
    patterns = {terminal.name: terminal.pattern for terminal in parser.terminals}
    literal = {name: repr(pattern.value) for name, pattern in patterns.items() if isinstance(pattern, PatternStr)}
    words = sorted({literal.get(name, "the end of the file" if name == "$END" else name.lower()) for name in terminals or ()})
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "something else"

