"""Small trainings of every kind, each made afresh with the same seed: the arguments of `fit`."""

import torch
from torch import nn
from torch.optim import SGD, lr_scheduler
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, WeightedRandomSampler

N, BATCH, EPOCHS = 22, 5, 4
STEPS = EPOCHS * 5  # the last batch of an epoch has two samples


def pairs(samples=N, seed=7):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(samples, 4, generator=generator)
    return X, (X.sum(1) > 0).long() + (X[:, 0] > 0.5).long()


def mlp(*between, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), *between, nn.ReLU(), nn.Linear(6, 3))


def base(model=None, optimizer=None, **changes):
    model = mlp() if model is None else model
    optimizer = SGD(model.parameters(), lr=0.1) if optimizer is None else optimizer(model.parameters())
    chosen = {"loss": nn.CrossEntropyLoss(), "epochs": EPOCHS, "data": pairs(), "batch_size": BATCH}
    return {"model": model, "optimizer": optimizer, **chosen, **changes}


def scheduled(make, **changes):
    case = base(optimizer=lambda p: SGD(p, lr=0.1, momentum=0.9), **changes)
    return case | {"scheduler": make(case["optimizer"])}


def warm_up_then_cosine(optimizer):
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=20),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[3])


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 3), nn.Bilinear(4, 4, 3)

    def forward(self, x, z):
        return self.first(x) + self.second(x, z)


def two_inputs():
    X, y = pairs()
    return base(TwoInputs(), data=(X, X.flip(1), y))


def dict_objective():
    X, y = pairs()

    def objective(model, batch):
        return (
            nn.functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")
            .mul(batch["w"])
            .mean()
        )

    return base(data={"x": X, "y": y, "w": torch.linspace(0, 1, N)}, loss=None, objective=objective)


class Noisy(Dataset):
    """A map-style dataset that draws its augmentation from the global generator."""

    def __init__(self, scale=0.1):
        self.X, self.y = pairs()
        self.scale = scale

    def __len__(self):
        return N

    def __getitem__(self, i):
        return self.X[i] + self.scale * torch.randn(4), self.y[i]


class Plain(Noisy):
    """The same without noise."""

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class Stream(IterableDataset):
    """Samples one after the other, in an order that each epoch draws from the global generator."""

    def __iter__(self):
        X, y = pairs()
        for i in torch.randperm(N).tolist():
            yield X[i] + 0.1 * torch.randn(4), y[i]


class StreamWithLength(Stream):
    def __len__(self):
        return N


def loaded(dataset, **options):
    """A task whose data is a DataLoader of the user, with dropout drawing between the batches."""
    return base(mlp(nn.Dropout(0.3)), data=DataLoader(dataset, **options), batch_size=None)


def own_sampler():
    generator = torch.Generator().manual_seed(5)
    sampler = WeightedRandomSampler(torch.linspace(0.1, 1, N), N, generator=generator)
    return loaded(Noisy(), batch_sampler=BatchSampler(sampler, BATCH, drop_last=False))


CASES = {
    "full batch": lambda: base(batch_size=None, epochs=STEPS),
    "full batch, shuffled": lambda: base(batch_size=None, shuffle=True, epochs=STEPS),
    "batches": base,
    "batches in order": lambda: base(shuffle=False),
    "drop last": lambda: base(drop_last=True, epochs=5),
    "another seed": lambda: base(seed=2**40 + 1),
    "dropout": lambda: base(mlp(nn.Dropout(0.5))),
    "batch norm": lambda: base(mlp(nn.BatchNorm1d(6)), drop_last=True, epochs=5),
    "dropout, validation": lambda: base(mlp(nn.Dropout(0.5)), validation=pairs(9, 1), validate_every=1),
    "momentum": lambda: base(optimizer=lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    "adam": lambda: base(optimizer=lambda p: torch.optim.Adam(p, lr=0.01)),
    "adamw amsgrad": lambda: base(optimizer=lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True)),
    "rmsprop": lambda: base(optimizer=lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True)),
    "adagrad": lambda: base(optimizer=lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "lbfgs": lambda: base(
        optimizer=lambda p: torch.optim.LBFGS(p, max_iter=4, history_size=3), batch_size=11, epochs=10
    ),
    "clip": lambda: base(clip_grad_norm=0.05),
    "step lr": lambda: scheduled(lambda o: lr_scheduler.StepLR(o, 2, 0.3)),
    "step lr each step": lambda: scheduled(lambda o: lr_scheduler.StepLR(o, 3, 0.7), scheduler_per="step"),
    "step lr, full batch": lambda: scheduled(
        lambda o: lr_scheduler.StepLR(o, 3, 0.7), batch_size=None, epochs=STEPS
    ),
    "multi step lr": lambda: scheduled(lambda o: lr_scheduler.MultiStepLR(o, [1, 3], 0.3)),
    "one cycle": lambda: scheduled(
        lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=STEPS), scheduler_per="step"
    ),
    "cyclic": lambda: scheduled(lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.3, 4), scheduler_per="step"),
    "cosine": lambda: scheduled(lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    "lambda": lambda: scheduled(lambda o: lr_scheduler.LambdaLR(o, lambda n: 0.9**n), scheduler_per="step"),
    "sequential": lambda: scheduled(warm_up_then_cosine, scheduler_per="step"),
    "plateau": lambda: scheduled(
        lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.3),
        validation=pairs(9, 1),
        validate_every=1,
    ),
    "two inputs": two_inputs,
    "dict, objective": dict_objective,
    "stream": lambda: base(mlp(nn.Dropout(0.3)), data=Noisy()),
    "stream in order": lambda: base(data=Noisy(), shuffle=False, drop_last=True, epochs=5),
    "stream, workers": lambda: base(mlp(nn.Dropout(0.3)), data=Noisy(), workers=2),
    "own loader": lambda: loaded(Noisy(), batch_size=BATCH, shuffle=True),
    "own loader, generator": lambda: loaded(
        Noisy(), batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
    "own loader, sampler": own_sampler,
    "own loader of single samples": lambda: loaded(Plain(), batch_size=None, shuffle=True) | {"epochs": 1},
    "iterable": lambda: base(mlp(nn.Dropout(0.3)), data=Stream()),
    "iterable with length": lambda: base(mlp(nn.Dropout(0.3)), data=StreamWithLength()),
    "own loader, iterable": lambda: loaded(Stream(), batch_size=BATCH),
}
