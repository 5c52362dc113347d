"""Operators, activations and losses under native; many in one library, as each build takes a while."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from agreement import assert_agree
from torch import nn
from torch.optim import SGD

from flatout.task.task import Task

COLUMNS = torch.tensor([3, 1, 1, 0])
LIMITS = torch.tensor([-0.5, 0.0, 0.5])


def picks(h):
    """Whole numbers from 0 to 7, by element."""
    return (h * 3).long().abs() % 8


def bounded(function):
    """So that a power or a pole does not let the training run away."""
    return lambda h: torch.tanh(function(h).to(h.dtype) * 0.1)


def named(names, form):
    """A function of the layer for each function of torch."""
    return {name: partial(form, getattr(torch, name)) for name in names.split()}


UNARY = named(
    "abs atan asinh ceil cos cosh erf erfc exp exp2 expm1 floor frac neg relu round sgn sigmoid sign sin "
    "sinc sinh square tanh trunc signbit isnan isinf isfinite logical_not nan_to_num",
    lambda function, h: function(h),
) | named(
    "log log2 log10 log1p sqrt rsqrt reciprocal",
    lambda function, h: function(h.abs() + 0.5),
)
BINARY = named(
    "add sub mul div maximum minimum fmax fmin atan2 fmod remainder hypot copysign logaddexp eq ne lt le gt "
    "ge logical_and logical_or logical_xor xlogy",
    lambda function, h: function(h, h.roll(1, 1).abs() + 0.5),
) | {
    "pow": lambda h: (h.abs() + 0.1).pow(h),
    "div floor": lambda h: torch.div(h, 0.3, rounding_mode="floor") * h,
    "div trunc": lambda h: torch.div(h, 0.3, rounding_mode="trunc") * h,
    "lerp": lambda h: torch.lerp(h, h.roll(1, 1), h.sigmoid()),
    "addcmul": lambda h: torch.addcmul(h, h, h, value=0.3),
    "clamp": lambda h: h.clamp(-0.3, 0.4) + torch.clamp(h, h.roll(1, 1) - 1, h.roll(2, 1) + 1),
    "where": lambda h: torch.where(h > 0, h, h * 0.1) + h.masked_fill(h > 0.2, 0.5),
    "pow of numbers": lambda h: h.pow(4) + (h.abs() + 1).pow(-1.5) + 2**h,
    "ldexp": lambda h: torch.ldexp(h, torch.tensor(2)),
}
WHOLE = {
    "int64": lambda h: ((h * 10).long() * 3 // 2 - (h * 7).long() % 5) * h,
    "remainder by negative": lambda h: ((h * 10).long() % -3 + (h * 10).long() // -3) * h,
    "bits": lambda h: (((h * 5).long() & 3) + ((h * 5).long() | 8) + ((h * 5).long() ^ 3)) * h,
    "shifts": lambda h: (((h * 5).long() << 1) + ((h * 90).long() >> 2) + ~(h * 5).long()) * h,
    "int32": lambda h: ((h * 10).int() * 3).amax(1, keepdim=True) * h,
    "largest of negatives": lambda h: (-(h * 3).int().abs() - 1).amax(1, keepdim=True) * h,
    "int8": lambda h: ((h * 50).to(torch.int8) * 3).to(h.dtype) * h,
    "uint8": lambda h: (h.abs() * 50).to(torch.uint8).to(h.dtype) / 255 * h,
}
REDUCED = {
    "sums": lambda h: h * (h.sum(1, keepdim=True) + h.mean(0) + h.mean()),
    "extremes": lambda h: h * (h.amax(1, keepdim=True) + h.amin(0) + h.max() + h.min(1)[0][:, None]),
    "places": lambda h: h * (h.argmax(1, keepdim=True) + h.argmin(0) + h.argmax()),
    "products": lambda h: h.prod(1, keepdim=True) * h + h.cumprod(1) * 0.1 + h.cumsum(1),
    "variances": lambda h: h * (h.var(1, keepdim=True) + h.std() + h.var(0, unbiased=False)),
    "norms": lambda h: h * (h.norm(dim=1, keepdim=True) + torch.linalg.vector_norm(h, 3) + h.abs().amax()),
    "logsumexp": lambda h: h * h.logsumexp(1, keepdim=True),
    "any all": lambda h: h * ((h > 0).any(1, keepdim=True) + (h > -1).all(0) + 0.0),
    "softmaxes": lambda h: F.softmax(h, 1) + F.softmin(h, 0) + F.log_softmax(h, 1),
    "normalized": lambda h: F.normalize(h, dim=1),
    "counted": lambda h: h * torch.bucketize(h, LIMITS) + torch.searchsorted(LIMITS, h, right=True),
}
MOVED = {
    "cat": lambda h: torch.cat([h[:, 4:], h[:, :4] * 2], 1),
    "stack": lambda h: torch.stack([h, h * 2], 1).sum(1),
    "split": lambda h: torch.cat(h.split(3, 1)[::-1], 1) + torch.cat(h.chunk(3, 1)[::-1], 1),
    "strided": lambda h: h[:, ::2].repeat(1, 2) + h.flip(1) + h.roll((1, 2), (0, 1)),
    "repeated": lambda h: h[:, :4].repeat_interleave(2, 1) + h[:, :1].expand(-1, 8),
    "padded": lambda h: F.pad(h[:, 2:6], (3, 1), value=0.3) + F.pad(h, (-2, 2)),
    "windows": lambda h: h.unfold(1, 2, 2).flatten(1),
    "index_select": lambda h: h.index_select(1, COLUMNS).repeat(1, 2) + h[:, [3, 1, 1, 0, -1, 2, 5, 6]],
    "gather": lambda h: h.gather(1, picks(h)),
    "scatter": lambda h: h.scatter(1, h.argmax(1, keepdim=True), 0.5),
    "scatter_add": lambda h: h.scatter_add(1, picks(h), h * 2),
    "index_add": lambda h: h.index_add(1, COLUMNS, h[:, 2:6]),
    "index_copy": lambda h: h.index_copy(1, torch.tensor([0, 2]), h[:, 5:7]),
    "index_fill": lambda h: h.index_fill(1, torch.tensor([0, -2]), 0.5),
    "one_hot": lambda h: F.one_hot(h.argmax(1), 8) * h,
    "triangle": lambda h: h.view(-1, 2, 4).tril().flatten(1),
    "diagonal": lambda h: h * (h.t() @ h).diagonal() + torch.diag_embed(h).sum(1),
    "einsum": lambda h: torch.einsum("bi,bj->bij", h, h).sum(1) * 0.1,
    "bmm": lambda h: torch.bmm(h.view(-1, 2, 4), h.view(-1, 4, 2)).flatten(1).repeat(1, 2),
    "addmm": lambda h: torch.addmm(h, h, torch.eye(8, dtype=h.dtype), beta=0.5, alpha=2),
    "attention": lambda h: F.scaled_dot_product_attention(*[h.view(-1, 2, 4)] * 3).flatten(1),
}


class Looked(nn.Module):
    """A table of rows with one for padding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 8, padding_idx=0)

    def forward(self, h):
        return self.table(picks(h)[:, 0]) + h


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(8, 8, 8)

    def forward(self, h):
        return self.bilinear(h, h.tanh())


