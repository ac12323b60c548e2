"""One loop trains every objective, as a loop written by hand would."""

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, ReduceLROnPlateau

import dgm_ppl.training as dgm

from .toys import VAE, Adversaries, Regression, binary_data, regression_data

torch.set_num_threads(1)


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_regression_comes_to_least_squares():
    data = regression_data()
    objective = Regression()
    run = dgm.fit(objective, data, steps=400, optimizer=dgm.Adam(lr=0.05))
    design = torch.cat([data["x"], torch.ones(64, 1)], 1)
    exact = torch.linalg.lstsq(design, data["y"][:, None]).solution.squeeze()
    torch.testing.assert_close(objective.model.weight.detach().squeeze(), exact[:3], atol=1e-3, rtol=0)
    assert run.stopped == "steps" and run.step == 400 and run.model is objective.model


def test_full_batches_equal_a_loop_by_hand():
    data, objective, by_hand = binary_data(), VAE(), VAE()
    dgm.fit(objective, data, steps=60, seed=5, optimizer=dgm.Adam(lr=1e-2))
    torch.manual_seed(5)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-2, fused=True)
    for _ in range(60):
        optimizer.zero_grad()
        by_hand.world_losses(data).mean().backward()
        optimizer.step()
    assert same(objective, by_hand)


def test_every_row_is_seen_once_an_epoch_in_a_new_order():
    seen = []

    class Spy(Regression):
        def world_losses(self, batch):
            seen.append(batch["y"].detach().clone())
            return super().world_losses(batch)

    data = regression_data(rows=10)
    run = dgm.fit(Spy(), data, epochs=2, batch_size=4, seed=0)
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert [len(batch) for batch in seen] == [3, 3, 4, 3, 3, 4] and run.step == 6 and run.epoch == 2
    assert torch.equal(first.sort().values, data["y"].sort().values) and torch.equal(second.sort().values, first.sort().values)
    assert not torch.equal(first, second)


def test_a_seed_reproduces_and_leaves_the_callers_generator():
    torch.manual_seed(1)
    before, first, second = torch.get_rng_state(), VAE(), VAE()
    dgm.fit(first, binary_data(), epochs=3, batch_size=16, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    dgm.fit(second, binary_data(), epochs=3, batch_size=16, seed=0)
    assert same(first, second)


def test_without_a_seed_the_global_generator_decides():
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(VAE())
        dgm.fit(runs[-1], binary_data(), epochs=2, batch_size=16)
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])


def test_two_players_with_optimizers_of_their_own():
    torch.manual_seed(0)
    data = {"x": torch.randn(256, 2) + torch.tensor([1.0, -1.0])}
    objective = Adversaries()
    optimizer = {"generator": dgm.SGD(lr=0.1), "critic": dgm.SGD(lr=0.2)}
    run = dgm.fit(objective, data, steps=400, batch_size=64, optimizer=optimizer, seed=0)
    torch.testing.assert_close(objective.generator.detach(), torch.tensor([1.0, -1.0]), atol=0.25, rtol=0)
    assert list(run.history.columns[2:4]) == ["loss generator", "loss critic"]


@pytest.mark.parametrize(
    "optimizer",
    [torch.optim.SGD, partial(torch.optim.Adam, lr=0.1), dgm.AdamW(lr=0.1), dgm.SGD(lr=0.1, momentum=0.5), torch.optim.LBFGS],
    ids=["class", "partial", "AdamW", "SGD", "LBFGS"],
)
def test_any_optimizer_lowers_the_loss(optimizer):
    history = dgm.fit(Regression(), regression_data(), steps=120, optimizer=optimizer).history
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_a_schedule_moves_every_step():
    run = dgm.fit(Regression(), regression_data(), steps=10, optimizer=dgm.SGD(lr=1.0), schedule=partial(ExponentialLR, gamma=0.5))
    assert run.history["learning_rate"].iloc[-1] == pytest.approx(0.5**10)


def test_a_plateau_schedule_waits_for_validations():
    rates = []
    dgm.fit(
        Regression(),
        regression_data(),
        validation=regression_data(8),
        steps=6,
        validate_every=2,
        optimizer=dgm.SGD(lr=1e-9),
        schedule=partial(ReduceLROnPlateau, patience=0, factor=0.1, threshold=1.0),
        callbacks=lambda moment: rates.append(moment.validation is not None),
    )
    assert rates == [False, True] * 3


def test_clip_bounds_the_update():
    objective = Regression()
    dgm.fit(objective, regression_data(), steps=1, optimizer=dgm.SGD(lr=1.0), clip=0.01)
    moved = torch.cat([parameter.detach().flatten() for parameter in objective.parameters()]).norm()
    torch.testing.assert_close(moved, torch.tensor(0.01))


def test_validation_is_the_mean_score_and_draws_the_same_noise_each_time():
    objective, valid = VAE(), binary_data(30, seed=7)
    run = dgm.fit(objective, binary_data(), validation=valid, epochs=2, batch_size=16, seed=0, optimizer=dgm.SGD(lr=1e-12))
    first, second = run.history["validation"]
    assert first == pytest.approx(second, abs=1e-5) and run.best.step == 4
    exact = dgm.fit(Regression(), regression_data(), validation=regression_data(9, seed=4), steps=1, optimizer=dgm.SGD(lr=0.0))
    data = regression_data(9, seed=4)
    torch.testing.assert_close(torch.tensor(exact.history["validation"][0]), Regression().world_losses(data).mean().detach().double())


