"""XML as a tree that remembers lines, by the standard library's expat.

What makes XML dangerous is refused: entities are not declared, nothing outside the file is fetched, attributes have no
defaults from a DTD, and elements nest at most 100 deep (https://docs.python.org/3/library/xml.html#xml-security).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from .errors import FormatError, clipped
from .source import Source

__all__ = ["Element", "element", "parse", "text_element"]

_DEEPEST = 100
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Element:
    """An element: its tag, attributes, line, and its texts and children in order."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    content: list[str | Element] = field(default_factory=list)

    @property
    def children(self) -> Iterator[Element]:
        """The elements inside."""
        return (part for part in self.content if isinstance(part, Element))

    def all(self, tag: str) -> list[Element]:
        """The elements inside with a tag."""
        return [child for child in self.children if child.tag == tag]

    @property
    def raw(self) -> str:
        """The text inside, as it stands."""
        return "".join(part for part in self.content if isinstance(part, str))

    @property
    def text(self) -> str:
        """The text inside, without the blanks around it unless `xml:space` preserves them."""
        return self.raw if self.attributes.get("xml:space") == "preserve" else self.raw.strip()

    def __str__(self) -> str:
        attributes = "".join(f" {name}={_attribute(value)}" for name, value in self.attributes.items())
        inside = "".join(part if isinstance(part, str) else str(part) for part in map(_escaped, self.content))
        return f"<{self.tag}{attributes}>{inside}</{self.tag}>" if inside else f"<{self.tag}{attributes}/>"


def element(tag: str, *content: str | Element, **attributes: str) -> Element:
    """Return a new element.

    >>> print(element("state", id="<5"))
    <state id="&lt;5"/>
    """
    return Element(tag, attributes, 0, list(content))


def text_element(tag: str, text: str) -> Element:
    """Return an element that holds a text, whose outer blanks are marked as its own.

    >>> print(text_element("NAME", "a & b"))
    <NAME>a &amp; b</NAME>
    """
    attributes = {} if text == text.strip() else {"xml:space": "preserve"}
    return Element(tag, attributes, 0, [text])


def parse(source: Source) -> Element:
    """Return the root element of a file, or raise `FormatError` with the line."""
    return _Builder(source).root()


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source, self.open, self.top = source, [Element("", {}, 0)], None
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text, parser.specified_attributes = True, True
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.CharacterDataHandler = self.characters
        parser.EntityDeclHandler, parser.SkippedEntityHandler = self.entity, self.entity

    def root(self) -> Element:
        try:
            self.parser.Parse(self.source.data, True)
        except expat.ExpatError as error:
            raise self.source.error(f"expected well-formed XML; got {expat.errors.messages[error.code]}", error.lineno) from None
        except (FormatError, RecursionError):
            raise
        except (ValueError, LookupError) as error:
            raise self.source.error(f"expected a known encoding; got {error}; try UTF-8", 1) from None
        return next(self.open[0].children)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.open) > _DEEPEST:
            raise self.source.error(f"expected elements at most {_DEEPEST} deep", self.parser.CurrentLineNumber, tag)
        child = Element(tag, attributes, self.parser.CurrentLineNumber)
        self.open[-1].content.append(child)
        self.open.append(child)

    def end(self, tag: str) -> None:
        self.open.pop()

    def characters(self, text: str) -> None:
        self.open[-1].content.append(text)

    def entity(self, name: str, *_: object) -> None:
        raise self.source.error("expected no entities; got one; write its text instead", self.parser.CurrentLineNumber, name)


def _escaped(part: str | Element) -> str | Element:
    return part if isinstance(part, Element) else escape(_legal(part), {"\r": "&#13;"})


def _attribute(value: str) -> str:
    return quoteattr(_legal(value), {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})


def _legal(text: str) -> str:
    found = _ILLEGAL.search(text)
    if found:
        raise FormatError(f"expected characters that XML has; got {found.group()!r} in {clipped(text)!r}; try another name, or the suffix .json")
    return text
