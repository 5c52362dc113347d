"""Random dense networks with random losses and optimizers, drawn by hypothesis."""

from functools import partial

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.optim import lr_scheduler

from flatout.task.task import Task

# A network takes a second and more to build: a smaller one that fails too is not looked for.
NETWORKS = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

ACTIVATIONS = [
    nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, partial(nn.GELU, approximate="tanh"), nn.SiLU, nn.ELU, nn.SELU,
    nn.CELU, nn.LeakyReLU, partial(nn.LeakyReLU, 0.3), nn.Softplus, nn.Hardtanh, nn.ReLU6, nn.Hardswish,
    nn.Hardsigmoid, nn.Mish, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.PReLU, nn.Identity,
    partial(nn.Softmax, -1),
]  # fmt: skip
NORMS = [None, None, None, nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm]

# With a small eps a gradient whose parts cancel but for their last digit is divided by itself: a sum in
# another order then moves a parameter as far as any other gradient does.
# Rprop does that by design, so its steps stay small: none learns its few samples by heart, for then all that
# is left of the gradients is rounding.
OPTIMIZERS = {
    "sgd": partial(optim.SGD, lr=0.05),
    "momentum": partial(optim.SGD, lr=0.05, momentum=0.9),
    "dampening": partial(optim.SGD, lr=0.05, momentum=0.9, dampening=0.1),
    "nesterov": partial(optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "maximize": partial(optim.SGD, lr=0.01, maximize=True),
    "adam": partial(optim.Adam, lr=0.01, eps=1e-3),
    "amsgrad": partial(optim.Adam, lr=0.01, eps=1e-3, amsgrad=True, weight_decay=0.1),
    "adam foreach": partial(optim.Adam, lr=0.01, eps=1e-3, foreach=True),
    "adam fused": partial(optim.Adam, lr=0.01, eps=1e-3, fused=True),
    "adamw": partial(optim.AdamW, lr=0.01, eps=1e-3, amsgrad=True),
    "rmsprop": partial(optim.RMSprop, lr=0.01, eps=1e-3),
    "rmsprop centered": partial(optim.RMSprop, lr=0.003, eps=1e-2, centered=True, momentum=0.9),
    "adagrad": partial(optim.Adagrad, lr=0.05, lr_decay=0.1, eps=1e-3),
    "nadam": partial(optim.NAdam, lr=0.01, eps=1e-3, weight_decay=0.1, decoupled_weight_decay=True),
    "adamax": partial(optim.Adamax, lr=0.01, eps=1e-3, weight_decay=0.1),
    "adadelta": partial(optim.Adadelta, lr=1.0, eps=1e-3),
    "radam": partial(optim.RAdam, lr=0.01, eps=1e-3, weight_decay=0.01),
    "radam decoupled": partial(
        optim.RAdam, lr=0.01, eps=1e-3, betas=(0.8, 0.9), weight_decay=0.1, decoupled_weight_decay=True
    ),
    "asgd": partial(optim.ASGD, lr=0.05, t0=5, weight_decay=0.01),
    "adafactor": partial(optim.Adafactor, lr=0.05, eps=(1e-3, 1e-3)),
    "rprop": partial(optim.Rprop, lr=0.002, step_sizes=(1e-6, 0.005)),
}


def _classes(n, k):
    return torch.randint(0, k, (n,))


def _reals(n, k):
    return torch.randn(n, k)


def _shares(n, k):
    return torch.softmax(torch.randn(n, k), 1)


def _signs(n, k):
    return torch.randint(0, 2, (n, k)) * 2.0 - 1


def _nll(output, target):
    return nn.functional.nll_loss(nn.functional.log_softmax(output, 1), target)


def _bce(output, target):
    return nn.functional.binary_cross_entropy(torch.sigmoid(output), target)


def _kl(output, target):
    return nn.functional.kl_div(nn.functional.log_softmax(output, 1), target, reduction="batchmean")


LOSSES = [
    (nn.CrossEntropyLoss, _classes),
    (partial(nn.CrossEntropyLoss, label_smoothing=0.1), _classes),
    (partial(nn.CrossEntropyLoss, reduction="sum"), _classes),
    (partial(nn.CrossEntropyLoss, ignore_index=-100), _classes),
    ("weighted", _classes),
    (nn.CrossEntropyLoss, _shares),
    (lambda: _nll, _classes),
    (nn.MSELoss, _reals),
    (nn.L1Loss, _reals),
    (nn.SmoothL1Loss, _reals),
    (partial(nn.HuberLoss, delta=0.3), _reals),
    (nn.BCEWithLogitsLoss, _shares),
    (lambda: _bce, _shares),
    (lambda: _kl, _shares),
    (nn.SoftMarginLoss, _signs),
]


def draw_task(draw):
    """A function that makes the drawn task, the same each time."""
    widths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    parts = [
        (draw(st.booleans()), draw(st.sampled_from(NORMS)), draw(st.sampled_from(ACTIVATIONS)))
        for _ in widths[1:]
    ]
    loss, target = draw(st.sampled_from(LOSSES))
    batch_size = draw(st.one_of(st.integers(1, 20), st.integers(20, 200), st.integers(512, 900)))
    if any(norm is nn.BatchNorm1d for _, norm, _ in parts):
        batch_size = max(2, batch_size)
    rest = draw(st.sampled_from([0, 2, 5])) if batch_size > 5 else 0
    samples = batch_size * draw(st.integers(1, 3)) + rest
    optimizer = OPTIMIZERS[draw(st.sampled_from(sorted(OPTIMIZERS)))]
    frozen, groups, scheduled = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    options = {
        "clip_grad_norm": draw(st.sampled_from([None, None, 0.5])),
        "batch_size": draw(st.sampled_from([None, batch_size, batch_size])),
        "scheduler_per": draw(st.sampled_from(["step", "epoch"])),
        "epochs": 99,
    }

    def make():
        torch.manual_seed(0)
        model = _network(widths, parts).to(dtype)
        X, y = torch.randn(samples, widths[0], dtype=dtype), target(samples, widths[-1])
        y = y.to(dtype) if y.is_floating_point() else y
        if frozen and len(widths) > 2:
            model[0].weight.requires_grad_(False)
        trained = [p for p in model.parameters() if p.requires_grad]
        cut = [{"params": trained[:1], "lr": 0.02}, {"params": trained[1:], "weight_decay": 0.1}]
        optimizer_ = optimizer(cut if groups and len(trained) > 1 else trained)
        scheduler = lr_scheduler.ExponentialLR(optimizer_, 0.9) if scheduled else None
        made = loss() if loss != "weighted" else nn.CrossEntropyLoss(_weights(widths[-1], dtype))
        return Task(model=model, data=(X, y), optimizer=optimizer_, loss=made, scheduler=scheduler, **options)

    return make


def _weights(count, dtype):
    return torch.linspace(0.5, 2, count, dtype=dtype)


def _network(widths, parts):
    layers = []
    for inputs, outputs, (bias, norm, activation) in zip(widths, widths[1:], parts, strict=False):
        layers.append(nn.Linear(inputs, outputs, bias=bias))
        if norm is not None and outputs > 2:
            layers.append(norm(outputs))
        layers.append(activation())
    layers.append(nn.Linear(widths[-1], widths[-1]))
    return nn.Sequential(*layers)