def test_validation_does_not_change_the_training():
    first, second = VAE(), VAE()
    dgm.fit(first, binary_data(), epochs=2, batch_size=16, seed=0)
    dgm.fit(second, binary_data(), validation=binary_data(20), epochs=2, batch_size=16, seed=0, validate_every=1)
    assert same(first, second)


def test_early_stopping_loads_the_best():
    train, valid = regression_data(8), {"x": torch.zeros(4, 3), "y": torch.full((4,), 0.3)}
    states = {}

    def remember(moment):
        states[moment.step] = {name: value.clone() for name, value in moment.objective.state_dict().items()}

    objective = Regression()
    run = dgm.fit(
        objective, train, validation=valid, epochs=500, optimizer=dgm.Adam(lr=0.1), stopping=dgm.EarlyStopping(patience=3), callbacks=remember
    )
    assert run.stopped == "early stopping" and run.step == run.best.step + 3
    assert run.best.value == run.history["validation"].min()
    assert all(torch.equal(objective.state_dict()[name], states[run.best.step][name]) for name in states[1])


def test_stopping_without_patience_keeps_the_best():
    stopping = dgm.EarlyStopping(patience=None)
    run = dgm.fit(Regression(), regression_data(8), validation=regression_data(8, seed=3), epochs=30, stopping=stopping)
    assert run.stopped == "epochs" and run.best.value == run.history["validation"].min()


def test_a_transform_draws_each_minibatch_anew():
    gray, seen = {"x": torch.full((40, 8), 0.5)}, []

    class Spy(VAE):
        def world_losses(self, batch):
            seen.append(batch["x"].detach().clone())
            return super().world_losses(batch)

    options = {"epochs": 2, "batch_size": 40, "seed": 0, "transform": lambda batch: {"x": torch.bernoulli(batch["x"])}}
    first, second = Spy(), VAE()
    dgm.fit(first, gray, **options)
    assert not torch.equal(seen[0], seen[1]) and all(set(batch.unique().tolist()) == {0.0, 1.0} for batch in seen)
    dgm.fit(second, gray, **options)
    assert same(first, second) and torch.equal(gray["x"], torch.full((40, 8), 0.5))


def test_a_transform_of_one_column_leaves_the_others():
    data = regression_data(20)
    objective = Regression()
    options = {"steps": 3, "batch_size": 8, "seed": 0}
    dgm.fit(objective, data, validation=data, transform=lambda batch: {"x": batch["x"] + 0.0 * torch.rand(1)}, **options)
    plain = Regression()
    dgm.fit(plain, data, **options)
    torch.testing.assert_close(objective.model.weight, plain.model.weight)


def test_begin_step_is_told_the_number_and_modes_are_put_back():
    told = []

    class Spy(VAE):
        def begin_step(self, step):
            told.append((step, self.training, self.guide.training))

    objective = Spy().eval()
    dgm.fit(objective, binary_data(), validation=binary_data(5), steps=3)
    assert told == [(0, True, True), (1, True, True), (2, True, True)] and not objective.guide.training


def test_callbacks_see_every_step():
    moments = []
    run = dgm.fit(Regression(), regression_data(10), epochs=2, batch_size=5, callbacks=[moments.append])
    assert [(moment.step, moment.epoch) for moment in moments] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert all(moment.losses[0].ndim == 0 and moment.objective is run.objective for moment in moments)


def test_double_precision_casts_parameters_and_data():
    objective = Regression()
    dgm.fit(objective, regression_data(), steps=2, precision=torch.float64)
    assert objective.model.weight.dtype == torch.float64


def test_bfloat16_computes_under_autocast():
    seen = []

    class Spy(Regression):
        def world_losses(self, batch):
            seen.append(self.model(batch["x"]).dtype)
            return super().world_losses(batch)

    objective = Spy()
    dgm.fit(objective, regression_data(), validation=regression_data(), steps=2, precision=torch.bfloat16)
    assert set(seen) == {torch.bfloat16} and objective.model.weight.dtype == torch.float32


def test_compile_takes_a_function_of_the_loss():
    compiled = []

    def compile(loss):
        compiled.append(loss)
        return torch.compile(loss, backend="eager")

    first, second = Regression(), Regression()
    dgm.fit(first, regression_data(), steps=5, compile=compile)
    dgm.fit(second, regression_data(), steps=5)
    assert len(compiled) == 1
    torch.testing.assert_close(first.model.weight, second.model.weight)


def test_lambdas_are_schedules_too():
    options = {"optimizer": dgm.SGD(lr=1.0), "schedule": lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (step + 1))}
    run = dgm.fit(Regression(), regression_data(), steps=3, **options)
    assert run.history["learning_rate"].iloc[-1] == pytest.approx(0.25)


def test_a_step_reads_nothing_and_costs_few_operators():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(function.name())
            return function(*args, **(kwargs or {}))

    def operators(steps):
        with Count() as count:
            dgm.fit(Regression(), regression_data(), steps=steps, batch_size=8, seed=0)
        return count.names

    few, many = operators(21), operators(31)  # no reading between
    by_hand = Count()
    objective, data, order = Regression(), regression_data(), torch.arange(64)
    optimizer = dgm.Adam()(objective.parameters())
    optimizer.zero_grad()
    with by_hand:
        chosen = order[:8]
        objective.forward({name: column.index_select(0, chosen) for name, column in data.items()}).backward()
        optimizer.step()
    assert many.count("aten::_local_scalar_dense") == few.count("aten::_local_scalar_dense")
    assert (len(many) - len(few)) / 10 <= len(by_hand.names) + 4
