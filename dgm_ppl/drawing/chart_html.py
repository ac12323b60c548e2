"""Charts as tables of coloured cells, which every program that draws DOT can show."""

from __future__ import annotations

from collections.abc import Callable

from .charts import Chart
from .measure import BAR_WIDTH, CHART_WIDTH, COLUMN_HEIGHT

__all__ = ["chart_rows"]

_BAR = 8
_FILL, _EMPTY, _INK = "#4c8cbf", "#eeeeee", "#555555"
_TABLE = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">'


def chart_rows(chart: Chart, html: Callable[[str], str]) -> str:
    """Return table rows, three cells wide, that show a chart; `html` escapes text."""
    if chart.rows:
        return "".join(_bar(state, share, html) for state, share in zip(chart.states, chart.shares))
    low, high = (_small(html(end)) for end in chart.ends)
    ends = f"<TR>{_cell(low, 'LEFT')}<TD></TD>{_cell(high, 'RIGHT')}</TR>"
    return f'<TR><TD COLSPAN="3">{_columns(chart.heights)}</TD></TR>{ends}'


def _bar(state: str, share: float, html: Callable[[str], str]) -> str:
    full = round(share * BAR_WIDTH)
    bar = f"{_TABLE}<TR>{_block(full, _BAR, _FILL)}{_block(BAR_WIDTH - full, _BAR, _EMPTY)}</TR></TABLE>"
    return f"<TR>{_cell(_small(html(state)), 'LEFT')}<TD>{bar}</TD>{_cell(_small(f'{share:.1%}'), 'RIGHT')}</TR>"


def _columns(heights: tuple[float, ...]) -> str:
    wide = max(round(CHART_WIDTH / len(heights)), 1)
    stacks = (_stack(wide, round(height * COLUMN_HEIGHT)) for height in heights)
    return f"{_TABLE}<TR>{''.join(stacks)}</TR></TABLE>"


def _stack(wide: int, high: int) -> str:
    return f"<TD>{_TABLE}{_row(wide, COLUMN_HEIGHT - high, _EMPTY)}{_row(wide, high, _FILL)}</TABLE></TD>"


def _row(wide: int, high: int, color: str) -> str:
    return f"<TR>{_block(wide, high, color)}</TR>" if high else ""


def _block(wide: int, high: int, color: str) -> str:
    return f'<TD FIXEDSIZE="TRUE" WIDTH="{wide}" HEIGHT="{high}" BGCOLOR="{color}"></TD>' if wide else ""


def _cell(text: str, align: str) -> str:
    return f'<TD ALIGN="{align}">{text}</TD>'


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="8" COLOR="{_INK}">{text}</FONT>'
