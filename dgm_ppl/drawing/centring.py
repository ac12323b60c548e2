"""Labels that stay in the middle of their nodes whichever font a reader's program has.

The drawing program gives each line of a label the place of its first letter, which is right only in the font that it knew.
"""

from __future__ import annotations

import re

from .figure import Figure

__all__ = ["centred"]

_LINE = re.compile(r'text-anchor="start" x="[^"]*"')
_OUTLINE = re.compile(r'<(?:ellipse|polygon|path)\b[^>]*? (?:cx|points|d)="([^"]*)"')


def centred(svg: str, figure: Figure) -> str:
    """Return the SVG with the labels of all nodes anchored in the middle, but for those that hold charts."""
    head, *parts = svg.split('<g id="mark')
    return '<g id="mark'.join([head, *(_part(part, figure) for part in parts)])


def _part(part: str, figure: Figure) -> str:
    """One node's part of the SVG, with what follows it up to the next node."""
    number, rest = part.split('"', 1)
    own, *after = rest.split('<g id="arrow', 1)
    if figure.marks[int(number)].chart is None:
        own = _LINE.sub(f'text-anchor="middle" x="{_middle(own):.2f}"', own)
    return '<g id="arrow'.join([f'{number}"{own}', *after])


def _middle(part: str) -> float:
    """The middle of the first outline."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", _OUTLINE.search(part)[1])]
    across = numbers[::2]
    return (min(across) + max(across)) / 2
