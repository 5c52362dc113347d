"""Buy a card, or rent one by the hour: when does buying pay for itself?

A card of your own costs its price once and its electricity by the hour; a rented one costs its rent by the
hour. After price / (rent - electricity) hours both have cost the same. What is left out, on both sides: the
computer around the card, what the card still brings when sold, storage and transfer at the landlord.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from flatout.errors import CardError
from flatout.gpus.card import Card
from flatout.gpus.catalogue import cards
from flatout.gpus.prices import Price, electricity, price_of, rent_of
from flatout.gpus.search import find

DAYS_A_MONTH = 365.25 / 12

UNIFIED = (
    "Unified memory (Apple, Ryzen AI Max, GB10) is shared by CPU and GPU: it holds large models for little "
    "money, but the operating system and your programs need part of it, and its bandwidth is a fraction of a "
    "large card's."
)
BANDWIDTH = (
    "Bandwidth is how fast the memory is read: a step that reads 10 GB of weights and activations takes at "
    "least 10 ms at 1,000 GB/s and 100 ms at 100 GB/s, whatever the arithmetic."
)


@dataclass(frozen=True)
class BreakEven:
    """When buying has paid for itself.

    Attributes:
        card: the card that is meant; None where none is.
        price: what it costs to buy; None where that is unknown.
        rent: what an hour of it costs; None where that is unknown.
        electricity_per_hour: what an hour of electricity costs at full power, in dollars; None where the
            power is unknown.
        hours: the hours after which buying and renting have cost the same; None where that never comes or is
            unknown.
        months: the same in months of so many hours a day.
        reason: why there are no hours; empty where there are.
    """

    card: Card | None
    price: Price | None
    rent: Price | None
    electricity_per_hour: float | None
    hours: float | None
    months: float | None
    reason: str


@dataclass(frozen=True)
class Advice:
    """Buy or rent, and which cards hold the memory.

    Attributes:
        memory_gb: the memory that is needed, in GB; None where all will do.
        hours_per_day: the hours a day that the card would work.
        electricity: the price of a kWh.
        main: the break-even of the prices that were given; None where no price was.
        cards: the cards of the catalogue that hold the memory with what is known of their prices, the
            cheapest first; without laptops.
        today: the day the ages of prices are counted from.
        notes: what was assumed, a sentence each.
    """

    memory_gb: float | None
    hours_per_day: float
    electricity: Price
    main: BreakEven | None
    cards: tuple[BreakEven, ...]
    today: date
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Buy or rent, in a sentence."""
        if self.main is None:
            return "Without a price and a rent of your own, these are the prices of the snapshot."
        if self.main.price is None or self.main.rent is None:
            return f"Buy or rent cannot be said: {self.main.reason}; give it with --price or --rent."
        if self.main.hours is None or self.main.months is None:
            return f"Rent: {self.main.reason}."
        hours, months = self.main.hours, self.main.months
        return (
            f"Buying pays for itself after {hours:,.0f} hours: {span(months)} at {self.hours_per_day:g} "
            "hours a day. Rent if you will use it less, buy if more."
        )

    def document(self) -> dict[str, Any]:
        """What `flatout advise --json` prints; what is unknown is null."""
        return {
            "memory_gb": self.memory_gb,
            "hours_per_day": self.hours_per_day,
            "electricity": _price(self.electricity, self.today),
            "break_even": None if self.main is None else _break_even(self.main, self.today),
            "verdict": self.verdict,
            "cards": [_break_even(each, self.today) for each in self.cards],
            "notes": list(self.notes),
            "explained": [BANDWIDTH, UNIFIED],
        }

    def __str__(self) -> str:
        lines = [self.verdict, *self.notes]
        for each in self.cards:
            if each.card is not None and each.hours is not None:
                lines.append(f"{each.card.short_name}: buying pays after {each.hours:,.0f} hours")
        return "\n".join(lines)


def span(months: float) -> str:
    """Months, in years where there are many.

    >>> span(0.4), span(7.26), span(40.3)
    ('12 days', '7.3 months', '40 months (3.4 years)')
    """
    if months < 1:
        return f"{months * DAYS_A_MONTH:.0f} days"
    return f"{months:.1f} months" if months < 24 else f"{months:,.0f} months ({months / 12:.1f} years)"


