"""The lab on calling a layer for the terminal: what acts in which way, the frames, and the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from flatout.report import text
from flatout.report.fitting import Fitting
from flatout.report.lab_view import Seen, lab_view, micro, signed
from flatout.report.words import Words


def call_view(seen: Seen) -> RenderableType:
    """All of the lab.

    Args:
        seen: its document, see `flatout.labs.call_lab.document`, with "left_out" and "measured_on".
    """
    return lab_view(seen, _parts(seen))


def _parts(seen: Seen) -> Iterator[RenderableType]:
    yield Fitting(
        ("what acts", "layer(x)", "layer.forward(x)"),
        [(_answers(one), None if one["by_call"] != one["by_forward"] else "dim") for one in seen["observed"]],
        left=("what acts",),
    )
    yield Words("Each was set on a fresh layer, once for each way, and watched.", "dim")
    yield ""
    yield Fitting(
        ("a call", "Python frames", "it takes", "quartiles, µs", "more, µs", "from … to, µs", ""),
        [(_cells(row), "dim" if row["only_noise"] else None) for row in seen["timed"]],
        spare=("quartiles, µs", "from … to, µs"),
        left=("a call", ""),
    )
    longest = max(seen["timed"], key=lambda row: len(row["frames"]))
    plain = next(row for row in seen["timed"] if row["more"] is not None)
    yield Words(
        f"The frames of {plain['what']}: {', '.join(plain['frames'])}. Of {longest['what']}: "
        f"{', '.join(longest['frames'])}.",
        "dim",
    )
    yield Words(
        f"{seen['rounds']} rounds, the order drawn anew for each. More: than forward, compared round by "
        f"round, and between what bounds that lies, {100 * seen['level']:.0f} % sure.",
        "dim",
    )


def _answers(one: dict[str, Any]) -> dict[str, str]:
    return {
        "what acts": one["what"],
        "layer(x)": "yes" if one["by_call"] else "no",
        "layer.forward(x)": "yes" if one["by_forward"] else "no",
    }


def _cells(row: dict[str, Any]) -> dict[str, str]:
    low, high = row["quartiles"]
    more = row["more"]
    return {
        "a call": row["what"],
        "Python frames": text.count(len(row["frames"])),
        "it takes": micro(row["us"]),
        "quartiles, µs": f"{low:.3g}–{high:.3g}",
        "more, µs": "" if more is None else signed(more["us"]),
        "from … to, µs": "" if more is None else f"{signed(more['low'])} … {signed(more['high'])}",
        "": "" if more is None else "only noise" if row["only_noise"] else "real",
    }
