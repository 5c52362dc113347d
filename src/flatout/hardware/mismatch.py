"""Say in plain words why tensors on different devices met, and which line puts it right.

The failing computation is run once more under watch (`mismatch_rerun`) to learn which tensors met in the
call that failed and where each of them came from (`mismatch_origin`). Without a second run, the names on the
failing line tell almost as much.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from flatout.errors import DeviceMismatchError, FlatoutError
from flatout.hardware.mismatch_origin import (
    DEVICE,
    Origin,
    is_users,
    name_inputs,
    name_model,
    origins_in_line,
    place_of,
)
from flatout.hardware.mismatch_rerun import Rerun, run_again
from flatout.hardware.placement import same_device

Named = list[tuple[Tensor, Origin]]

_MOST_NAMES = 6
_TEXTS = re.compile(
    r"(expect|must|should|need|not |different).*\bsame (gpu|device)"
    r"|is not on the expected device"
    r"|different from other tensors on"
    r"|two different devices"
    r"|placeholder storage has not been allocated on mps"
    r"|is on \S+ but expected (it |them )?(to be )?on"
    r"|is on \S+, but expected (it|them) to be on"
    r"|expected object of device type"
    r"|passed cpu tensor to mps op",
    re.IGNORECASE | re.DOTALL,
)
_TYPES = re.compile(
    r"input type \((\S+)\) and (?:weight|bias) type \((\S+)\) should be the same", re.IGNORECASE
)


def is_device_mismatch(error: BaseException) -> bool:
    """Whether torch raised `error` because tensors on different devices met.

    Args:
        error: any exception; one that flatout raised itself does not count.

    Example:
        >>> is_device_mismatch(RuntimeError("Tensor on device meta is not on the expected device cpu!"))
        True
        >>> is_device_mismatch(RuntimeError("CUDA out of memory"))
        False
    """
    if not isinstance(error, RuntimeError) or isinstance(error, FlatoutError):
        return False
    types = _TYPES.search(str(error))
    if types:  # the same words complain about dtypes: torch.cuda.FloatTensor and torch.cuda.HalfTensor
        return _device_of_type(types[1]) != _device_of_type(types[2])
    return _TEXTS.search(str(error)) is not None


def explain_mismatch(
    error: BaseException, model: nn.Module, batch: Any = None, call: Callable[[], Any] | None = None
) -> DeviceMismatchError:
    """The error to raise instead of torch's: what lies where, which tensor strayed, and what to write.

    Args:
        error: what torch raised, see `is_device_mismatch`. It becomes the `__cause__`.
        model: the module that was called.
        batch: what it was called with, in any nest.
        call: runs the failing computation (forward and loss) once more, so that the cause can be found.
            The model, its gradients and the random states are put back afterwards. None: tell as much as
            the traceback does.

    Returns:
        The error; raise it.

    Example:
        >>> model, x = torch.nn.Linear(3, 2, device="meta"), torch.ones(1, 3)
        >>> try:
        ...     model(x)
        ... except RuntimeError as error:
        ...     print("flatout.to_device" in str(explain_mismatch(error, model, x, lambda: model(x))))
        True
    """
    inner = getattr(model, "_orig_mod", model)
    model = inner if isinstance(inner, nn.Module) else model  # torch.compile wraps a model
    frames = _frames(error.__traceback__)
    inputs = name_inputs(batch) or _arguments(frames, model)
    named = name_model(model) + inputs + _other_modules(frames, model)
    rerun = run_again(model, call, named) if call else Rerun()
    if rerun.error is not None and is_device_mismatch(rerun.error):
        frames = _frames(rerun.error.__traceback__)  # they go deeper where the first run was compiled
    home = _home(model, inputs)
    strays = _strays_of_rerun(rerun, frames, home) or _strays_of_traceback(frames, named, home)
    lines = [
        _headline([tensor for tensor, _ in named + strays]),
        f"  model: {_where_parts_are(model)}",
        f"  inputs: {_list(inputs) or 'none known'}",
        *_failed_in(frames, model, named),
        *[f"  astray: {origin.what}, shape {tuple(t.shape)}, is on {t.device}" for t, origin in strays[:3]],
        f"  fix: {_fix(strays, named, home)}",
        f"  torch said: {error}",
    ]
    explained = DeviceMismatchError("\n".join(lines))
    explained.__cause__ = error
    return explained


@contextmanager
def explain_device_errors(
    model: nn.Module, batch: Any = None, call: Callable[[], Any] | None = None
) -> Iterator[None]:
    """Inside, torch's errors about mixed devices become a `DeviceMismatchError` that says what to do.

    Args:
        model: the module that is called inside.
        batch: what it is called with, so that the message can name it.
        call: runs the computation once more, see `explain_mismatch`. None: the traceback must do.

    Raises:
        DeviceMismatchError: in place of such an error. All other errors pass unchanged.

    Example:
        >>> model, x = torch.nn.Linear(3, 2, device="meta"), torch.ones(1, 3)
        >>> with explain_device_errors(model, x):  # doctest: +ELLIPSIS
        ...     model(x)
        Traceback (most recent call last):
            ...
        flatout.errors.DeviceMismatchError: Tensors on different devices met in one operation: ...
    """
    try:
        yield
    except RuntimeError as error:
        if not is_device_mismatch(error):
            raise
        raise explain_mismatch(error, model, batch, call) from error


def _device_of_type(name: str) -> str:
    """The device in "torch.cuda.FloatTensor", "MPSFloatType" or "torch.FloatTensor"."""
    found = re.match(r"torch\.(\w+)\.|(MPS|CUDA|XPU)\w+Type", name)
    return (found[1] or found[2]).lower() if found else "cpu"


def _frames(traceback: TracebackType | None) -> list[TracebackType]:
    frames = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    return frames


def _arguments(frames: list[TracebackType], model: nn.Module) -> Named:
    """The arguments of the model's forward, where it was reached and no batch was given."""
    for traceback in frames:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "forward" and frame.f_locals.get("self") is model:
            names = frame.f_code.co_varnames[1 : frame.f_code.co_argcount]
            return [pair for name in names for pair in name_inputs(frame.f_locals.get(name), name)]
    return []


