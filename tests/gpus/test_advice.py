"""Buy or rent."""

from datetime import date

import pytest

import flatout
from flatout.gpus import advise
from flatout.gpus.catalogue import cards
from flatout.gpus.prices import Price, snapshot

TODAY = date(2026, 7, 15)


def test_break_even_with_electricity():
    advice = advise(memory_gb=20, hours_per_day=4, price=1600, rent=0.40, electricity_per_kwh=0.30)
    assert advice.main.card.name == "GeForce RTX 4090"  # launch price $1,599: its 450 W are taken
    assert advice.main.electricity_per_hour == pytest.approx(0.45 * 0.30)
    assert advice.main.hours == pytest.approx(1600 / (0.40 - 0.135))
    assert advice.main.months == pytest.approx(advice.main.hours / 4 / (365.25 / 12))
    assert "after 6,038 hours: 50 months (4.1 years) at 4 hours a day" in advice.verdict
    assert any("RTX 4090 (450 W)" in note for note in advice.notes)


def test_a_card_that_is_named_gives_its_own_power():
    advice = advise(card="RTX 3090", price=700, rent=0.22, electricity_per_kwh=0.30)
    assert advice.main.hours == pytest.approx(700 / (0.22 - 0.35 * 0.30))


def test_buying_never_pays_where_electricity_costs_more_than_rent():
    advice = advise(card="RTX 4090", price=1600, rent=0.10, electricity_per_kwh=0.30)
    assert advice.main.hours is None and advice.main.months is None
    assert "buying never pays" in advice.verdict
    assert advice.document()["break_even"]["hours"] is None


def test_an_unknown_power_is_said_and_not_taken_as_zero():
    advice = advise(card="GH200 96GB", price=30000, rent=1.5, electricity_per_kwh=0.3)
    assert advice.main.electricity_per_hour is None
    assert "The power of GH200 96GB is unknown, so electricity is left out." in advice.notes


def test_without_prices_the_snapshot_is_used_with_source_and_date():
    advice = advise(memory_gb=24, card="RTX 3090", today=TODAY)
    assert advice.main.rent == snapshot()["rent", "GeForce RTX 3090"]
    assert advice.main.price.usd == 1499
    (note,) = (note for note in advice.notes if note.startswith("Rent: "))
    assert note == "Rent: $0.22 an hour (deploybase.ai, RunPod GPU pricing, the lower rate, 2026-03-10)."
    (note,) = (note for note in advice.notes if note.startswith("Electricity"))
    assert "EIA" in note and "17 months old, look up today's" in note


def test_a_rent_that_is_unknown_is_asked_for():
    advice = advise(card="RTX 3060 12GB")
    assert (
        advice.verdict == "Buy or rent cannot be said: its rent is unknown; give it with --price or --rent."
    )


@pytest.mark.parametrize(("day", "old"), [(date(2026, 1, 14), False), (date(2026, 1, 12), True)])
def test_a_price_is_old_after_six_months(day, old):
    assert ("months old" in Price(1.0, "a shop", day).described(TODAY)) == old


def test_the_cards_hold_the_memory_and_are_no_laptops():
    advice = advise(memory_gb=90, today=TODAY)
    listed = [each.card for each in advice.cards]
    assert "Apple M3 Max (40-core GPU)" not in {card.name for card in listed}  # its price is unknown
    assert {"GB10", "B200", "H100 NVL"} <= {card.name for card in listed}
    assert all(card.memory_gb >= 90 and card.segment != "laptop" for card in listed)
    assert any("more cards hold it, whose prices are unknown" in note for note in advice.notes)


def test_the_snapshot_names_cards_of_the_catalogue():
    names = {card.name for card in cards()}
    for (kind, card), price in snapshot().items():
        assert kind in ("buy", "rent", "electricity") and price.usd > 0 and price.source
        assert card in names or kind == "electricity"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"price": -1, "rent": 1}, "price must be 0 or more"),
        ({"price": 1, "rent": -1}, "rent must be above 0"),
        ({"price": 1, "rent": 0}, "rent must be above 0"),
        ({"price": float("nan"), "rent": 1}, "price must be"),
        ({"price": 100}, "got a price without a rent"),
        ({"rent": 1}, "got a rent without a price"),
        ({"memory_gb": 0}, "memory must be above 0"),
        ({"memory_gb": 2000}, "no card of the catalogue holds 2000 GB; the largest has 512 GB"),
        ({"hours_per_day": 25}, "at most 24"),
        ({"hours_per_day": 0}, "hours must be above 0"),
        ({"electricity_per_kwh": -0.1}, "electricity must be 0 or more"),
        ({"card": "RTX 4095"}, "nearest names: GeForce RTX 4090"),
    ],
)
def test_bad_input(given, said):
    with pytest.raises(flatout.CardError, match=said):
        advise(**given)
