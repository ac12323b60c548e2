"""Dilated causal convolutions over a long sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import Shape, Shapes
from .causal import CausalNet, Event, Stepper
from .checks import positive
from .sequences import Line, added, line_fits

__all__ = ["WaveNet"]


@dataclass(frozen=True, init=False, repr=False)
class WaveNet(CausalNet):
    """Gated convolutions that see ever further back, 1, 2, 4, ... steps, with skips to the output (van den Oord et al., 2016, https://arxiv.org/abs/1609.03499).

    Args:
        channels: width of the residual stream and of the gates.
        skip: width of what every layer adds to the output.
        layers: in one cycle of dilations 1, 2, 4, ..., 2^(layers - 1).
        cycles: of dilations.
        kernel: taps of each convolution.
        grouped: the first event dimension is time, and the elements of one step are independent given the steps before.

    Example:
        >>> WaveNet(16, layers=10, cycles=2).receptive_field
        2047
    """

    over_time = True

    channels: int
    skip: int
    layers: int
    cycles: int
    kernel: int
    grouped: bool

    def __init__(self, channels: int, *, skip: int = 64, layers: int = 10, cycles: int = 2, kernel: int = 2, grouped: bool = False) -> None:
        sizes = {"channels": channels, "skip": skip, "layers": layers, "cycles": cycles, "kernel": kernel}
        self._freeze(**{name: positive("WaveNet", name, value) for name, value in sizes.items()}, grouped=bool(grouped))

    @property
    def dilations(self) -> tuple[int, ...]:
        """The steps between the taps of each layer."""
        return tuple(2**layer for _ in range(self.cycles) for layer in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """The number of steps before it that a step sees."""
        return 1 + (self.kernel - 1) * sum(self.dilations)

    def check(self, event: Event) -> None:
        line_fits(self, event, self.grouped, any_order=False)

    def context_shape(self, event: Event) -> Shape:
        return (self.channels,)

    def causal(self, event: Event, parents: Shapes) -> DilatedLine:
        self.check(event)
        return DilatedLine(event, parents, self)


class DilatedLine(Line):
    """The module of `WaveNet`; weights of a layer are `(taps * channels, ...)`, the oldest tap first."""

    def __init__(self, event: Event, parents: Shapes, net: WaveNet):
        super().__init__(event, parents, net.channels, grouped=net.grouped)
        self.kernel, self.dilations, self.reach = net.kernel, net.dilations, net.receptive_field
        self.gates = nn.ModuleList(nn.Conv1d(net.channels, 2 * net.channels, net.kernel, dilation=dilation) for dilation in net.dilations)
        self.mixes = nn.ModuleList(nn.Conv1d(net.channels, net.channels + net.skip, 1) for _ in net.dilations)
        self.conditions = nn.ModuleList(nn.Linear(net.channels, 2 * net.channels, bias=False) for _ in net.dilations) if parents else None
        self.last = nn.Linear(net.skip, net.skip)
        self.output = nn.Linear(net.skip, self.group * event.outputs)
        with torch.no_grad():                                               # a layer that adds nothing at first
            self.mixes[-1].weight[: net.channels].zero_()

    def adjacency(self, order: int = 0) -> Tensor:
        step = torch.arange(self.event.size) // self.group
        back = step[:, None] - step
        return (back > 0) & (back <= self.reach)

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        stream = added(self.shifted(values), context).transpose(1, 2)       # (n, channels, steps)
        total = None
        for layer, (gate, mix) in enumerate(zip(self.gates, self.mixes)):
            found = gate(functional.pad(stream, ((self.kernel - 1) * self.dilations[layer], 0)))
            if context:
                found = found + self.conditions[layer](context[0])[:, :, None]
            rise, open_ = found.chunk(2, 1)
            change, skip = mix(rise.tanh() * open_.sigmoid()).split([self.width, mix.out_channels - self.width], 1)
            stream = stream + change
            total = skip if total is None else total + skip
        return self.outputs(self.last(total.transpose(1, 2).relu()).relu())

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> DilatedStepper:
        return DilatedStepper(self, context, rows)


class DilatedStepper(Stepper):
    """Each layer keeps as many of its inputs as its oldest tap reaches back, in a ring (Le Paine et al., 2016, https://arxiv.org/abs/1611.09482)."""

    def __init__(self, network: DilatedLine, context: Sequence[Tensor], rows: int):
        self.network, self.held, self.rows = network, tuple(context), rows
        width, self.split = network.width, [network.width, network.mixes[0].out_channels - network.width]
        self.gates = [gate.weight.permute(2, 1, 0).flatten(0, 1).contiguous() for gate in network.gates]
        self.mixes = [mix.weight[:, :, 0].T.contiguous() for mix in network.mixes]
        self.biases = [gate.bias.expand(rows, -1) for gate in network.gates]
        if context:
            self.biases = [bias + condition(context[0]) for bias, condition in zip(self.biases, network.conditions)]
        reaches = [(network.kernel - 1) * dilation for dilation in network.dilations]
        self.rings = [network.start.new_zeros(reach, rows, width) for reach in reaches]

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        network = self.network
        stream = added(network.inputs(turn, previous, self.rows), self.held)
        total = None
        for ring, bias, gate, mix, linear, dilation in zip(self.rings, self.biases, self.gates, self.mixes, network.mixes, network.dilations):
            if len(ring):
                taps = [ring[(turn + tap * dilation) % len(ring)] for tap in range(network.kernel - 1)]
                found = torch.addmm(bias, torch.cat([*taps, stream], 1), gate)
                ring[turn % len(ring)] = stream
            else:
                found = torch.addmm(bias, stream, gate)
            rise, open_ = found.chunk(2, 1)
            change, skip = torch.addmm(linear.bias, rise.tanh() * open_.sigmoid(), mix).split(self.split, 1)
            stream = stream + change
            total = skip if total is None else total + skip
        return network.outputs_at(network.last(total.relu()).relu())

    def take(self, rows: Tensor) -> None:
        self.rings, self.biases = [ring[:, rows] for ring in self.rings], [bias[rows] for bias in self.biases]
        self.held, self.rows = tuple(part[rows] for part in self.held), len(rows)
