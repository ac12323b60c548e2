"""The same steps for one row at a time, on numpy arrays that were laid out before: what one row costs is calls, not arithmetic.

Every value has its place in one array, every step its views of it, so that running a step is one call that writes where it should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from threading import Lock
from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor

from .tape import Arrange, Contract, Multiply, Rescale, Slot, Step, Sum

if TYPE_CHECKING:
    from .factors import Evidence
    from .program import Program

__all__ = ["FEW", "Single"]

FEW = 8                                                 # so many rows are faster one by one
ROOM = 1_000_000                                        # numbers of all values together; above, a call's arithmetic is more than its cost
Call = tuple[Callable, tuple]


class Single:
    """A program laid out for single rows of finite evidence."""

    @staticmethod
    def fits(program: Program) -> bool:
        """Whether the program is small enough, and all that rows change are entries of tables and likelihoods."""
        plan = program.plan
        room = sum(plan.tape.size(slot.scope) for slot in plan.tape.slots)
        return room <= ROOM and all(leaf.kind in ("table", "slice", "soft") for leaf in plan.leaves)

    def __init__(self, program: Program):
        self.program, self.lock, self.ready = program, Lock(), False
        self.kind = numpy.dtype(str(program.factors.model.anchor.dtype).removeprefix("torch."))
        self._scales = {step: position for position, step in enumerate(step for step in program.plan.tape.steps if isinstance(step, Rescale))}
        self._lay_out()
        self.static, self.batched = ([call for step in steps for call in self._calls(step)] for steps in (program.static, program.batched))
        self._index_answers()

    def answer(self, evidence: Evidence) -> tuple[Tensor, ...]:
        """log p(evidence), then the normalised answer to each query with the rows first."""
        with self.lock:
            if not (self.ready and self.program.fixed):
                self._fill(evidence)
            values = {name: value.reshape(-1).long().tolist() for name, value in evidence.values.items()}
            hazy = [self.program.factors.likelihood(name, evidence) for name in evidence.soft]
            soft = {name: weights.detach().numpy() for name, (weights, _) in zip(evidence.soft, hazy)}
            rows = [self._row(row, values, soft) for row in range(evidence.rows)]
        logs = torch.tensor([log for log, _ in rows], dtype=torch.float64)
        for _, scale in hazy:
            logs = logs if scale is None else logs + scale.double()
        if not self._sizes:
            return (logs,)
        found = torch.from_numpy(rows[0][1][None] if len(rows) == 1 else numpy.stack([answer for _, answer in rows]))
        return logs, *(part if len(shape) == 1 else part.unflatten(1, shape) for part, shape in zip(found.split(self._sizes, 1), self.program.shapes))

    # ---- one row

    def _row(self, row: int, values: Mapping[str, list[int]], soft: Mapping[str, numpy.ndarray]) -> tuple[float, numpy.ndarray | None]:
        for place, table, names in self._slices:
            code = 0
            for name, stride in names:
                code += values[name][row] * stride
            place[...] = table[code]
        for name, place, hidden in self._soft:
            place[...] = soft[name][row] if hidden else soft[name][row, values[name][row]]
        for function, arguments in self.batched:
            function(*arguments)
        factors = self.arena[self._logged].astype(numpy.float64)
        possible = bool(factors.all())
        log = float(numpy.log(factors).sum()) if possible else -numpy.inf
        if not self._sizes:
            return log, None
        found = self.arena[self._answers]
        if not possible:
            return log, numpy.zeros_like(found)
        found /= numpy.add.reduceat(found, self._starts)[self._owner]
        return log, found

    def _fill(self, evidence: Evidence) -> None:
        """Tables, and what is the same for every row."""
        factors = self.program.factors
        self._slices, self._soft = [], []
        with torch.no_grad():
            for leaf, slot in zip(self.program.plan.leaves, self.program.plan.inputs):
                if leaf.kind == "table":
                    self._view(slot)[...] = factors.value(leaf, evidence)[0].squeeze(-1).numpy()
                elif leaf.kind == "slice":
                    flat, names = factors.flat(leaf)
                    table = numpy.ascontiguousarray(flat.T.numpy()).reshape(-1, *map(self.program.plan.cards.get, leaf.scope))
                    self._slices.append((self._view(slot), table, names))
                else:
                    self._soft.append((leaf.node, self._view(slot), bool(leaf.scope)))
        for function, arguments in self.static:
            function(*arguments)
        self.ready = True

    # ---- layout

    def _lay_out(self) -> None:
        """A place for every value, every matrix and every scale."""
        plan = self.program.plan
        self._shapes = {slot.index: tuple(plan.cards[name] for name in slot.scope) for slot in plan.tape.slots}
        self._shapes.update({step.out.index: step.shape for step in plan.tape.steps if isinstance(step, Arrange)})
        self._starts_at, end = {}, 0
        for index, shape in self._shapes.items():
            self._starts_at[index] = end
            end += prod(shape)
        self._scales_at = end
        self.arena = numpy.ones(end + len(self._scales), self.kind)

    def _view(self, slot: Slot) -> numpy.ndarray:
        start, shape = self._starts_at[slot.index], self._shapes[slot.index]
        return self.arena[start:start + prod(shape)].reshape(shape)

    def _index_answers(self) -> None:
        program, plan = self.program, self.program.plan
        recorded = [self._scales_at + position for step, position in self._scales.items() if step.recorded]
        self._logged = numpy.array([*(self._starts_at[slot.index] for slot in plan.roots), *recorded], dtype=numpy.int64)
        places = [
            numpy.arange(self._starts_at[slot.index], self._starts_at[slot.index] + plan.tape.size(slot.scope)).reshape(self._shapes[slot.index]).transpose(order[:-1]).ravel()
            for slot, order in zip(program.slots, program.orders)
        ]
        self._sizes = [len(place) for place in places]
        self._answers = numpy.concatenate(places) if places else None
        self._starts = numpy.cumsum([0, *self._sizes[:-1]])
        self._owner = numpy.repeat(numpy.arange(len(places)), self._sizes)

    # ---- steps as calls

    def _calls(self, step: Step) -> list[Call]:
        out, reads = self._view(step.out), [self._view(slot) for slot in step.reads]
        if isinstance(step, Multiply):
            views = [value.transpose(order[:-1]).reshape(shape[:-1]) for value, (order, shape) in zip(reads, step.views)]
            return [(numpy.multiply, (*views, out))]
        if isinstance(step, Sum):
            return [(numpy.add.reduce, (reads[0], step.axes, None, out))]
        if isinstance(step, Rescale):
            place = self.arena[self._scales_at + self._scales[step]:][:1]
            return [(_rescale, (reads[0].reshape(-1), out.reshape(-1), place))]
        if isinstance(step, Arrange):
            moved = reads[0].transpose(step.order[:-1])
            return [(numpy.copyto, (out.reshape(moved.shape), moved))]
        return self._product(step, out, *reads)

    def _product(self, step: Contract, out: numpy.ndarray, static: numpy.ndarray, batched: numpy.ndarray) -> list[Call]:
        """A stack of matrices `(a, n, r)` with `(a, r, kept)`."""
        calls, moved = [], batched.transpose(step.order[:-1])
        shape = (*step.shape[:2], moved.size // prod(step.shape[:2]))
        operand = moved.reshape(shape)
        if not numpy.shares_memory(operand, batched):                       # axes that no view can bring together
            operand = numpy.empty(shape, self.kind)
            calls.append((numpy.copyto, (operand.reshape(moved.shape), moved)))
        result = out.reshape(shape[0], static.shape[1], shape[2])
        if step.outer:
            return [*calls, (numpy.multiply, (static, operand, result))]
        if shape[0] == 1:
            return [*calls, (static[0].dot, (operand[0], result[0]))]
        return [*calls, (numpy.matmul, (static, operand, result))]


def _rescale(value: numpy.ndarray, out: numpy.ndarray, scale: numpy.ndarray) -> None:
    """The value over its largest entry, which is kept."""
    largest = numpy.maximum.reduce(value)
    scale[0] = largest
    numpy.divide(value, largest or 1.0, out)
