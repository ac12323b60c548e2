"""Pictures of graphs and nets: relations, then a figure, then DOT, and from there any format."""

from .difference import draw_difference
from .draw import draw
from .figure import Figure
from .picture import Picture
from .steps import draw_steps

__all__ = ["Figure", "Picture", "draw", "draw_difference", "draw_steps"]
