"""The catalogue: one row a card in `cards/*.csv`, read and checked.

What can be computed is: the bandwidth from the bus and the data rate, the FP32 rate from the cores and the
clock. A row whose figures do not agree is malformed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from flatout.errors import CardError
from flatout.gpus.card import Card

FOLDER = Path(__file__).parent / "cards"

_WHOLE = ("bus_bits", "boost_mhz", "cores", "sms", "power_w")
_NUMBERS = (
    *("memory_gb", "memory_gbps", "bandwidth_gbs", "fp32_tflops", "fp16_tflops", "tf32_tflops", "fp8_tflops"),
    *("int8_tops", "price_usd"),
)
_NEEDED = (
    *("name", "vendor", "segment", "family", "architecture", "generation", "release", "memory_type"),
    *("source", "date"),
)
_CHOICES = {
    "vendor": ("NVIDIA", "AMD", "Intel", "Apple"),
    "segment": ("consumer", "laptop", "workstation", "data-centre", "integrated"),
    "memory_type": (
        *("GDDR5", "GDDR5X", "GDDR6", "GDDR6X", "GDDR7", "HBM2", "HBM2e", "HBM3", "HBM3e"),
        *("LPDDR4X", "LPDDR5", "LPDDR5X"),
    ),
}
_DATE = re.compile(r"\d{4}(-[01]\d(-[0-3]\d)?)?")
# Two operations a core and clock, one multiply-add; these issue two at once.
_DUAL_ISSUE = ("RDNA 3", "RDNA 3.5", "RDNA 4", "CDNA 3", "CDNA 4")
_TOLERANCE = 0.03  # the makers round


@cache
def cards() -> tuple[Card, ...]:
    """Every card of the catalogue, in the order of the files.

    Raises:
        CardError: a row is malformed; the message names the file and the line.

    >>> len(cards()) >= 150
    True
    """
    return tuple(card for path in sorted(FOLDER.glob("*.csv")) for card in read(path))


def read(path: Path) -> list[Card]:
    """The cards of one file.

    Raises:
        CardError: a row is malformed.
    """
    found = []
    for line, row in _rows(path):
        card, problem = _card(row)
        if card is None:
            raise CardError(f"{path.name}:{line}: {problem}")
        found.append(card)
    return found


def problems(path: Path) -> list[str]:
    """What is wrong in a file, each with its line: malformed rows, figures that do not agree, doubles."""
    found: list[str] = []
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        card, problem = _card(row)
        said = [problem] if card is None else disagreements(card)
        name = row.get("name") or ""
        if name in lines:
            said.append(f"{name} is there already, on line {lines[name]}")
        lines.setdefault(name, line)
        found += [f"{path.name}:{line}: {each}" for each in said]
    return found


def disagreements(card: Card) -> list[str]:
    """The figures of a card that do not agree with what they are computed from."""
    found = []
    if card.bus_bits and card.memory_gbps and card.bandwidth_gbs:
        computed = card.bus_bits / 8 * card.memory_gbps
        if abs(card.bandwidth_gbs / computed - 1) > _TOLERANCE:
            found.append(
                f"bandwidth_gbs is {card.bandwidth_gbs:g}, but {card.bus_bits} bits at {card.memory_gbps:g} "
                f"Gbit/s make {computed:g}"
            )
    if card.cores and card.boost_mhz and card.fp32_tflops:
        flops = 4 if card.architecture in _DUAL_ISSUE else 2
        computed = flops * card.cores * card.boost_mhz / 1e6
        if abs(card.fp32_tflops / computed - 1) > _TOLERANCE:
            found.append(
                f"fp32_tflops is {card.fp32_tflops:g}, but {card.cores} cores at {card.boost_mhz} MHz make "
                f"{computed:.4g}"
            )
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str | Any, str | Any]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        expected = [field.name for field in fields(Card)]
        if reader.fieldnames != expected:
            raise CardError(f"{path.name}:1: the columns must be {','.join(expected)}")
        for row in reader:
            yield reader.line_num, row


def _card(row: dict[str | Any, str | Any]) -> tuple[Card | None, str]:
    """The card of a row, or None and what is wrong with the row."""
    if None in row or None in row.values():
        return None, f"a row must have {len(fields(Card))} cells"
    values: dict[str, Any] = {key: cell.strip() for key, cell in row.items()}
    for key in _NEEDED:
        if not values[key]:
            return None, f"{key} is empty"
    for key, choices in _CHOICES.items():
        if values[key] not in choices:
            return None, f"{key} must be one of {', '.join(choices)}, got {values[key]!r}"
    for key in ("release", "date"):
        if not _DATE.fullmatch(values[key]):
            return None, f"{key} must be a date such as 2022-03-29, got {values[key]!r}"
    for key in (*_WHOLE, *_NUMBERS):
        try:
            values[key] = _number(values[key], int if key in _WHOLE else float)
        except ValueError:
            kind = "whole number" if key in _WHOLE else "number"
            return None, f"{key} must be a positive {kind} or empty, got {values[key]!r}"
    capability = values["compute_capability"] or None
    if capability is not None and not re.fullmatch(r"\d+\.\d", capability):
        return None, f"compute_capability must be such as 8.6 or empty, got {capability!r}"
    return Card(**values | {"compute_capability": capability}), ""


def _number(cell: str, kind: type[int] | type[float]) -> float | None:
    if not cell:
        return None
    value = kind(cell)
    if not 0 < value < 1e6:
        raise ValueError(cell)
    return value
