"""Training steps on a pretended accelerator, as a script: prints what each net did wrong there, as JSON."""

from __future__ import annotations

import json

import torch
from fakegpu import FakeGPU, register
from objectives.steps import STEPS

import dgm_ppl as dgm


def with_function(fn):
    net = dgm.BayesNet(z=dgm.Normal(6), x=dgm.Normal(6, scale=1.0).given("z", fn=fn))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)))), {"x": torch.ones(5, 6)}


def copying():
    """A user's function that makes a tensor on the CPU and asks for a number: both must be found."""
    return with_function(lambda z: z * float(z.mean()) + torch.zeros(6).to(z.device))


def mixing():
    """A user's function that mixes devices: must raise, as on a real one."""
    return with_function(lambda z: z + torch.zeros(6))


def step(build) -> dict:
    objective, data = build()
    batch = objective.prepare(data)
    with FakeGPU() as gpu:
        gpu.move(objective)
        there = {name: torch.empty(value.shape, dtype=value.dtype, device="fakegpu") for name, value in batch.items()}
        optimizers = {player: dgm.Adam(lr=1e-3)(list(player.parameters)) for player in objective.players}
        for number in range(2):                     # the optimizer makes its state in the first
            gpu.cpu_made.clear()
            gpu.syncs.clear()
            objective.begin_step(number)
            for player, optimizer in optimizers.items():
                optimizer.zero_grad()
                loss = player.loss(there)
                loss.backward()
                optimizer.step()
        objective.score(there)
        return {"loss": loss.device.type, "made on the CPU": gpu.cpu_made, "waits": gpu.syncs}


def attempt(build) -> dict:
    try:
        return step(build)
    except RuntimeError as error:
        return {"raised": str(error)}


if __name__ == "__main__":
    register()
    print(json.dumps({build.__name__: attempt(build) for build in (*STEPS.values(), copying, mixing)}))
