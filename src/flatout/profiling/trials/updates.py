"""Experiments with the optimizer, and with how gradients are cleared."""

from __future__ import annotations

import inspect

from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Trial


def fused(setup: Setup) -> Trial | None:
    """The whole update in one kernel, where the optimizer has one and does not use it."""
    return _with_option(setup, "fused", {"fused": True, "foreach": False})


def foreach(setup: Setup) -> Trial | None:
    """The update of many parameters in one call; on a GPU it is the default."""
    on_cpu = setup.subject.device.type == "cpu"
    return _with_option(setup, "foreach", {"foreach": True}) if on_cpu else None


def set_to_none(setup: Setup) -> Trial | None:
    """Gradients let go instead of filled with zeros; backward then need not add to them."""
    if not setup.zeroes or setup.base.optimizer is None:
        return None
    let_go = setup.base.under(set_to_none=True)
    return setup.trial(setup.base, let_go, "optimizer.zero_grad()")


def _with_option(setup: Setup, name: str, options: dict[str, bool]) -> Trial | None:
    seen = setup.subject.optimizer
    if seen is None or setup.base.optimizer is None:
        return None
    own = [group for group, _ in seen.groups]
    if name not in inspect.signature(seen.type).parameters:
        return None
    if any(group.get("fused") or group.get(name) or group.get("differentiable") for group in own):
        return None
    other = setup.copy(options=options)
    setting = f"torch.optim.{seen.type.__name__}(..., {name}=True)"
    return setup.trial(setup.base, other, setting)
