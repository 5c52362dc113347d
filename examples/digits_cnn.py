"""An image classifier: convolutions on handwritten digits of 8 x 8 pixels.

flatout train examples/digits_cnn.py
python examples/digits_cnn.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import flatout


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Look at 3 x 3 pixels, normalise, keep what is positive, halve the picture."""
    return nn.Sequential(
        # Batch norm subtracts the mean, so a bias before it would have no effect.
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and validation pairs: images [n, 1, 8, 8] in 0..1 and labels [n]."""
    images, labels = load_digits(return_X_y=True)
    X = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels, dtype=torch.int64)
    # stratify: both parts hold every digit equally often.
    train, test = train_test_split(range(len(y)), test_size=0.2, random_state=42, stratify=labels)
    return (X[train], y[train]), (X[test], y[test])


def task() -> flatout.Task:
    """What `flatout train examples/digits_cnn.py` trains."""
    torch.manual_seed(0)
    model = nn.Sequential(
        block(1, 16),  # [n, 1, 8, 8] -> [n, 16, 4, 4]
        block(16, 32),  # -> [n, 32, 2, 2]
        nn.Flatten(),  # -> [n, 128]
        nn.Linear(128, 10),
    )
    data, validation = digits()
    return flatout.Task(
        model=model,
        data=data,
        loss=nn.CrossEntropyLoss(),  # wants scores and labels, so the model ends without a softmax
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        epochs=12,
        batch_size=64,
        # Batch norm uses the statistics of the batch while training, and those it has learned while
        # validating: flatout switches the mode of the model.
        validation=validation,
        validate_every=1,  # epochs
        name="digits-cnn",
    )


if __name__ == "__main__":
    classifier = task()
    run = flatout.fit(classifier)
    for entry in run.history:
        print(f"epoch {entry['epoch']:2}  loss {entry['loss']:.4f}  accuracy {entry['accuracy']:.3f}")

    model = classifier.model.eval()  # from here on this is plain PyTorch
    X, y = classifier.validation
    with torch.no_grad():
        print("labels ", y[:12].tolist())
        print("answers", model(X[:12]).argmax(1).tolist())
