"""A copy of a script's model, and one step of it: forward, backward, optimizer.

The loss is not known. Backward starts where the script's would: from the loss, where the model gives one,
else from its outputs with a gradient of waves, which is dense and has no zeros, as that of a loss. The
learning rate is 0, so that every step works on the same numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from statistics import median
from time import perf_counter
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from flatout.profiling.evidence import AbstainError
from flatout.profiling.subject import Subject
from flatout.profiling.trials.undisturbed import random_numbers_kept

PARTS: Final = ("zero", "forward", "backward", "optimizer")
_AT_ONCE: Final = ("cpu", "meta")  # devices that have done what they were given

Context = Callable[[], AbstractContextManager[Any]]


class Replica:
    """A copy of the subject, to be run as often as one likes.

    Args:
        subject: of which it is a copy.
        change: what is done to the copy of the model; returns it.
        inputs: what is done to each tensor of the inputs.
        every_step: the inputs are changed anew in each step, as the script would have to.
        options: of the optimizer, instead of the script's.
        within: a setting under which all of it runs.
        clock: tells the seconds.

    Attributes:
        autocast: the type that autocast computes in, or None.
        set_to_none: of `zero_grad`.
        trains: whether a step goes beyond forward.
        grad: whether forward keeps what a gradient needs.
        between: what the script does between two steps, in no part of them; what it gave is freed in a step.

    Raises:
        AbstainError: there can be no copy.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        change: Callable[[nn.Module], nn.Module] | None = None,
        inputs: Callable[[Tensor], Tensor] | None = None,
        every_step: bool = False,
        options: Mapping[str, Any] | None = None,
        within: Context = nullcontext,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.subject, self._within, self._clock = subject, within, clock
        self.autocast, self.set_to_none = subject.autocast, True
        self.trains, self.grad = subject.trains, subject.grad
        self.between: Callable[[], Any] | None = None
        self._inputs: tuple[tuple[Any, ...], dict[str, Any]]
        self.model, self._inputs = _copies(subject)
        with within():
            if change is not None:
                self.model = change(self.model)
            if inputs is not None and not every_step:
                self._inputs = with_tensors(inputs, self._inputs)
            self.optimizer = _fresh_optimizer(subject, self.model, options or {}) if self.trains else None
        self._each = inputs if every_step else None
        self.device = next(self.model.parameters()).device
        self._gradients: dict[tuple[int, torch.Size], Tensor] = {}
        self._stamps: list[tuple[float, float, float, float]] = []  # a step: its parts
        self._whole = 0.0

    def under(self, within: Context | None = None, **attributes: Any) -> Replica:
        """The same copy, its parameters shared, under another setting or with other attributes."""
        other = copy.copy(self)
        other._stamps = []
        other._gradients = {}
        other._within = within or self._within
        for name, value in attributes.items():
            setattr(other, name, value)
        return other

    def fed(self, inputs: Callable[[Tensor], Tensor]) -> Replica:
        """The same copy, its parameters shared, with changed inputs."""
        return self.under(_inputs=with_tensors(inputs, self._inputs))

    def run(self, steps: int) -> float:
        """Run so many steps; the seconds that a step takes."""
        self._stamps.clear()
        with self._within(), torch.set_grad_enabled(self.grad):
            synchronize(self.device)
            began = self._clock()
            for _ in range(steps):
                self._step()
            synchronize(self.device)
            self._whole = (self._clock() - began) / steps
        return self.took()

    def took(self, parts: Sequence[str] = PARTS) -> float:
        """The seconds that parts of a step took in the last run: on a CPU the median of its steps.

        What a GPU does in a part nobody sees from here: its steps are taken as a whole, and their mean.
        """
        if self.device.type not in _AT_ONCE:
            return self._whole
        which = [PARTS.index(part) for part in parts]
        return median(sum(stamps[at] for at in which) for stamps in self._stamps)

    def forward(self) -> Any:
        """What the model gives."""
        args, kwargs = self._inputs if self._each is None else with_tensors(self._each, self._inputs)
        with self._autocast():
            return self.model(*args, **kwargs)

    def _step(self) -> None:
        clock = self._clock
        given = None if self.between is None else self.between()
        began = clock()
        del given
        if self.trains:
            self._zero()
        stamp = clock()
        zero, forward, backward = stamp - began, 0.0, 0.0
        for _ in range(self.subject.calls):
            output = self.forward()
            called = clock()
            forward += called - stamp
            if self.trains:
                self._backward(output)
            stamp = clock()
            backward += stamp - called
        if self.optimizer is not None:
            self.optimizer.step()
        self._stamps.append((zero, forward, backward, clock() - stamp))

    def _zero(self) -> None:
        (self.model if self.optimizer is None else self.optimizer).zero_grad(set_to_none=self.set_to_none)

    def _backward(self, output: Any) -> None:
        roots = [t for t in tensors_of(output) if t.requires_grad and t.is_floating_point()]
        if not roots:
            raise AbstainError("the model gives no tensor that a gradient could come from")
        losses = [t for t in roots if t.dim() == 0]
        roots = losses or roots
        torch.autograd.backward(roots, [self._gradient(at, root) for at, root in enumerate(roots)])

    def _gradient(self, at: int, root: Tensor) -> Tensor:
        key = (at, root.shape)
        if key not in self._gradients:
            with torch.no_grad():
                # On the host: a device may have no float64.
                waves = torch.cos(torch.arange(root.numel(), dtype=torch.float32)).reshape(root.shape)
                waves = waves.to(device=root.device, dtype=root.dtype)
                self._gradients[key] = torch.empty_like(root).copy_(waves)
        return self._gradients[key]

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = self.autocast
        return nullcontext() if kind is None else torch.autocast(self.device.type, dtype=kind)


