"""JAX: the steps of a call in one `lax.scan`, optax's optimizer."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch
from workloads import Row

from peers.steps import Steps, orders


def scan(row: Row) -> Steps:
    """A jitted scan over a chunk of steps."""
    data = [jnp.asarray(part.numpy()) for part in row.data()]
    parameters = [
        (jnp.asarray(layer.weight.detach().numpy().T), jnp.asarray(layer.bias.detach().numpy()))
        for layer in row.model()
        if isinstance(layer, torch.nn.Linear)
    ]
    optimizer = (optax.sgd if row.optimizer == "sgd" else optax.adam)(row.rate)
    loss_of = _loss(row)

    def step(state: Any, index: Any) -> Any:
        held, kept = state
        batch = data if row.batch is None else [part[index] for part in data]
        loss, gradient = jax.value_and_grad(loss_of)(held, batch)
        updates, kept = optimizer.update(gradient, kept, held)
        return (optax.apply_updates(held, updates), kept), loss

    many = jax.jit(lambda state, indices: jax.lax.scan(step, state, indices))
    state = (parameters, optimizer.init(parameters))
    chunk = 1000 if row.samples < 5000 or row.batch else 50
    source = orders(row)

    def run(count: int) -> None:
        nonlocal state
        for _ in range(count // chunk):
            indices = jnp.zeros(chunk, dtype=jnp.int32)
            if row.batch is not None:
                indices = jnp.asarray(torch.stack(list(islice(source, chunk))).int().numpy())
            state, losses = many(state, indices)
            losses.block_until_ready()

    return Steps(run, chunk)


def _loss(row: Row) -> Any:
    """The loss of a batch from the parameters."""
    activation = jnp.tanh if row.activation == "tanh" else jax.nn.relu

    def network(parameters: Any, x: Any) -> Any:
        for w, b in parameters[:-1]:
            x = activation(x @ w + b)
        return x @ parameters[-1][0] + parameters[-1][1]

    def loss_of(parameters: Any, batch: Any) -> Any:
        if row.loss == "pinn":
            u = jax.grad(jax.grad(lambda x: network(parameters, x.reshape(1, 1))[0, 0]))
            x = batch[0][:, 0]
            return jnp.mean((jax.vmap(u)(x) + math.pi**2 * jnp.sin(math.pi * x)) ** 2)
        output = network(parameters, batch[0])
        if row.loss == "mse":
            return jnp.mean((output - batch[1]) ** 2)
        return optax.softmax_cross_entropy_with_integer_labels(output, batch[1]).mean()

    return loss_of