def advise(
    *,
    memory_gb: float | None = None,
    hours_per_day: float = 4.0,
    price: float | None = None,
    rent: float | None = None,
    electricity_per_kwh: float | None = None,
    card: str | None = None,
    today: date | None = None,
) -> Advice:
    """Whether to buy a card or rent one, and which cards hold the memory.

    Args:
        memory_gb: the memory that is needed, in GB.
        hours_per_day: the hours a day that the card would work.
        price: what buying costs, in dollars; else the snapshot's or the launch price of `card`.
        rent: what an hour costs to rent, in dollars; else the snapshot's for `card`.
        electricity_per_kwh: dollars for a kWh; else the snapshot's.
        card: the card that is meant. Where it is not given, the power is taken from the card with the
            memory whose launch price is nearest to the price.
        today: the day the ages of prices are counted from.

    Raises:
        CardError: a number is negative, not finite or not possible, or there is no such card.

    >>> advice = advise(memory_gb=20, hours_per_day=4, price=1600, rent=0.40, electricity_per_kwh=0.0)
    >>> advice.main.hours, round(advice.main.months, 1)
    (4000.0, 32.9)
    """
    _check("memory", "GB", memory_gb, above=True)
    _check("price", "dollars", price)
    _check("rent", "dollars an hour", rent, above=True)
    _check("electricity", "dollars for a kWh", electricity_per_kwh)
    _check("hours", "hours a day, at most 24", hours_per_day, above=True, most=24)
    if (price is None) != (rent is None) and card is None:
        given, missing = ("price", "rent") if rent is None else ("rent", "price")
        raise CardError(
            f"got a {given} without a {missing}: give both, or name the card (--card) whose {missing} is to "
            "be looked up"
        )
    today = today or datetime.now(UTC).date()
    kwh = electricity() if electricity_per_kwh is None else Price(electricity_per_kwh, "you", None)
    holding = _holding(memory_gb)
    notes: list[str] = []
    if electricity_per_kwh is None:
        notes.append(f"Electricity at ${kwh.usd:g} a kWh ({kwh.described(today)}).")
    main = None
    if card is not None or price is not None:
        meant = find(card) if card is not None else _nearest_in_price(holding, price or 0.0)
        main = _even(meant, _given(price), _given(rent), kwh, hours_per_day)
        notes += _notes(main, memory_gb, today, named=card is not None)
    listed = [_even(each, None, None, kwh, hours_per_day) for each in holding]
    listed = [each for each in listed if each.price is not None or each.rent is not None]
    listed.sort(key=lambda each: math.inf if each.price is None else each.price.usd)
    if len(listed) < len(holding):
        notes.append(f"{len(holding) - len(listed)} more cards hold it, whose prices are unknown.")
    return Advice(memory_gb, hours_per_day, kwh, main, tuple(listed), today, tuple(notes))


def _holding(memory_gb: float | None) -> list[Card]:
    wanted = memory_gb or 0.0
    found = [c for c in cards() if c.segment != "laptop" and c.memory_gb and c.memory_gb >= wanted]
    if not found:
        most = max(card.memory_gb or 0 for card in cards())
        raise CardError(
            f"no card of the catalogue holds {wanted:g} GB; the largest has {most:g} GB; spread the model "
            "over several"
        )
    return found


def _nearest_in_price(holding: list[Card], price: float) -> Card | None:
    """The card such a price buys, for its power; the newest of those as near."""
    priced = [card for card in holding if card.price_usd is not None and card.power_w is not None]
    newest_first = sorted(priced, key=lambda card: card.release, reverse=True)
    return min(newest_first, key=lambda card: abs((card.price_usd or 0.0) - price), default=None)


def _notes(main: BreakEven, memory_gb: float | None, today: date, named: bool) -> list[str]:
    """What was looked up or assumed for the break-even."""
    card, said = main.card, []
    if card is None or card.power_w is None:
        whose = "the card" if card is None else card.short_name
        said.append(f"The power of {whose} is unknown, so electricity is left out.")
    elif named:
        said.append(f"{card.short_name} takes {card.power_w} W.")
    else:
        said.append(
            f"Power is taken as that of {card.short_name} ({card.power_w} W), whose launch price is nearest; "
            "--card names another."
        )
    for what, price, unit in (("Price", main.price, ""), ("Rent", main.rent, " an hour")):
        if price is not None and price.day is not None:
            said.append(f"{what}: ${price.usd:,g}{unit} ({price.described(today)}).")
    if (
        card is not None
        and card.memory_gb is not None
        and memory_gb is not None
        and card.memory_gb < memory_gb
    ):
        said.append(
            f"{card.short_name} holds {card.memory_gb:g} GB, less than the {memory_gb:g} GB asked for."
        )
    return said


def _even(
    card: Card | None, price: Price | None, rent: Price | None, kwh: Price, hours_per_day: float
) -> BreakEven:
    if card is not None:
        price, rent = price or price_of(card), rent or rent_of(card)
    power = None if card is None else card.power_w
    hourly = None if power is None else power / 1000 * kwh.usd
    if price is None or rent is None:
        missing = " and ".join(w for w, p in (("price", price), ("rent", rent)) if p is None)
        return BreakEven(card, price, rent, hourly, None, None, f"its {missing} is unknown")
    saved = rent.usd - (hourly or 0.0)
    if saved <= 0:
        reason = (
            f"an hour of electricity (${hourly:.2f}) costs as much as an hour of rent (${rent.usd:.2f}) or "
            "more, so buying never pays"
        )
        return BreakEven(card, price, rent, hourly, None, None, reason)
    hours = price.usd / saved
    return BreakEven(card, price, rent, hourly, hours, hours / hours_per_day / DAYS_A_MONTH, "")


def _given(value: float | None) -> Price | None:
    return None if value is None else Price(value, "you", None)


def _check(what: str, unit: str, value: float | None, *, above: bool = False, most: float = 1e9) -> None:
    if value is None:
        return
    if not math.isfinite(value) or value < 0 or (above and value == 0) or value > most:
        least = "above 0" if above else "0 or more"
        raise CardError(f"{what} must be {least} ({unit}), got {value:g}")


def _price(price: Price | None, today: date) -> dict[str, Any] | None:
    if price is None:
        return None
    day = None if price.day is None else price.day.isoformat()
    return {"usd": price.usd, "source": price.source, "date": day, "described": price.described(today)}


def _break_even(each: BreakEven, today: date) -> dict[str, Any]:
    card = each.card
    known = (
        None
        if card is None
        else {k: asdict(card)[k] for k in ("name", "memory_gb", "bandwidth_gbs", "power_w")}
    )
    return {
        "card": known,
        "price": _price(each.price, today),
        "rent": _price(each.rent, today),
        "electricity_per_hour": each.electricity_per_hour,
        "hours": each.hours,
        "months": each.months,
        "reason": each.reason or None,
    }