def _fresh_optimizer(
    subject: Subject, model: nn.Module, options: Mapping[str, Any]
) -> torch.optim.Optimizer | None:
    """One like the script's, that changes nothing; None where it has none, or one that needs a closure."""
    seen = subject.optimizer
    if seen is None or issubclass(seen.type, torch.optim.LBFGS):
        return None
    originals = [id(parameter) for parameter in subject.model.parameters()]
    twins = dict(zip(originals, model.parameters(), strict=True))
    groups = []
    for own, parameters in seen.groups:
        if mine := [twins[id(p)] for p in parameters if id(p) in twins]:
            still = torch.zeros_like(own["lr"]) if isinstance(own.get("lr"), Tensor) else 0.0
            groups.append({**own, "lr": still, **options, "params": mine})
    if not groups:
        return None
    try:
        optimizer: torch.optim.Optimizer = seen.type(groups)
    except Exception as error:
        raise AbstainError(f"there can be no second {seen.type.__name__}: {error}") from error
    return optimizer


def _copies(subject: Subject) -> tuple[nn.Module, Any]:
    try:
        with torch.no_grad():
            model, inputs = copy.deepcopy((subject.model, _cloned((subject.args, subject.kwargs))))
    except Exception as error:
        raise AbstainError(f"the model cannot be copied: {error}") from error
    for module, training in zip(model.modules(), subject.training, strict=True):
        module.training = training
    if next(model.parameters()).device != subject.device:
        model.to(subject.device)  # the script has moved it at its end
    return model, inputs


def _cloned(inputs: Any) -> Any:
    """Copies of the tensors, strides and all; deepcopy refuses those that are no leaves."""

    def clone(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    return with_tensors(clone, inputs)


def with_tensors(change: Callable[[Tensor], Tensor], inputs: Any) -> Any:
    """The inputs with each tensor changed; one that asks for a gradient goes on to."""

    def changed(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        new = change(leaf.detach())
        return new.requires_grad_() if leaf.requires_grad else new

    return pytree.tree_map(changed, inputs)


def tensors_of(output: Any) -> Iterator[Tensor]:
    """The tensors in what a model gives: within tuples, lists, dicts and dataclasses; each once.

    >>> [len(t) for t in tensors_of({"a": (torch.zeros(2), None), "b": [torch.zeros(3)]})]
    [2, 3]
    """
    seen: set[int] = set()
    waiting = [output]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            if id(one) not in seen:
                seen.add(id(one))
                yield one
        elif isinstance(one, Mapping):
            waiting += reversed(list(one.values()))
        elif isinstance(one, (tuple, list)):
            waiting += reversed(one)
        elif is_dataclass(one) and not isinstance(one, type):
            waiting += reversed([getattr(one, field.name) for field in fields(one)])


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type not in _AT_ONCE:
        torch.accelerator.synchronize(device)


def check_repeatable(replica: Replica) -> None:
    """Make sure that the same inputs and random numbers give the same outputs.

    Raises:
        AbstainError: they do not: what a step of the copy takes says nothing about the script's.
    """
    with random_numbers_kept():
        first = [t.detach() for t in tensors_of(replica.forward())]
    with random_numbers_kept():
        second = [t.detach() for t in tensors_of(replica.forward())]
    same = len(first) == len(second) and all(
        a.shape == b.shape and (not a.is_floating_point() or torch.allclose(a, b, 1e-3, 1e-4, equal_nan=True))
        for a, b in zip(first, second, strict=True)
    )
    if not same:
        raise AbstainError("the model gives something else when it is called a second time with the same")
