"""Cards side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flatout.errors import CardError
from flatout.gpus import figures
from flatout.gpus.card import Card
from flatout.gpus.rank import WHY, ranked, training_speed
from flatout.gpus.search import find_all


@dataclass(frozen=True)
class Comparison:
    """Cards side by side, ranked for training; prints as a table.

    Attributes:
        cards: the fastest first.
        notes: what to know about how they were found, a sentence each.
        why: by what they are ranked.
    """

    cards: tuple[Card, ...]
    notes: tuple[str, ...]
    why: str = WHY

    @property
    def speeds(self) -> tuple[float | None, ...]:
        """How many times as fast as an RTX 3090 each trains; None where it is unknown."""
        return tuple(training_speed(card) for card in self.cards)

    @property
    def verdict(self) -> str:
        """Who comes first, and who has the most memory, in a sentence or two."""
        return _verdict(self.cards, self.speeds)

    @property
    def rows(self) -> dict[str, tuple[str, ...]]:
        """Each figure of each card by the figure's name; figures that no card has are left out."""
        speeds = (figures.UNKNOWN if s is None else f"{s:.2f}×" for s in self.speeds)
        table = {"training": tuple(speeds)}
        each = [figures.rows(card) for card in self.cards]
        for label in each[0]:
            cells = tuple(cells[label] for cells in each)
            if set(cells) - {figures.UNKNOWN, figures.NONE}:
                table[label] = cells
        return table

    def document(self) -> dict[str, Any]:
        """What `flatout gpus --json` prints."""
        cards = [document(card) for card in self.cards]
        return {"cards": cards, "ranked_by": self.why, "verdict": self.verdict, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [["", *(card.short_name for card in self.cards)]]
        lines += [[label, *cells] for label, cells in self.rows.items()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = (
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in lines
        )
        return "\n".join([*table, "", self.verdict, self.why, *self.notes])


def compare(*names: str) -> Comparison:
    """Put cards side by side, ranked for training.

    Args:
        names: as `find` takes them. A name that stands for several cards brings all of them, with a note.

    Raises:
        CardNotFoundError: there is no card of one of the names.

    >>> comparison = compare("RTX 3080 Ti", "RTX 4090")
    >>> [card.short_name for card in comparison.cards], comparison.rows["bandwidth"]
    (['RTX 4090', 'RTX 3080 Ti'], ('1,008 GB/s', '912 GB/s'))
    """
    if not names:
        raise CardError("give at least one card to compare, such as compare('RTX 3090', 'RTX 4090')")
    found: dict[str, Card] = {}
    notes = []
    for name in names:
        several = find_all(name)
        found |= {card.name: card for card in several}
        if len(several) > 1:
            which = ", ".join(card.short_name for card in several)
            notes.append(f"{name!r} is the name of {len(several)} cards, and all are shown: {which}.")
    return Comparison(ranked(found.values()), tuple(notes))


def document(card: Card) -> dict[str, Any]:
    """A card as JSON takes it; what is unknown is null.

    >>> from flatout.gpus import find
    >>> document(find("M3 Pro"))["fp32_tflops"] is None
    True
    """
    name = card.decoded
    speed = training_speed(card)
    return asdict(card) | {
        "unified": card.unified,
        "tier": name.tier,
        "suffix": name.suffix,
        "meaning": list(name.meaning),
        "training_speed": None if speed is None else round(speed, 3),
    }


def _verdict(cards: tuple[Card, ...], speeds: tuple[float | None, ...]) -> str:
    first, speed = cards[0], speeds[0]
    said = []
    if speed is None:
        said.append("None can be ranked: a figure the rank needs is unknown for each.")
    elif len(cards) > 1:
        second = next((s for s in speeds[1:] if s is not None), None)
        lead = "" if second is None else f", {speed / second:.2f}× the speed of the next"
        said.append(f"{first.short_name} comes first for training{lead}.")
    known = [card for card in cards if card.memory_gb is not None]
    if len(cards) > 1 and known:
        most = max(card.memory_gb or 0 for card in known)
        holders = [card.short_name for card in known if card.memory_gb == most]
        if first.short_name in holders and len(holders) == 1:
            said.append(f"It also has the most memory ({most:g} GB).")
        elif first.short_name not in holders:
            said.append(f"The most memory ({most:g} GB) is in: {', '.join(holders)}.")
    unknown = [card.short_name for card, s in zip(cards, speeds, strict=True) if s is None]
    if unknown and speed is not None:
        said.append(f"Not ranked, for the maker tells no rate: {', '.join(unknown)}.")
    return " ".join(said)