ACTIVATIONS = [
    nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.LogSigmoid, nn.PReLU,
    nn.SiLU, nn.LeakyReLU,
]  # fmt: skip
MODULES = {
    **{kind.__name__: kind for kind in ACTIVATIONS},
    "GELU of tanh": lambda: nn.GELU("tanh"),
    "Threshold": lambda: nn.Threshold(0.1, 0.7),
    "GLU": lambda: nn.Sequential(nn.Linear(8, 16), nn.GLU()),
    "LayerNorm": lambda: nn.LayerNorm(8),
    "GroupNorm": lambda: nn.GroupNorm(2, 8),
    "RMSNorm": lambda: nn.RMSNorm(8),
    "BatchNorm1d": lambda: nn.BatchNorm1d(8),
    "BatchNorm1d, cumulative": lambda: nn.BatchNorm1d(8, momentum=None),
    "BatchNorm1d, no statistics": lambda: nn.BatchNorm1d(8, track_running_stats=False),
    "Embedding": Looked,
    "Bilinear": Twice,
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
}


class Many(nn.Module):
    """Something of each, on the same layer, side by side."""

    def __init__(self, parts):
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.parts = nn.ModuleList(part() for part in parts)
        self.heads = nn.ModuleList(nn.Linear(8, 3) for _ in parts)

    def forward(self, x):
        h = self.first(x)
        return torch.stack([head(part(h)) for part, head in zip(self.parts, self.heads, strict=True)], 1)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, h):
        return self.function(h)


def inputs(dtype, samples=20):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(samples, 5, generator=generator, dtype=dtype)


def together(parts, dtype):
    X = inputs(dtype)
    torch.manual_seed(0)
    model = Many(parts).to(dtype)
    return Task(
        model=model,
        data=(X, X[:, None, :3].expand(-1, len(parts), -1).contiguous()),
        optimizer=SGD(model.parameters(), lr=0.01),
        loss=nn.MSELoss(),
        batch_size=10,
        epochs=99,
    )


