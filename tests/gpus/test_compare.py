"""Cards side by side, ranked for training."""

import pytest

import flatout
from flatout.gpus import compare
from flatout.gpus.rank import ranked, training_speed

FIVE = ("RTX 3090 Ti", "RTX 3080", "RTX 3070 Ti", "RTX 3070", "RTX 4070")


def test_two_cards():
    comparison = compare("RTX 3080 Ti", "RTX 4090")
    assert [card.short_name for card in comparison.cards] == ["RTX 4090", "RTX 3080 Ti"]
    assert comparison.rows["memory"] == ("24 GB GDDR6X", "12 GB GDDR6X")
    printed = str(comparison).splitlines()
    assert printed[0].split() == ["RTX", "4090", "RTX", "3080", "Ti"]
    assert "RTX 4090 comes first for training" in comparison.verdict
    assert "half multiplying matrices" in str(comparison)


def test_a_name_of_several_cards_brings_all_and_says_so():
    comparison = compare(*FIVE)
    assert [card.short_name for card in comparison.cards] == [
        *("RTX 3090 Ti", "RTX 3080 12GB", "RTX 3080 10GB", "RTX 4070", "RTX 3070 Ti", "RTX 3070")
    ]
    assert comparison.notes == (
        "'RTX 3080' is the name of 2 cards, and all are shown: RTX 3080 10GB, RTX 3080 12GB.",
    )


def test_the_rank_is_that_of_the_time_of_the_reference_step():
    card = flatout.gpus.find("RTX 4070")
    seconds = 0.5 * 935.8 / card.bandwidth_gbs + 0.5 * 71.1 / card.fp16_tflops
    assert training_speed(card) == pytest.approx(1 / seconds)
    assert training_speed(flatout.gpus.find("RTX 3090")) == pytest.approx(1, abs=0.005)


def test_a_card_without_units_for_fp16_is_ranked_by_fp32():
    card = flatout.gpus.find("GTX 1080 Ti")
    assert card.fp16_tflops is None and card.training_tflops == card.fp32_tflops


def test_an_unknown_rate_comes_last_and_is_said():
    comparison = compare("M4 Pro", "RTX 3060 12GB")
    assert [card.name for card in comparison.cards] == ["GeForce RTX 3060 12GB", "Apple M4 Pro"]
    assert comparison.speeds[1] is None
    assert comparison.rows["training"] == ("0.37×", "unknown")
    assert "Not ranked, for the maker tells no rate: M4 Pro." in comparison.verdict
    assert "The most memory (64 GB) is in: M4 Pro." in comparison.verdict
    assert comparison.document()["cards"][1]["training_speed"] is None


def test_where_no_rate_is_known_none_is_ranked():
    comparison = compare("M4 Pro", "M4")
    assert comparison.verdict.startswith("None can be ranked")
    assert ranked(comparison.cards)[0].name == "Apple M4 Pro"  # by bandwidth


def test_bad_names():
    with pytest.raises(flatout.CardNotFoundError):
        compare("RTX 4090", "RTX 4095")
    with pytest.raises(flatout.CardError, match="at least one card"):
        compare()
