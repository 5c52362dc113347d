"""Names as drivers, shops and people write them."""

import pytest

import flatout
from flatout.gpus.catalogue import cards
from flatout.gpus.search import find_all

find = flatout.gpus.find


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "GeForce RTX 4070 Laptop GPU"),
        ("4070 mobile", "GeForce RTX 4070 Laptop GPU"),
        ("NVIDIA GeForce RTX 4070", "GeForce RTX 4070"),
        ("3070ti", "GeForce RTX 3070 Ti"),
        ("rtx3090", "GeForce RTX 3090"),
        ("RTX3080 12GB", "GeForce RTX 3080 12GB"),
        ("4070 ti super", "GeForce RTX 4070 Ti SUPER"),
        ("RTX 4090D", "GeForce RTX 4090 D"),
        ("NVIDIA GeForce RTX 2080 with Max-Q Design", "GeForce RTX 2080 Max-Q"),
        ("NVIDIA GeForce GTX 1060 3GB", "GeForce GTX 1060 3GB"),
        ("NVIDIA TITAN RTX", "TITAN RTX"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"),
        ("Tesla V100-SXM2-32GB", "Tesla V100 SXM2 32GB"),
        ("Tesla P100-PCIE-16GB", "Tesla P100 PCIe 16GB"),
        ("Tesla T4", "Tesla T4"),
        ("H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA GH200 480GB", "GH200 96GB"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell Workstation"),
        ("AMD Radeon RX 7900 XTX", "Radeon RX 7900 XTX"),
        ("9070xt", "Radeon RX 9070 XT"),
        ("AMD Instinct MI300X", "Instinct MI300X"),
        ("Intel(R) Arc(TM) B580 Graphics", "Arc B580"),
        ("Apple M1 Ultra", "Apple M1 Ultra"),
        ("m4pro", "Apple M4 Pro"),
        ("M3 Max 40-core GPU", "Apple M3 Max (40-core GPU)"),
    ],
)
def test_a_name_as_it_is_written_finds_its_card(written, name):
    assert find(written).name == name


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_every_card_is_found_by_its_own_name(card):
    assert find(card.name) is card
    assert find(f"{card.vendor} {card.name}".upper()) is card


@pytest.mark.parametrize(
    ("written", "choices"),
    [
        ("3080", ("GeForce RTX 3080 10GB", "GeForce RTX 3080 12GB")),
        ("NVIDIA GeForce RTX 3080", ("GeForce RTX 3080 10GB", "GeForce RTX 3080 12GB")),
        ("A100 80GB", ("A100 PCIe 80GB", "A100 SXM 80GB")),
        ("M3 Max", ("Apple M3 Max (30-core GPU)", "Apple M3 Max (40-core GPU)")),
        ("RTX 6000", ("Quadro RTX 6000", "RTX 6000 Ada")),
    ],
)
def test_a_name_of_several_cards_asks_which(written, choices):
    with pytest.raises(flatout.AmbiguousCardError) as caught:
        find(written)
    assert caught.value.choices == choices
    assert all(choice in str(caught.value) for choice in choices)


def test_the_memory_a_driver_shows_tells_them_apart():
    assert find("NVIDIA GeForce RTX 3080", memory_gb=9.77).name == "GeForce RTX 3080 10GB"
    assert find("NVIDIA GeForce RTX 3080", memory_gb=11.76).name == "GeForce RTX 3080 12GB"
    with pytest.raises(flatout.AmbiguousCardError):
        find("NVIDIA GeForce RTX 3080", memory_gb=16)


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("GTX 4090", "GeForce RTX 4090"),
        ("RTX 4095", "GeForce RTX 4090"),
        ("RX 7950 XTX", "Radeon RX 7900 XTX"),
    ],
)
def test_a_card_that_does_not_exist_names_the_nearest(written, nearest):
    with pytest.raises(flatout.CardNotFoundError, match=f"there is no card '{written}'.*{nearest}"):
        find(written)


@pytest.mark.parametrize(
    "written", ["3070 Ti Laptop SUPER", "RTX 1080", "4070 24GB", "A100 96GB", "Radeon RTX 3090"]
)
def test_a_word_that_is_not_the_cards_own_is_not_passed_over(written):
    with pytest.raises(flatout.CardNotFoundError):
        find(written)


@pytest.mark.parametrize("written", ["", "  ", "NVIDIA GPU", "™"])
def test_a_name_that_says_nothing(written):
    with pytest.raises(flatout.CardError, match="must hold a letter or a digit"):
        find_all(written)
