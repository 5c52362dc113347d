"""What the lab on reading the loss found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from flatout.labs.logging_lab import COURSE_EPOCHS, OnDevice, Row
from flatout.report import text

_MUCH = 0.2  # of an epoch: bounds that wide say nothing about the loop


def verdict(found: Sequence[OnDevice]) -> str:
    """What reading the loss costs on each device, in one sentence."""
    said = "; and ".join(_of_device(one) for one in found)
    return f"{said[0].upper()}{said[1:]}."


def title(found: Sequence[OnDevice]) -> str:
    """Of the picture: what reading the loss costs where it costs most, in a few words."""
    real = [one for one in found if not one.a_read.has_zero]
    if not real:
        if any(_too_noisy(one) for one in found):
            return "Too much else goes on here to tell what reading the loss costs"
        return "How often the loss is read makes no difference beyond noise"
    one = max(real, key=lambda one: one.a_read.estimate)
    cost = _seconds(one.a_read.estimate)
    return f"Each read of the loss costs {cost} on {one.device}, {_share(one)} of an epoch"


def lessons(found: Sequence[OnDevice]) -> list[str]:
    """What to take along, in sentences."""
    said = []
    for one in found:
        whole = one.never.epoch.median
        said.append(
            f"On {one.device} an epoch that reads nothing still takes {text.seconds(whole)}: that is Python, "
            f"starting operators and computing, and no interval makes it less."
        )
    bars = [one for one in found if one.device != "cpu"]
    if bars:
        said.append(
            "A read waits until the GPU has done all it was given, and meanwhile nothing new is started. "
            "To keep every loss and wait for none, gather them on the GPU: losses.append(loss.detach())."
        )
    else:
        said.append(
            "On a CPU there is nothing to wait for: when loss_function returns, the loss is there. A GPU "
            "works behind the program, and a read waits until it has caught up. On the course's RTX 3080 Ti "
            "20,000 epochs took 11.29 s with a read every epoch and 10.38 s with one every 200: 46 µs a "
            "read. The other 519 µs of an epoch are no read's fault."
        )
    return said


def _of_device(one: OnDevice) -> str:
    read, epoch = one.a_read, text.seconds(one.never.epoch.median)
    most = _seconds(max(abs(read.low), abs(read.high)))
    if read.has_zero and _too_noisy(one):
        return (
            f"on {one.device} too much else goes on to tell what reading the loss costs: {most} of an "
            f"epoch's {epoch} could be a read or noise"
        )
    if read.has_zero:
        return (
            f"on {one.device} how often the loss is read makes no difference beyond noise: a read costs "
            f"{most} at the most, of an epoch's {epoch}"
        )
    real = [_every(row) for row in one.rows if row.only_noise is False]
    differs = (
        f"read {' and '.join(real)}, the difference from never is more than noise"
        if real
        else "no interval by itself differs from never by more than noise"
    )
    return (
        f"on {one.device} each read of the loss costs {_seconds(read.estimate)} ({_seconds(read.low)} to "
        f"{_seconds(read.high)}), {_share(one)} of an epoch; {differs}"
    )


def _too_noisy(one: OnDevice) -> bool:
    return max(abs(one.a_read.low), abs(one.a_read.high)) > _MUCH * one.never.epoch.median


def _share(one: OnDevice) -> str:
    return f"{text.two_digits(100 * one.a_read.estimate / one.never.epoch.median):g} %"


def _seconds(value: float) -> str:
    return text.seconds(text.two_digits(value))


def _every(row: Row) -> str:
    return "every epoch" if row.every == 1 else f"every {row.every:,} epochs"


def scaled(epochs: int) -> str:
    """How the runs relate to the course's."""
    if epochs == COURSE_EPOCHS:
        return f"A run is {epochs:,} epochs, as in the course."
    return f"A run is {epochs:,} epochs; the course trains {COURSE_EPOCHS:,}."
