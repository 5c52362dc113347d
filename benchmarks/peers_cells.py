"""One cell of `peers.py`: a workload under one way to train it, as a function that runs many steps."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from peers_rows import RATE, Row
from torch import Tensor

Steps = Callable[[int], object]  # runs so many steps and waits for them
_SECONDS = 1.5  # to measure for


def measure(row: Row, column: str) -> dict[str, float]:
    """Seconds until the first step is done, and microseconds a step when warm: the best of three."""
    begun = time.perf_counter()
    steps = COLUMNS[column](row)
    steps(1)
    first = time.perf_counter() - begun
    unit = getattr(steps, "per_call", 1)  # some run whole chunks or epochs only
    count = math.ceil(8 / unit) * unit
    while (spent := _timed(steps, count)) < _SECONDS / 6:
        count *= 2
    best = min(spent, *(_timed(steps, count) for _ in range(3)))
    return {"us": best / count * 1e6, "first_s": first}


def _timed(steps: Steps, count: int) -> float:
    begun = time.perf_counter()
    steps(count)
    return time.perf_counter() - begun


def _orders(row: Row) -> Iterator[Tensor]:
    """The samples of one step after another, epoch after epoch."""
    while True:
        batch = row.batch or row.samples
        indices = torch.split(torch.randperm(row.samples), batch)
        yield from (index for index in indices if len(index) == batch)


def _many_orders(row: Row, steps: int) -> Tensor:
    """The samples of many steps at once, int32 `[steps, batch]`, an epoch after the other."""
    batch = row.batch or row.samples
    whole = row.samples // batch * batch
    epochs = [torch.randperm(row.samples)[:whole].view(-1, batch) for _ in range(-(-steps * batch // whole))]
    return torch.cat(epochs)[:steps].int()


def eager(row: Row) -> Steps:
    """The eager loop."""
    return _indexed(row, row.objective)


def fused(row: Row) -> Steps:
    """The eager loop with the fused optimizer."""
    return _indexed(row, row.objective, fused=True)


def compiled_by_torch(row: Row) -> Steps:
    """The eager loop with forward, loss and update under `torch.compile`."""
    if row.loss == "pinn":
        raise NotImplementedError("torch.compile has no double backward")
    return _indexed(row, torch.compile(row.objective), torch.compile)


def _indexed(row: Row, objective: Any, wrap: Any = lambda step: step, **options: Any) -> Steps:
    model, data = row.model(), row.data()
    optimizer = row.optimizer_of(model, **options)
    update = wrap(optimizer.step)
    orders = _orders(row)

    def steps(count: int) -> None:
        for _ in range(count):
            batch = data
            if row.batch is not None:
                index = next(orders)
                batch = tuple(part[index] for part in data)
            loss = objective(model, batch)
            optimizer.zero_grad()
            loss.backward()
            update()

    return steps


def loader(row: Row) -> Steps:
    """The loop over a `DataLoader`, with `.item()` at every step."""
    if row.loss == "pinn":
        raise NotImplementedError("full batches of points need no loader")
    model, optimizer_of = row.model(), row.optimizer_of
    optimizer = optimizer_of(model)
    dataset = torch.utils.data.TensorDataset(*row.data())
    batches = torch.utils.data.DataLoader(dataset, row.batch or row.samples, shuffle=True, drop_last=True)

    def endless() -> Iterator[Any]:
        while True:
            yield from batches

    source = endless()

    def steps(count: int) -> None:
        for _ in range(count):
            loss = row.objective(model, tuple(next(source)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()

    return steps


def sklearn(row: Row) -> Steps:
    """scikit-learn's own perceptron, which has no objective of one's own."""
    if row.loss == "pinn":
        raise NotImplementedError("no objective of one's own")
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPClassifier if row.loss == "ce" else MLPRegressor
    X, y = (part.numpy() for part in row.data())
    batch = row.batch or row.samples
    options: dict[str, Any] = {
        "hidden_layer_sizes": row.sizes[1:-1],
        "activation": row.activation,
        "solver": row.optimizer,
    }
    options |= {"batch_size": batch, "alpha": 0, "learning_rate_init": RATE, "momentum": 0, "tol": 0}

    def steps(count: int) -> None:
        epochs = max(1, round(count / math.ceil(row.samples / batch)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            kind(**options, max_iter=epochs, n_iter_no_change=epochs + 1).fit(X, y)

    steps.per_call = math.ceil(row.samples / batch)  # type: ignore[attr-defined]
    return steps


def jax(row: Row) -> Steps:
    """JAX: all steps of a call in one `lax.scan`, optax's optimizer."""
    import jax
    import jax.numpy as jnp
    import optax

    data = [jnp.asarray(part.numpy()) for part in row.data()]
    parameters = [
        (jnp.asarray(layer.weight.detach().numpy().T), jnp.asarray(layer.bias.detach().numpy()))
        for layer in row.model()
        if isinstance(layer, torch.nn.Linear)
    ]
    activation = jnp.tanh if row.activation == "tanh" else jax.nn.relu
    optimizer = optax.sgd(0.01) if row.optimizer == "sgd" else optax.adam(RATE)

    def network(p: Any, x: Any) -> Any:
        for w, b in p[:-1]:
            x = activation(x @ w + b)
        return x @ p[-1][0] + p[-1][1]

    def loss_of(p: Any, batch: Any) -> Any:
        if row.loss == "pinn":
            second = jax.vmap(jax.grad(jax.grad(lambda x: network(p, x.reshape(1, 1))[0, 0])))
            x = batch[0][:, 0]
            return jnp.mean((second(x) + math.pi**2 * jnp.sin(math.pi * x)) ** 2)
        output = network(p, batch[0])
        if row.loss == "mse":
            return jnp.mean((output - batch[1]) ** 2)
        return optax.softmax_cross_entropy_with_integer_labels(output, batch[1]).mean()

    def step(state: Any, index: Any) -> Any:
        p, s = state
        batch = data if row.batch is None else [part[index] for part in data]
        loss, gradient = jax.value_and_grad(loss_of)(p, batch)
        updates, s = optimizer.update(gradient, s, p)
        return (optax.apply_updates(p, updates), s), loss

    many = jax.jit(lambda state, orders: jax.lax.scan(step, state, orders))
    held = [(parameters, optimizer.init(parameters))]
    chunk = 1000 if row.samples < 5000 or row.batch else 50

    def steps(count: int) -> None:
        for _ in range(max(1, count // chunk)):
            if row.batch is None:
                indices = jnp.zeros(chunk, dtype=jnp.int32)
            else:
                indices = jnp.asarray(_many_orders(row, chunk).numpy())
            held[0], losses = many(held[0], indices)
            losses.block_until_ready()

    steps.per_call = chunk  # type: ignore[attr-defined]
    return steps


def _plan(name: str) -> Callable[[Row], Steps]:
    def prepared(row: Row) -> Steps:
        from flatout.data.load import load_data
        from flatout.plans.registry import find_plan

        task = row.task()
        data = load_data(task, torch.device("cpu"))
        loop = find_plan(name).prepare(task, data)

        def steps(count: int) -> None:
            while count > 0:
                order = data.take(min(count, 2000))
                loop.advance(order)
                count -= len(order)

        return steps

    return prepared


COLUMNS: dict[str, Callable[[Row], Steps]] = {
    "eager loop": eager,
    "fused": fused,
    "DataLoader": loader,
    "torch.compile": compiled_by_torch,
    "sklearn": sklearn,
    "JAX scan": jax,
    "plan eager": _plan("eager"),
    "plan compiled": _plan("compiled"),
    "plan native": _plan("native"),
}
