"""A pretended accelerator: finds tensors on the wrong device and waits for the device, without a GPU (torch 2.13, CPU build).

    with FakeGPU() as gpu:
        gpu.move(module)                              # parameters and buffers only: other tensors stay on the CPU on purpose
        loss = module({"x": torch.ones(32, 64, device="fakegpu")})
        loss.backward()
    gpu.cpu_made, gpu.syncs

An operation on a fakegpu tensor and a CPU tensor with dimensions raises, as CUDA would; CPU tensors without dimensions are legal, as there.
`cpu_made` lists operations that made a CPU tensor with dimensions (a copy to the device would follow), `syncs` where `.item()` or `bool()` was
asked of the device. It registers a backend for the whole process: use it in a process of its own.
"""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

__all__ = ["FakeGPU", "register"]

aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
SHAPED_AS_FIRST = {aten._sample_dirichlet.default, aten._standard_gamma.default, aten.binomial.default, aten.poisson.default, aten._dirichlet_grad.default}


def register() -> None:
    """Makes `fakegpu` a device; once a process."""
    _setup_privateuseone_for_python_backend("fakegpu")


class FakeGPU(FakeTensorMode):
    """Shapes, types and devices without numbers; reading a number counts as a wait."""

    avoid_device_init = True                        # torch.tensor(..., device="fakegpu") must not materialise on the device

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=False)
        self.cpu_made: list[str] = []
        self.syncs: list[str] = []

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            return self._read(func, args[0])
        if func in SHAPED_AS_FIRST:
            return torch.empty_like(args[0])
        out = super().dispatch(func, types, args, kwargs or {})
        copied = func is aten.lift_fresh.default or "_to_copy" in str(func)
        if isinstance(out, FakeTensor) and out.device.type == "cpu" and out.dim() > 0 and not copied:
            self.cpu_made.append(f"{func} {tuple(out.shape)} at {_where()}")
        return out

    def _read(self, func: Any, value: torch.Tensor) -> Any:
        if value.device.type != "cpu":
            self.syncs.append(_where())
        if value.dtype == torch.bool or func is not aten._local_scalar_dense.default:
            return True
        return 1.0 if value.dtype.is_floating_point else 0

    def move(self, module: nn.Module) -> nn.Module:
        """Puts parameters and buffers on the device."""
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[name] = nn.Parameter(_made(parameter), requires_grad=parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = _made(buffer)
        return module


def _where() -> str:
    for frame in reversed(traceback.extract_stack(limit=40)):
        if "/torch/" not in frame.filename and not frame.filename.endswith("fakegpu.py"):
            return f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    return "?"


def _made(like: torch.Tensor) -> torch.Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device="fakegpu")