def _modules_in(frames: list[TracebackType]) -> list[nn.Module]:
    """The modules whose methods are in the traceback, the innermost last."""
    holders = [traceback.tb_frame.f_locals.get("self") for traceback in frames]
    return [holder for holder in holders if isinstance(holder, nn.Module)]


def _other_modules(frames: list[TracebackType], model: nn.Module) -> Named:
    """What lies in modules beside the model, such as the weights of a loss."""
    parts = {id(part) for part in model.modules()}
    known = {id(tensor) for tensor, _ in name_model(model)}
    others = {id(m): m for m in _modules_in(frames) if id(m) not in parts}.values()
    pairs = [pair for module in others for pair in name_model(module, of=f" of {type(module).__name__}")]
    return [(tensor, origin) for tensor, origin in pairs if id(tensor) not in known]


def _home(model: nn.Module, inputs: Named) -> torch.device:
    """The device on which everything should be.

    That of the parameters, unless they all lie on the CPU while the inputs are on an accelerator: then the
    model was left behind.
    """
    parts: list[Tensor] = [*model.parameters()]
    of_model = [d for d, _ in Counter(t.device for t in parts or model.buffers()).most_common()]
    of_inputs = [d for d, _ in Counter(t.device for t, _ in inputs).most_common()]
    devices = of_model + of_inputs
    accelerated = [device for device in devices if device.type not in ("cpu", "meta")]
    return (accelerated or devices or [torch.device("cpu")])[0]


def _strays_of_rerun(rerun: Rerun, frames: list[TracebackType], home: torch.device) -> Named:
    """The tensors of the failing call that are not at home; those without dimensions may be anywhere."""
    if rerun.error is None or not is_device_mismatch(rerun.error):
        return []
    line = _origins_in_last_line(frames)
    away = [tensor for tensor in rerun.met if not same_device(tensor.device, home)]
    strays = []
    for tensor in sorted(away, key=lambda tensor: tensor.dim() == 0):
        by_name = [origin for other, origin in line if other is tensor]
        unknown = Origin("unknown", "a tensor on that line", f'move it with .to("{DEVICE}")')
        strays.append((tensor, rerun.origins.get(tensor) or (by_name or [unknown])[0]))
    return strays


