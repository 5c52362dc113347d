"""The lab on reading the loss for the terminal: what a read costs, and which differences are only noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.console import RenderableType

from flatout.report import text
from flatout.report.fitting import Fitting
from flatout.report.lab_view import Seen, lab_view, micro, signed
from flatout.report.words import Words

_COLUMNS: Final = (
    "device", "loss read", "reads", "an epoch", "quartiles, µs", "against never, µs", "from … to, µs", "",
)  # fmt: skip
_SPARE: Final = ("reads", "quartiles, µs", "from … to, µs")


def logging_view(seen: Seen) -> RenderableType:
    """All of the lab.

    Args:
        seen: its document, see `flatout.labs.logging_lab.document`, with "verdict", "lessons", "scaled",
            "left_out" and "measured_on".
    """
    return lab_view(seen, _parts(seen))


def _parts(seen: Seen) -> Iterator[RenderableType]:
    rows = [(_cells(one["device"], row), _style(row)) for one in seen["devices"] for row in one["rows"]]
    yield Fitting(_COLUMNS, rows, spare=_SPARE, left=("device", "loss read", ""))
    yield Words(
        f"{seen['rounds']} rounds of short turns, in an order drawn anew. {seen['scaled']} Against never: "
        f"compared round by round, and between what bounds that lies, {100 * seen['level']:.0f} % sure. "
        "Where they have zero between them it is only noise, and so is all that reads less often.",
        "dim",
    )
    yield ""
    for one in seen["devices"]:
        yield Words(f"One read on {one['device']}: {_cost(one['us_per_read'])}", "bold")
        yield Words(_course(one, seen["course_epochs"]))
    yield Words(
        "A read: the slope of the time over the count of reads, between the arm that reads most and each "
        "other one, round by round; the middle of all.",
        "dim",
    )


def _cells(device: str, row: dict[str, Any]) -> dict[str, str]:
    low, high = row["quartiles"]
    against = row["against_never"]
    cells = {
        "device": device,
        "loss read": _every(row["every"]),
        "reads": text.count(row["reads"]),
        "an epoch": micro(row["us_per_epoch"]),
        "quartiles, µs": f"{text.number(_short(low))}–{text.number(_short(high))}",
        "against never, µs": "",
        "from … to, µs": "",
        "": "",
    }
    if against is not None:
        cells |= {
            "against never, µs": signed(against["us"]),
            "from … to, µs": f"{signed(against['low'])} … {signed(against['high'])}",
            "": "only noise" if row["only_noise"] else "real",
        }
    return cells


def _course(one: dict[str, Any], epochs: int) -> str:
    """What that makes of the course's run."""
    read, never = one["us_per_read"], one["rows"][-1]["us_per_epoch"]
    most = micro(text.two_digits(max(abs(read["low"]), abs(read["high"])) * epochs))
    cost = f"about {micro(text.two_digits(read['us'] * epochs))}"
    if read["low"] <= 0 <= read["high"]:
        cost = f"{most} at the most"
    return (
        f"The {epochs:,} epochs of the course would take {micro(never * epochs)} here without a read; "
        f"{epochs:,} reads add {cost}."
    )


def _style(row: dict[str, Any]) -> str | None:
    return "dim" if row["only_noise"] else None


def _every(every: int | None) -> str:
    if every is None:
        return "never"
    return "every epoch" if every == 1 else f"every {every:,}"


def _cost(read: dict[str, float]) -> str:
    bounds = f"between {signed(read['low'])} and {signed(read['high'])} µs"
    if read["low"] <= 0 <= read["high"]:
        return f"nothing that can be told from noise ({bounds})"
    return f"{micro(abs(read['us']))}{' less' if read['us'] < 0 else ''} ({bounds})"


def _short(us: float) -> float:
    return float(f"{us:.3g}")
