"""A snapshot of prices: what was asked, where, and on which day."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from flatout.gpus.card import Card

_FILE = Path(__file__).parent / "prices.csv"
OLD_AFTER_DAYS = 183  # six months


@dataclass(frozen=True)
class Price:
    """A price with where it is from.

    Attributes:
        usd: dollars: for a card, an hour of it, or a kWh.
        source: who asked it; "you" where it was given.
        day: when it held; None where it was given.
    """

    usd: float
    source: str
    day: date | None

    def described(self, today: date) -> str:
        """Where it is from, and that it is old where it is.

        >>> Price(0.22, "a shop", date(2025, 1, 1)).described(date(2026, 1, 1))
        "a shop, 2025-01-01: 12 months old, look up today's"
        """
        if self.day is None:
            return self.source
        days = (today - self.day).days
        old = f": {round(days / 30.44)} months old, look up today's" if days > OLD_AFTER_DAYS else ""
        return f"{self.source}, {self.day}{old}"


@cache
def snapshot() -> dict[tuple[str, str], Price]:
    """The prices by kind ("buy", "rent", "electricity") and card."""
    with _FILE.open(newline="", encoding="utf-8") as file:
        return {
            (row["kind"], row["card"]): Price(
                float(row["usd"]), row["source"], date.fromisoformat(row["date"])
            )
            for row in csv.DictReader(file)
        }


def rent_of(card: Card) -> Price | None:
    """What an hour of the card was asked for; None where that is unknown."""
    return snapshot().get(("rent", card.name))


def price_of(card: Card) -> Price | None:
    """What the card was sold for, else its launch price; None where both are unknown."""
    if (found := snapshot().get(("buy", card.name))) is not None:
        return found
    if card.price_usd is None:
        return None
    day = date.fromisoformat((card.release + "-01-01")[:10])
    return Price(card.price_usd, "launch price", day)


def electricity() -> Price:
    """What a kWh was sold for."""
    return snapshot()["electricity", ""]