def _strays_of_traceback(frames: list[TracebackType], named: Named, home: torch.device) -> Named:
    """Without a second run: what the failing line names or the failing module holds, away from home."""
    origins = {id(tensor): origin for tensor, origin in named}
    candidates = list(_origins_in_last_line(frames))
    modules = _modules_in(frames)
    if modules:
        own = {id(tensor) for tensor in (*modules[-1].parameters(False), *modules[-1].buffers(False))}
        candidates += [pair for pair in named if id(pair[0]) in own]
    away = [(t, origins.get(id(t), origin)) for t, origin in candidates if not same_device(t.device, home)]
    unique = {id(tensor): (tensor, origin) for tensor, origin in reversed(away)}
    return list(reversed(unique.values()))


def _origins_in_last_line(frames: list[TracebackType]) -> Named:
    of_user = [traceback for traceback in frames if is_users(traceback.tb_frame.f_code)]
    return origins_in_line(of_user[-1]) if of_user else []


def _fix(strays: Named, named: Named, home: torch.device) -> str:
    """The cure of the first stray; else of anything in the model or the batch that is not at home."""
    away = [(tensor, origin) for tensor, origin in named if not same_device(tensor.device, home)]
    order = strays or away
    if not order:
        return (
            f'put all tensors of that line on one device: .to("{home}"), or device="{home}" where one is made'
        )
    fixes = list(dict.fromkeys(origin.fix.replace(DEVICE, str(home)) for _, origin in order))
    if strays:
        return fixes[0]
    return "; ".join(fixes[:3])


def _failed_in(frames: list[TracebackType], model: nn.Module, named: Named) -> list[str]:
    """The module that failed, and the line of the user's code that led there."""
    said = []
    modules = _modules_in(frames)
    if modules:
        said.append(_name_of(modules[-1], model, named))
    of_user = [traceback for traceback in frames if is_users(traceback.tb_frame.f_code)]
    if of_user:
        last = of_user[-1]
        place = place_of(last.tb_frame.f_code, last.tb_lasti, last.tb_lineno)
        said.append(f"{place.where}: {place.code}")
    return [f"  failed in: {', '.join(said)}"] if said else []


def _name_of(module: nn.Module, model: nn.Module, named: Named) -> str:
    """Such as "encoder.fc (Linear)"."""
    kind = type(module).__name__
    for name, part in model.named_modules():
        if part is module:
            return f"{name or 'model'} ({kind})"
    own = {id(tensor) for tensor in module.parameters(recurse=False)}
    for tensor, origin in named:
        if id(tensor) in own and origin.kind == "hidden":
            return f"{origin.path.rpartition('.')[0]} ({kind}, which model.named_modules() does not list)"
    return f"{kind} (not part of the model)"


def _headline(tensors: list[Tensor]) -> str:
    devices = sorted({str(tensor.device) for tensor in tensors})
    where = " and ".join(devices) if len(devices) > 1 else "the message of torch below says which"
    return f"Tensors on different devices met in one operation: {where}."


def _where_parts_are(model: nn.Module) -> str:
    """Such as "all 12 parameters: cuda:0; buffer mask (3,): cpu"."""
    named = name_model(model)
    said = []
    for kind, plural in (
        ("parameter", "parameters"),
        ("buffer", "buffers"),
        ("attribute", ""),
        ("hidden", ""),
    ):
        pairs = [pair for pair in named if pair[1].kind == kind]
        devices = {tensor.device for tensor, _ in pairs}
        if len(devices) == 1 and len(pairs) > 1 and plural:
            said.append(f"all {len(pairs)} {plural}: {devices.pop()}")
        elif pairs:
            said.append(_list(pairs))
    return "; ".join(said) or "no parameters and no buffers"


def _list(pairs: Named) -> str:
    """Names, shapes and devices; many that lie on one device are counted."""
    devices = list(dict.fromkeys(tensor.device for tensor, _ in pairs))
    said = []
    for device in devices:
        here = [(tensor, origin) for tensor, origin in pairs if tensor.device == device]
        names = [f"{_short(origin)} {tuple(tensor.shape)}" for tensor, origin in here[:_MOST_NAMES]]
        rest = len(here) - len(names)
        said.append(", ".join(names) + (f" and {rest} more" if rest else "") + f": {device}")
    return "; ".join(said)


def _short(origin: Origin) -> str:
    return f"{origin.kind} {origin.path}" if origin.kind in ("parameter", "buffer") else origin.path
