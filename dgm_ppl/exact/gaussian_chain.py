"""The hidden Gaussian nodes of a chain as a linear dynamical system, whose matrices are read off the conditionals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..conditionals import Chained
from ..families.affine import GAUSSIAN, nonlinearity
from ..families.lags import node_of
from ..graph import GraphError
from .blocks import block_diagonal, concatenated, padded, stacked, with_block
from .factors import Compiled
from .gaussian_lines import Line, Lines, Place
from .hidden import Observed, hidden_chain
from .kalman import Filtered, System, drawn_states, filtered, smoothed_moments

__all__ = ["GaussianAnswer", "GaussianChain"]

@dataclass(frozen=True, eq=False)
class GaussianAnswer:
    """A hidden chain given evidence: log p(evidence) `(rows)`, and moments of the state at each step given the steps up to then, and given all,
    `(steps, rows, numbers)` and `(steps, rows, numbers, numbers)`."""

    log_evidence: Tensor
    filtered: tuple[Tensor, Tensor]
    smoothed: tuple[Tensor, Tensor]


class GaussianChain:
    """A net whose hidden nodes are Gaussian, in a chain or outside it, and linear in one another, as what is observed is in them.

    The state of a step holds the hidden nodes of as many steps as something reads back, then those outside the chain, which stay as they are.

    Raises:
        GraphError: hidden nodes that are not like that, with the reason.
    """

    def __init__(self, model: Compiled, observed: Collection[str], partial: Collection[str] = ()):
        self.model, self.net, self.observed = model, model.net, frozenset(observed)
        hidden, self.chain = hidden_chain(model, observed, partial)
        self.names = tuple(name for name in hidden if self.net.chain_of(name) is not None)
        self.outside = tuple(name for name in hidden if self.net.chain_of(name) is None)
        self.partial = frozenset(partial)
        self._check(hidden)
        self.axis = list(self.net.plates).index(self.chain.name) - model.layout.rank
        self.numbers = {name: self.net[name].numel for name in hidden}
        self._lines = Lines(model, self.chain, self.names, self.numbers)
        self.window = self._window()
        width = sum(self.numbers[name] for name in self.names)
        self.places: dict[Place, slice] = {}
        for back in range(self.window):
            start = back * width
            for name in self.names:
                self.places[name, back] = slice(start, start + self.numbers[name])
                start += self.numbers[name]
        start = self.window * width
        for name in self.outside:
            self.places[name, 0] = slice(start, start + self.numbers[name])
            start += self.numbers[name]
        self.width, self.size = width, start

    # ---- what is hidden

    def _check(self, hidden: Sequence[str]) -> None:
        for name in hidden:
            if name in self.observed:
                raise GraphError(f"node {name!r} ~ {self.net[name].summary} has missing cells, and other nodes depend on it; fill them in, or leave the node out")
            if self.net[name].family not in GAUSSIAN:
                raise GraphError(f"node {name!r} ~ {self.net[name].summary} is not observed and not Gaussian")
            beside = [plate for plate in self.net.plates_of(name) if plate != self.chain.name]
            if beside:
                raise GraphError(f"node {name!r} is not observed and in the plate {beside[0]!r} beside the chain {self.chain.name!r}")
        for name, variable in self.net.variables.items():
            concerned = name in self.observed or name in hidden or variable.is_deterministic
            for declared in (variable, *variable.starts) if concerned and not variable.is_given else ():
                above = [parent for parent in declared.all_parents if self._moves(parent, hidden)]
                reason = nonlinearity(declared, above) if above else None
                if reason is not None:
                    raise GraphError(f"node {name!r} depends on {', '.join(above)}, which {'is' if len(above) == 1 else 'are'} not observed, and {reason}")
                if above and len(variable.shape) > 1:
                    raise GraphError(f"node {name!r} ~ {variable.summary} depends on hidden nodes and has {len(variable.shape)} event dimensions; at most one is integrated along a chain")
                if above and name not in self.chain.nodes and any(node_of(parent) in self.chain.nodes for parent in above):
                    raise GraphError(f"node {name!r} is outside the chain {self.chain.name!r} and depends on all steps of {above[0]!r}, which is not observed")

    def _moves(self, parent: str, hidden: Collection[str]) -> bool:
        node = node_of(parent)
        return node in hidden or self.net[node].is_deterministic and bool(set(self.net.ancestors(node)) & set(hidden))

    def _window(self) -> int:
        most = 1
        for name, variable in self.net.variables.items():
            for parent in variable.lags:
                if self.net[parent.node].is_deterministic and self._moves(parent, self.numbers):
                    raise GraphError(f"node {name!r} reads {parent}, a function of hidden nodes some steps back; read the hidden nodes themselves")
                if parent.node in self.numbers and parent.steps < 0:
                    raise GraphError(f"node {name!r}: its parent {parent} is hidden and ahead; only steps back are integrated along a chain")
                if parent.node in self.names:
                    most = max(most, parent.steps + (name not in self.names))
        return most

    # ---- the system

    @cached_property
    def _readers(self) -> tuple[str, ...]:
        """The observed nodes whose location moves with something hidden."""
        return tuple(name for name in self.net.order if name in self.observed and name in self.model.conditionals and not self.net[name].is_deterministic
                     and any(self._moves(parent, self.numbers) for one in (self.net[name], *self.net[name].starts) for parent in one.all_parents))

    def system(self, observed: Observed) -> System:
        """The matrices of all steps."""
        like, steps = self.model.anchor, observed.steps
        lines = {name: self._lines.of(name, observed) for name in self.names}
        start_mean, start_covariance = self._stacked(lines, observed, 0)
        moves, offsets, noises = [], [], []
        same = self._settled(lines, steps)
        for step in range(1, steps):
            if same is not None and step > same + 1:
                break
            move, offset, noise = self._moved(lines, step)
            moves.append(move)
            offsets.append(offset)
            noises.append(noise)
        reads, constant, error, seen, gone = self._read(observed)
        if same is not None and len(moves) > 1:                             # steps after the first ones are alike
            repeat = steps - 1 - len(moves)
            moves, offsets, noises = (each + each[-1:] * repeat for each in (moves, offsets, noises))
        if not moves:
            moves, offsets, noises = [like.new_zeros(1, self.size, self.size)], [like.new_zeros(1, self.size)], [like.new_zeros(1, self.size, self.size)]
        return System(start_mean, start_covariance, stacked(moves), stacked(offsets), stacked(noises), reads, constant, error, seen, gone)

    def _settled(self, lines: Mapping[str, list[tuple[int, int, Line]]], steps: int) -> int | None:
        """The first step from which on all are alike; None where they differ throughout."""
        latest = 0
        for runs in lines.values():
            start, _, line = runs[-1]
            if len(line.constant) > 1 or len(line.covariance) > 1 or any(len(part) > 1 for part in line.parts.values()):
                return None
            latest = max(latest, start)
        return latest

    def _line_at(self, runs: list[tuple[int, int, Line]], step: int) -> Line:
        start, _, line = next(run for run in runs if run[0] <= step < run[1])
        pick = lambda value: value[step - start if len(value) > 1 else 0]
        return Line(pick(line.constant), {place: pick(part) for place, part in line.parts.items()}, pick(line.covariance))

    def _compose(self, lines: Mapping[str, list[tuple[int, int, Line]]], step: int, state: Mapping[Place, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The hidden nodes of a step as `constant + matrix . state before + spread . noise`; also the noise's covariance: node by node, parents first."""
        rows: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        like, blocks = self.model.anchor, []
        for name in self.names:
            line, place = self._line_at(lines[name], step), self.places[name, 0]
            constant = line.constant
            matrix, spread = like.new_zeros(1, self.numbers[name], self.size), like.new_zeros(1, self.numbers[name], self.width)
            spread[..., place] = torch.eye(self.numbers[name], dtype=like.dtype, device=like.device)
            for (parent, back), part in line.parts.items():
                if back == 0 and parent in rows:
                    c, m, s = rows[parent]
                    constant, matrix, spread = constant + (part @ c.unsqueeze(-1)).squeeze(-1), matrix + part @ m, spread + part @ s
                else:                                                       # in the state before: one step nearer there
                    column = state[parent, back]
                    matrix = matrix + part @ column
            rows[name] = constant, matrix, spread
            blocks.append(line.covariance)
        batch = max(each.shape[0] for triple in rows.values() for each in triple)
        constant, matrix, spread = (torch.cat([triple[i].expand(batch, *triple[i].shape[1:]) for triple in rows.values()], 1) for i in range(3))
        return constant, matrix, spread @ block_diagonal(blocks) @ spread.mT

    def _selectors(self, shift: int) -> dict[Place, Tensor]:
        """For each place that a line may read, the rows that pick it from the state `shift` steps before."""
        found = {}
        identity = torch.eye(self.size, dtype=self.model.anchor.dtype, device=self.model.anchor.device).unsqueeze(0)
        for (name, back), place in self.places.items():
            found[name, back if name in self.outside else back + shift] = identity[:, place]
        return found

    def _moved(self, lines: Mapping[str, list[tuple[int, int, Line]]], step: int) -> tuple[Tensor, Tensor, Tensor]:
        constant, matrix, covariance = self._compose(lines, step, self._selectors(1))
        like, rows = self.model.anchor, len(constant)
        below = self.size - self.width                                      # older steps move along, what is outside stays
        kept = like.new_zeros(1, below, self.size)
        shifted = (self.window - 1) * self.width
        kept[0, :shifted, :shifted] = torch.eye(shifted, dtype=like.dtype, device=like.device)
        kept[0, shifted:, self.window * self.width:] = torch.eye(below - shifted, dtype=like.dtype, device=like.device)
        move = torch.cat([matrix, kept.expand(rows, -1, -1)], 1)
        offset = torch.cat([constant, like.new_zeros(rows, below)], 1)
        return move, offset, padded(covariance, self.size)

    def _stacked(self, lines: Mapping[str, list[tuple[int, int, Line]]], observed: Observed, step: int) -> tuple[Tensor, Tensor]:
        """Moments of the first state: what is outside first, then the nodes of the first step; steps before it are certain and zero."""
        mean, covariance = self.model.anchor.new_zeros(1, self.size), self.model.anchor.new_zeros(1, self.size, self.size)
        for name in self.outside:
            line = self._lines.outside(name, observed)
            row = self.model.anchor.new_zeros(1, self.numbers[name], self.size)
            for (parent, _), part in line.parts.items():
                row = row + part @ self._selectors(0)[parent, 0]
            mean, covariance = with_block(mean, covariance, self.places[name, 0], line.constant, row, line.covariance)
        if not self.names:
            return mean, covariance
        constant, matrix, noise = self._compose(lines, 0, {place: value for place, value in self._selectors(0).items() if place[0] in self.outside})
        return with_block(mean, covariance, slice(0, self.width), constant, matrix, noise)

    # ---- what is seen

    def _read(self, observed: Observed) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        like, steps, rows = self.model.anchor, observed.steps, observed.rows
        if not self._readers:
            return (like.new_zeros(1, 1, 1, self.size), like.new_zeros(1, 1, 1), like.new_ones(1, 1, 1, 1), like.new_zeros(steps, rows, 1),
                    torch.ones(steps, rows, 1, dtype=torch.bool, device=like.device))
        reads, constants, errors, seen, gone = [], [], [], [], []
        for name in self._readers:
            runs = self._whole(name, observed)
            part, constant, covariance = self._over(runs, observed)
            value = self._lines.by_step(name, observed.values[name].unsqueeze(0), observed)[0].expand(steps, rows, -1)
            numbers = value.shape[-1]
            hole = torch.zeros_like(value, dtype=torch.bool)
            if name in observed.holes:
                hole = self._lines.by_step(name, observed.holes[name].unsqueeze(0), observed)[0].expand(steps, rows, numbers)
            reads.append(part)
            constants.append(constant)
            errors.append(covariance)
            seen.append(value)
            gone.append(hole)
        missing = torch.cat(gone, -1)
        lengths = observed.values.get(self.chain.name)
        if lengths is not None:
            missing = missing | (torch.arange(steps, device=like.device).reshape(-1, 1, 1) >= lengths.reshape(1, -1, 1))
        return concatenated(reads, 2), concatenated(constants, 2), block_diagonal(errors), torch.cat(seen, -1), missing if lengths is not None or observed.holes else None

    def _whole(self, name: str, observed: Observed) -> list[tuple[int, int, Line]]:
        conditional = self.model.conditionals[name]
        if isinstance(conditional, Chained):
            return self._lines.of(name, observed)
        raise GraphError(f"node {name!r} is outside the chain {self.chain.name!r} and depends on {', '.join(self.outside)}, which is integrated along it; put it into the chain or observe these")

    def _over(self, runs: list[tuple[int, int, Line]], observed: Observed) -> tuple[Tensor, Tensor, Tensor]:
        """C `(steps or 1, rows or 1, numbers, state)`, d and R of a node at all steps."""
        select = self._selectors(0)
        parts = []
        for start, stop, line in runs:
            matrix = self.model.anchor.new_zeros(1, 1, line.constant.shape[-1], self.size)
            for place, part in line.parts.items():
                matrix = matrix + part @ select[place]
            parts.append((stop - start, matrix, line.constant, line.covariance))
        if len(parts) == 1:
            return parts[0][1:]
        return tuple(concatenated([each[i].expand(each[0], *each[i].shape[1:]) for each in parts], 0) for i in (1, 2, 3))

    # ---- answers

    def _beside(self, observed: Observed) -> Tensor:
        """log p of the observed nodes that nothing hidden moves, `(rows)`."""
        total = self.model.anchor.new_zeros(observed.rows)
        for name in self.net.order:
            if name not in self.observed or name not in self.model.conditionals or self.net[name].is_deterministic or name in self._readers:
                continue
            conditional, value = self.model.conditionals[name], observed.values[name]
            parents = [port.receive(observed.values[node_of(port.name)]) for port in conditional.ports]
            prepared = conditional.prepare(*parents, steps=observed.steps) if isinstance(conditional, Chained) else conditional.prepare(*parents)
            joint = len(self.net[name].shape) - conditional.elements
            found = conditional.surprisals(value, prepared).expand(value.shape[: value.ndim - joint])
            if name in observed.holes:
                hole = observed.holes[name]
                found = torch.where(hole.flatten(hole.ndim - joint).any(-1) if joint else hole, 0.0, found)
            lengths = observed.values.get(self.chain.name)
            if lengths is not None and isinstance(conditional, Chained):
                real = torch.arange(observed.steps, device=value.device).reshape(-1, *(1,) * (-self.axis - 1)) < lengths
                found = torch.where(real.reshape(*real.shape, *(1,) * conditional.elements), found, 0.0)
            total = total - found.reshape(observed.rows, -1).sum(1)
        return total

    def log_evidence(self, observed: Observed) -> Tensor:
        """log p(evidence) `(rows)`, in double precision; differentiable."""
        return filtered(self.system(observed)).log_evidence + self._beside(observed).double()

    def answer(self, observed: Observed) -> GaussianAnswer:
        """Filtered and smoothed moments of the states."""
        system = self.system(observed)
        forward = filtered(system)
        smooth = smoothed_moments(system, forward)
        return GaussianAnswer(forward.log_evidence + self._beside(observed).double(), self._held(forward, observed), tuple(self._repeating(each, observed) for each in smooth))

    def _held(self, forward: Filtered, observed: Observed) -> tuple[Tensor, Tensor]:
        return self._repeating(forward.means, observed), self._repeating(forward.covariances, observed)

    def _repeating(self, value: Tensor, observed: Observed) -> Tensor:
        """Steps behind the end of a sequence repeat its last one, `(steps, rows, ...)`."""
        value = value.expand(len(value), observed.rows, *value.shape[2:])
        lengths = observed.values.get(self.chain.name)
        if lengths is None:
            return value
        last = torch.minimum(torch.arange(len(value), device=value.device).reshape(-1, 1), lengths.reshape(1, -1) - 1)
        return value[last, torch.arange(observed.rows, device=value.device)]

    def draw(self, observed: Observed, samples: int) -> dict[str, Tensor]:
        """Draws of the hidden nodes, `(samples, rows, steps, numbers)`, without steps for those outside the chain."""
        drawn = drawn_states(self.system(observed), samples).transpose(0, 1)
        drawn = torch.stack([self._repeating(each, observed) for each in drawn.unbind(1)], 1).permute(1, 2, 0, 3)     # (samples, rows, steps, n)
        return {name: drawn[..., self.places[name, 0]] if name in self.names else drawn[:, :, 0, self.places[name, 0]] for name in (*self.outside, *self.names)}
