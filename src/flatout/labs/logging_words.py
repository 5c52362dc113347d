"""What the lab on reading the loss found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from flatout.labs.logging_lab import COURSE_EPOCHS, OnDevice, Row
from flatout.report import text

_MUCH = 0.2  # of an epoch: bounds that wide say nothing about the loop


def verdict(found: Sequence[OnDevice]) -> str:
    """What reading the loss costs on each device, in one sentence."""
    said = "; ".join(_of_device(one) for one in found)
    return f"{said[0].upper()}{said[1:]}."


def title(found: Sequence[OnDevice]) -> str:
    """Of the picture: what reading the loss costs where it costs most, in a few words."""
    real = [one for one in found if not one.a_read.only_noise and one.a_read.estimate > 0]
    if not real:
        if any(_too_noisy(one.rows[0]) for one in found):
            return "Too much else goes on here to tell what reading the loss costs"
        return "How often the loss is read makes no difference beyond noise"
    one = max(real, key=lambda one: one.a_read.estimate)
    share = 100 * one.a_read.estimate / one.never.epoch.median
    cost = text.seconds(text.two_digits(one.a_read.estimate))
    return f"Each read of the loss costs {cost} on {one.device}, {text.two_digits(share):g} % of an epoch"


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
    frequent = one.rows[0]
    real = [row for row in one.rows if row.against_never is not None and not row.against_never.only_noise]
    if frequent not in real:
        return f"on {one.device} {_nothing(frequent)}" + _except(real)
    against = frequent.against_never
    assert against is not None
    share = f"{text.two_digits(100 * abs(against.estimate) / one.never.epoch.median):g}"
    sign = "longer" if against.estimate > 0 else "shorter"
    rest = [row for row in one.rows[1:] if row in real]
    less = (
        "read less often, no difference is more than noise"
        if not rest
        else f"{_listed(rest)} makes a difference, too; else there is none beyond noise"
    )
    return (
        f"on {one.device} reading the loss {_every(frequent)} makes an epoch "
        f"{text.seconds(text.two_digits(abs(against.estimate)))} ({share} %) {sign}, and {less}"
    )


def _nothing(row: Row) -> str:
    against = row.against_never
    assert against is not None
    most = text.two_digits(max(abs(against.low), abs(against.high)))
    if _too_noisy(row):
        return (
            f"too much else goes on to tell what reading the loss costs: {text.seconds(most)} of an epoch's "
            f"{text.seconds(row.epoch.median)} could be it or noise"
        )
    return (
        f"reading the loss {_every(row)} or never is the same within the noise: "
        f"it is {text.seconds(most)} an epoch at the most, of {text.seconds(row.epoch.median)}"
    )


def _too_noisy(row: Row) -> bool:
    against = row.against_never
    assert against is not None
    return max(abs(against.low), abs(against.high)) > _MUCH * row.epoch.median


def _except(real: Sequence[Row]) -> str:
    return f", though {_listed(real)} differs" if real else ""


def _listed(rows: Sequence[Row]) -> str:
    return " and ".join(_every(row) for row in rows)


def _every(row: Row) -> str:
    return "every epoch" if row.every == 1 else f"every {row.every:,} epochs"


def scaled(epochs: int) -> str:
    """How the runs relate to the course's."""
    if epochs == COURSE_EPOCHS:
        return f"A run is {epochs:,} epochs, as in the course."
    return f"A run is {epochs:,} epochs; the course trains {COURSE_EPOCHS:,}."
