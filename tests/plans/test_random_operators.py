"""Steps with random operators: native with the masks that eager gets for the check."""

import pytest
import torch
from agreement import assert_agree, trained
from test_native import pairs, task
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.utils.checkpoint import checkpoint

from flatout.data.load import load_data
from flatout.errors import PlanRefusedError
from flatout.plans.compiled import CompiledPlan
from flatout.plans.eager import EagerPlan
from flatout.plans.native import NativePlan
from flatout.racing.check import compare, first_steps


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def as_channels(x):
    return x.unsqueeze(1).expand(-1, 4, -1)


def attention(x):
    x = as_channels(x)
    return F.scaled_dot_product_attention(x, x, x, dropout_p=0.3).mean(1)


def reparameterised(x):
    return x + torch.exp(0.1 * x) * torch.randn_like(x)


BETWEEN = {
    "several": lambda: (nn.Dropout(0.3), nn.Linear(7, 7), nn.Tanh(), nn.Dropout(0.5), nn.AlphaDropout(0.2)),
    "features": lambda: (Apply(lambda x: F.dropout1d(as_channels(x), 0.4).mean(1)),
                         Apply(lambda x: F.dropout2d(as_channels(x)[..., None], 0.4)[..., 0].mean(1)),
                         nn.FeatureAlphaDropout(0.3)),
    "noise": lambda: (Apply(reparameterised), Apply(lambda x: x + 0.1 * torch.randn(7) + torch.rand(())),
                      Apply(lambda x: x * torch.rand_like(x))),
    "drawn labels": lambda: (Apply(lambda x: x * torch.bernoulli(torch.sigmoid(x).detach())),
                             Apply(lambda x: x * torch.randint(0, 5, (len(x), 1)))),
    "Gumbel": lambda: (Apply(F.gumbel_softmax),),
    "attention": lambda: (Apply(attention),),
    "in place": lambda: (Apply(lambda x: F.dropout(x.clone(), 0.5, inplace=True)),),
    "one nobody uses": lambda: (Apply(lambda x: (torch.rand(5), x)[1]), nn.Dropout(0.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN)
def test_the_step_agrees_with_eager_under_the_same_numbers(name):
    def make():
        torch.manual_seed(1)
        return task(*BETWEEN[name](), seed=5)

    assert_agree(make)


def test_adam_and_a_smaller_last_batch_and_float64_agree():
    X, y = pairs(25, torch.float64)
    assert_agree(
        lambda: task(nn.Dropout(0.4), optimizer=lambda p: Adam(p, 0.01, eps=1e-3), data=(X.float(), y))
    )

    def precise():
        made = task(nn.Dropout(0.4), Apply(lambda x: x + torch.randn_like(x)), data=(X, y))
        made.model.double()
        return made

    assert_agree(precise)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_slices_of_a_large_batch_have_the_masks_of_their_samples(threads, monkeypatch):
    monkeypatch.setenv("FLATOUT_THREADS", threads)

    def make():
        torch.manual_seed(1)
        X, y = pairs(2500)
        wide = (nn.Linear(7, 200), nn.Dropout(0.4), nn.Linear(200, 7))
        return task(*wide, Apply(reparameterised), data=(X, y), batch_size=1200)

    assert_agree(make, steps=5)


def losses(between, *, cut=(20,)):
    made = task(*between)
    data = load_data(made, torch.device("cpu"))
    loop = NativePlan().prepare(made, data)
    order = torch.cat([data.take(3) for _ in range(7)])[:20]
    return torch.cat([loop.advance(piece) for piece in order.split(list(cut))])


def test_the_seed_alone_decides_and_chunks_do_not_show():
    torch.manual_seed(1)
    one = losses((nn.Dropout(0.5),))
    torch.manual_seed(2)
    assert torch.equal(losses((nn.Dropout(0.5),), cut=(1, 6, 13)), one)
    made = task(nn.Dropout(0.5), shuffle=False, seed=0), task(nn.Dropout(0.5), shuffle=False, seed=1)
    first, second = (trained(NativePlan(), each)[0] for each in made)
    assert not torch.isclose(first, second).any()


def test_nothing_and_everything_dropped():
    plain = losses(())
    assert torch.equal(losses((nn.Dropout(0.0),)), plain)
    assert_agree(lambda: task(nn.Dropout(1.0)))
    made = task(nn.Dropout(1.0), nn.Linear(7, 7))
    before = made.model[0].weight.clone()
    trained(NativePlan(), made)
    assert torch.equal(made.model[0].weight, before)  # no gradient comes through


class Frozen(nn.Dropout):
    """Dropout without training, as in a fine-tuned model."""

    def train(self, mode=True):
        return super().train(False)


def test_dropout_in_eval_mode_draws_nothing():
    torch.manual_seed(0)
    assert torch.equal(losses((Frozen(0.5).eval(),)), losses(()))


class Reseeds(nn.Module):
    def forward(self, x):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return x * torch.rand(7)


REFUSED = {
    "of its own": (Apply(lambda x: x + torch.rand(7, generator=torch.Generator())), "generator of its own"),
    "reseeded": (Reseeds(), "seeds torch's generator"),
    "checkpointed": (
        Apply(lambda x: checkpoint(F.dropout, x, use_reentrant=False)),
        r"its backward draws random numbers .*checkpointing",
    ),
    "a permutation": (Apply(lambda x: x[:, torch.randperm(7)]), r"aten\.randperm\S* in 1 .*does not know"),
}


@pytest.mark.parametrize(("layer", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_again_is_refused(layer, said):
    made = task(layer)
    with pytest.raises(PlanRefusedError, match=said):
        NativePlan().prepare(made, load_data(made, torch.device("cpu")))


GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")]


def make_compiled():
    X, y = pairs(9)
    return task(nn.Dropout(0.3), Apply(reparameterised), data=(X, y), batch_size=None)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_compiled_draws_the_same(device):
    results = []
    for plan in (CompiledPlan(), EagerPlan(), NativePlan())[: 3 if device == "cpu" else 2]:
        made = make_compiled().to(device)
        data = load_data(made, torch.device(device))
        results.append(first_steps(made, data, plan.prepare(made, data)))
    for other in results[1:]:
        agreement = compare(results[0], other)
        assert agreement.agrees, agreement.in_words()
