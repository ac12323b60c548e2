"""What notebooks show: every graph, net, guide, model and result is a picture at the end of a cell."""

from __future__ import annotations

from .lazy import Lazy

__all__ = ["Displayed"]

_showing = Lazy("dgm_ppl.showing")                      # the one look upwards, by name, when something is shown and not before


class Displayed:
    """Shown by a notebook as the picture that `dgm_ppl.showing` makes of it."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return _showing.shown(self)
