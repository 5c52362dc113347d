"""Which card trains faster, from its figures.

A training step does two things: it moves memory (activations, weights, optimizer state) and it multiplies
matrices. The reference is a step that spends half its time on each on an RTX 3090. On another card the first
half scales with the bandwidth, the second with the rate of matrix products; the sum is the time of the step
there. The figures are peaks on paper, which no step reaches: measure before you spend much.
"""

from __future__ import annotations

from collections.abc import Iterable

from flatout.gpus.card import Card

REFERENCE = "RTX 3090"
_BANDWIDTH_GBS, _TFLOPS = 935.8, 71.1  # of the reference

WHY = (
    "Ranked by the time of a training step that spends half its time moving memory and half multiplying "
    f"matrices on an {REFERENCE} (1.00×): the first half scales with the bandwidth, the second with the FP16 "
    "rate with sums in FP32 (the FP32 rate where a card has no units for FP16). Memory is not part of the "
    "rank and comes before it: what does not fit does not run."
)


def training_speed(card: Card) -> float | None:
    """How many times as fast as an RTX 3090 the reference step is; None where bandwidth or rate is unknown.

    >>> from flatout.gpus import find
    >>> round(training_speed(find("RTX 3090")), 2), round(training_speed(find("RTX 4090")), 2)
    (1.0, 1.47)
    """
    rate = card.training_tflops
    if card.bandwidth_gbs is None or rate is None:
        return None
    return 1 / (0.5 * _BANDWIDTH_GBS / card.bandwidth_gbs + 0.5 * _TFLOPS / rate)


def ranked(found: Iterable[Card]) -> tuple[Card, ...]:
    """The fastest first; those whose speed is unknown last, by their bandwidth."""

    def key(card: Card) -> tuple[float, float]:
        return -(training_speed(card) or 0.0), -(card.bandwidth_gbs or 0.0)

    return tuple(sorted(found, key=key))
