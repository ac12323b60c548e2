"""`fit` on data that are not simply rows: one world with plates of several sizes, inputs that all rows share; and where it ends."""

import pandas
import torch

import dgm_ppl as dgm


def test_one_world_with_plates_of_several_sizes():
    net = dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=5.0), y=dgm.Normal(loc="mu", scale=1.0), w=dgm.Normal(loc="mu", scale=1.0), plates={"a": ["y"], "b": ["w"]},
    )
    guide_net = dgm.BayesNet(y=dgm.Given(), w=dgm.Given(), mu=dgm.Normal(), plates={"a": ["y"], "b": ["w"]})
    guide, y, w = dgm.compile(guide_net), torch.tensor([2.0, 3, 4]), torch.tensor([1.0, 2, 3, 4, 5])
    run = dgm.fit(dgm.ELBO(dgm.compile(net), guide, particles=8), {"y": y, "w": w}, steps=800, optimizer=dgm.Adam(lr=0.03), seed=0)
    precision = 8 + 1 / 25
    posterior = guide.conditional("mu")()
    assert abs(posterior.mean - (y.sum() + w.sum()) / precision) < 0.1
    assert abs(posterior.stddev - precision**-0.5) < 0.05
    assert run.stopped == "steps"


def test_a_minibatch_never_cuts_a_plate():
    net = dgm.BayesNet(y=dgm.Normal(scale=1.0), plates={"member": ["y"]})
    seen = []
    dgm.fit(dgm.MaximumLikelihood(dgm.compile(net)), {"y": torch.arange(10.0)}, steps=3, batch_size=4, callbacks=lambda moment: seen.append(float(moment.losses[0])))
    assert min(seen) > 10 * 0.9                                             # the loss of all ten members, not of four


def test_an_input_without_rows_is_the_same_in_every_minibatch():
    net = dgm.BayesNet(s=dgm.Given(2), y=dgm.Normal(2, loc="s"))
    model = dgm.compile(net)
    run = dgm.fit(dgm.MaximumLikelihood(model), {"s": torch.tensor([1.0, -1.0]), "y": torch.tensor([1.0, -1.0]) + torch.zeros(30, 2)}, steps=40, batch_size=7, optimizer=dgm.Adam(lr=0.1))
    assert run.history["loss"].iloc[-1] < -1                                # the scale shrinks around the input


def test_without_an_end_it_stops_when_the_loss_has_settled():
    torch.manual_seed(0)
    table = pandas.DataFrame({"rain": [1] * 30 + [0] * 70, "wet": [1] * 27 + [0] * 3 + [1] * 7 + [0] * 63})
    model = dgm.compile(dgm.BayesNet(rain=dgm.Bernoulli(), wet=dgm.Bernoulli().given("rain")), seed=0)
    run = dgm.fit(dgm.MaximumLikelihood(model), table, optimizer=dgm.Adam(lr=0.02))
    assert run.stopped == "convergence"
    torch.testing.assert_close(model.conditional("wet")(torch.tensor([0.0, 1.0])).mean, torch.tensor([0.1, 0.9]), atol=0.01, rtol=0)
