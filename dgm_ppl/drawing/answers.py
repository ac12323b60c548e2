"""What a posterior puts into a picture: its evidence, and the marginals of its single numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..graph import GraphError
from .relations import Relations

__all__ = ["Answer", "answered", "in_words"]


@runtime_checkable
class Answer(Protocol):
    """A posterior: marginals of nodes given evidence, for rows of evidence `worlds`."""

    evidence: Mapping[str, Any]
    worlds: tuple[int, ...]

    @property
    def names(self) -> Sequence[str]:
        """The nodes that were inferred."""

    @property
    def marginals(self) -> Mapping[str, Any]:
        """The distribution of each of them."""


def answered(posterior: Answer | Mapping[str, Any] | None, relations: Relations) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the evidence and the marginals to draw; of a posterior those of nodes that are one number and in no plate.

    Raises `GraphError` for a posterior of several rows of evidence.
    """
    if not isinstance(posterior, Answer):
        return {}, dict(posterior or {})
    if posterior.worlds:
        raise GraphError(f"draw: posterior: expected the answer to one row of evidence; got rows {tuple(posterior.worlds)}; "
                         "try dgm.posterior(model, {name: column[0] for name, column in data.items()})")
    plated = {name for plate in relations.plates for name in plate.members}
    single = [node.name for node in relations.nodes if node.name in posterior.names and node.name not in plated and node.single]
    return dict(posterior.evidence), {name: posterior.marginals[name] for name in single}


def in_words(evidence: Any, relations: Relations) -> Any:
    """Return evidence with the labels of states in the place of their codes; names alone as they are."""
    if not isinstance(evidence, Mapping):
        return evidence
    states = {node.name: node.states for node in relations.nodes}
    return {name: _word(value, states.get(name, ())) for name, value in evidence.items()}


def _word(value: Any, states: Sequence[str]) -> Any:
    """A code as its state's label; anything else as it is."""
    if not states or isinstance(value, (str, bool)) or value is None:
        return value
    try:
        code = float(value)
    except (TypeError, ValueError):                                         # several values, or a label of another type
        return value
    return states[int(code)] if code.is_integer() and 0 <= code < len(states) else value
