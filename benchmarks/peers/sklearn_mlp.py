"""scikit-learn's own perceptrons."""

from __future__ import annotations

import warnings

from sklearn.neural_network import MLPClassifier, MLPRegressor
from workloads import Row

from peers.steps import Steps, whole_batches


def mlp(row: Row) -> Steps:
    """`MLPClassifier` or `MLPRegressor`, one `fit` of as many epochs as are asked for."""
    if row.loss == "pinn":
        raise NotImplementedError("scikit-learn takes no objective of one's own")
    kind = MLPClassifier if row.loss == "ce" else MLPRegressor
    X, y = (part.numpy() for part in whole_batches(row))

    def run(count: int) -> None:
        epochs = count // row.epoch_steps
        model = kind(
            hidden_layer_sizes=row.sizes[1:-1],
            activation=row.activation,
            solver=row.optimizer,
            batch_size=row.step_samples,
            alpha=0,
            learning_rate_init=row.rate,
            momentum=0,
            tol=0,
            max_iter=epochs,
            n_iter_no_change=epochs + 1,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            model.fit(X, y)

    return Steps(run, row.epoch_steps)