GROUPS = {
    "unary": [lambda f=f: Function(bounded(f)) for f in UNARY.values()],
    "binary": [lambda f=f: Function(bounded(f)) for f in BINARY.values()],
    "whole numbers": [lambda f=f: Function(bounded(f)) for f in WHOLE.values()],
    "reductions": [lambda f=f: Function(bounded(f)) for f in REDUCED.values()],
    "moved": [lambda f=f: Function(bounded(f)) for f in MOVED.values()],
    "modules": list(MODULES.values()),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("parts", GROUPS.values(), ids=GROUPS)
def test_operators_agree(parts, dtype):
    # A few steps: where a comparison falls the other way by rounding, two trainings part for good.
    assert_agree(lambda: together(parts, dtype), steps=3)


def odd(h):
    """NaN, infinities and zeros of both signs among the numbers."""
    special = torch.tensor(
        [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, -1.0, 0.5], dtype=h.dtype
    )
    return special + h * 0


ODD = [
    *UNARY,
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "fmod",
    "remainder",
    "div",
    "div floor",
    "clamp",
    "where",
]


def test_nan_and_infinity_are_those_of_eager():
    """The value of each function, by element, is a loss of its own."""
    functions = [(UNARY | BINARY)[name] for name in ODD]

    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.weight * 0 + x[:, 0]

    class Noted(nn.Module):
        """Keeps what the functions give in a buffer."""

        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(len(functions), 8))

        def forward(self, output, target):
            with torch.no_grad():
                values = torch.stack([f(odd(target[:1].expand(1, 8)))[0].float() for f in functions])
                self.seen.copy_(values)
            return (output - target[:, 0]).square().mean()

    def make():
        model = Parts()
        X = torch.ones(4, 1)
        return Task(
            model=model,
            data=(X, X.clone()),
            optimizer=SGD(model.parameters(), lr=0.1),
            loss=Noted(),
            epochs=9,
        )

    assert_agree(make, steps=3)


def _target(kind):
    generator = torch.Generator().manual_seed(2)
    reals = torch.randn(20, 3, generator=generator)
    ignored = torch.randint(0, 3, (20,), generator=generator)
    ignored[::4] = -100
    return {
        "reals": reals,
        "shares": torch.softmax(reals, 1),
        "flags": (reals > 0).float(),
        "signs": reals.sign(),
        "counts": reals.abs().round(),
        "classes": ignored,
    }[kind]


WEIGHT = torch.tensor([0.2, 0.5, 2.0])
LOSSES = {
    "reals": [
        lambda o, y: F.mse_loss(o, y, reduction="sum"),
        F.l1_loss,
        lambda o, y: F.smooth_l1_loss(o, y, beta=0.5, reduction="sum"),
        lambda o, y: F.smooth_l1_loss(o, y, beta=0.0),
        lambda o, y: F.huber_loss(o, y, delta=0.3),
        lambda o, y: F.gaussian_nll_loss(o, y, F.softplus(o)),
        lambda o, y: F.gaussian_nll_loss(o, y, torch.ones(len(o), 1), full=True, reduction="sum"),
        lambda o, y: F.triplet_margin_loss(o, y, o.roll(1, 0)),
        lambda o, y: F.triplet_margin_loss(o, y, o.roll(1, 0), swap=True, p=1, reduction="sum"),
        lambda o, y: F.pairwise_distance(o, y).mean() + (1 - F.cosine_similarity(o, y)).mean(),
        lambda o, y: F.margin_ranking_loss(o[:, 0], o[:, 1], y[:, 0].sign(), margin=0.1),
        lambda o, y: F.cosine_embedding_loss(o, y, y[:, 0].sign(), margin=0.1),
    ],
    "shares": [
        lambda o, y: F.cross_entropy(o, y, weight=WEIGHT.to(o.dtype)),
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1, reduction="sum"),
        lambda o, y: F.kl_div(F.log_softmax(o, 1), y, reduction="batchmean"),
        lambda o, y: F.kl_div(F.log_softmax(o, 1), y.log(), log_target=True, reduction="sum"),
        lambda o, y: F.binary_cross_entropy(torch.sigmoid(o), y),
    ],
    "flags": [
        lambda o, y: F.binary_cross_entropy_with_logits(o, y, pos_weight=WEIGHT, weight=WEIGHT),
        lambda o, y: F.binary_cross_entropy(torch.sigmoid(o), y, weight=WEIGHT, reduction="sum"),
        lambda o, y: F.multilabel_soft_margin_loss(o, y, weight=WEIGHT),
    ],
    "signs": [
        F.hinge_embedding_loss,
        lambda o, y: F.soft_margin_loss(o, y, reduction="sum"),
    ],
    "counts": [
        F.poisson_nll_loss,
        lambda o, y: F.poisson_nll_loss(F.softplus(o), y, log_input=False, full=True),
    ],
    "classes": [
        F.cross_entropy,
        lambda o, y: F.cross_entropy(o, y, weight=WEIGHT, label_smoothing=0.1, reduction="sum"),
        lambda o, y: F.nll_loss(F.log_softmax(o, 1), y, weight=WEIGHT),
        lambda o, y: F.multi_margin_loss(o, y.clamp(min=0)),
        lambda o, y: F.multi_margin_loss(o, y.clamp(min=0), p=2, margin=0.5, weight=WEIGHT, reduction="sum"),
    ],
}


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_agree(kind):
    def make():
        torch.manual_seed(0)
        model = nn.Linear(5, 3)
        return Task(
            model=model,
            data=(inputs(torch.float32), _target(kind)),
            optimizer=SGD(model.parameters(), lr=0.01),
            loss=lambda o, y: sum(loss(o, y) for loss in LOSSES[kind]),
            batch_size=10,
            epochs=99,
        )

    assert_agree(make)
