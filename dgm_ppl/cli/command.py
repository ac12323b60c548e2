"""What all commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

__all__ = ["command"]

TARGET = """TARGET is FILE.py:NAME, a net, DAG or compiled model that a Python file defines (the file is run); a network in a file
that dgm.read reads (.bif, .xmlbif, .xdsl, .uai, .net, .json, .dot, each also with .gz); a model.safetensors that dgm.save
wrote; or a graph as text, "a -> b; b -> c"."""


def command(name: str) -> Callable[[Callable], click.Command]:
    """A command whose help says what TARGET is, and whose user errors take one line."""

    def decorate(function: Callable) -> click.Command:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except (ValueError, TypeError, OSError) as error:
                raise click.ClickException(str(error)) from error

        run.__doc__ = f"{function.__doc__}\n\n{TARGET}"
        return click.command(name)(run)

    return decorate
