"""Speed: torch uses the GPU, and something holds it back."""

from __future__ import annotations

from flatout.hardware.doctor.evidence import Card, Evidence
from flatout.hardware.doctor.finding import Finding, Layer, Rule

# A card gets a quarter of its lanes or fewer: x4 of x16 can be felt, x8 cannot.
_FEW_LANES = 4
_LOW_POWER = 0.8  # of the card's default limit
_BUSY_MEMORY, _BUSY_PERCENT = 0.1, 50.0
# NVML's clock event reasons.
_HW_SLOWDOWN, _SW_THERMAL, _HW_THERMAL, _POWER_BRAKE = 0x8, 0x20, 0x40, 0x80
_THERMAL = {_SW_THERMAL: "the driver's thermal slowdown", _HW_THERMAL: "the card's own thermal slowdown"}
_GIBIBYTE = 1024**3


def narrow_pcie(evidence: Evidence) -> Finding | None:
    """The link to the card has a quarter of its lanes or fewer."""
    bus = {gpu.address: gpu for gpu in evidence.gpus()}
    links = []
    for card in evidence.cards:
        gpu = bus.pop(card.address or "", None)
        # nvidia-smi's most may be what the slot offers; the bus tells what the card could take.
        links.append(
            (f"{card.name} (GPU {card.index})", [card.pcie_width, gpu.link_width if gpu else (None, None)])
        )
    links += [(f"the {gpu.vendor} GPU at {gpu.address}", [gpu.link_width]) for gpu in bus.values()]
    seen = []
    for name, widths in links:
        now = next((width for width, _ in widths if width), None)
        best = max((most for _, most in widths if most), default=None)
        if now and best and now * _FEW_LANES <= best:
            seen.append(f"{name} is connected with {now} of {best} lanes (PCIe x{now})")
    if not seen:
        return None
    return Finding(
        "narrow_pcie",
        "A GPU is connected by few lanes: copies to and from it are slow.",
        tuple(seen),
        (
            "Put the card into the long slot nearest to the processor, without a riser, and push it home.",
            "Look in the BIOS for the slot's width (bifurcation) and for an SSD that takes its lanes.",
            "What stays on the GPU does not suffer: flatout keeps data there.",
        ),
    )


def power_cap(evidence: Evidence) -> Finding | None:
    """The power limit was set well below the card's own."""
    capped = [
        card
        for card in evidence.cards
        if card.power_limit
        and card.default_power_limit
        and card.power_limit < _LOW_POWER * card.default_power_limit
    ]
    if not capped:
        return None
    return Finding(
        "power_cap",
        "A GPU may draw much less power than it is made for, so it runs slower.",
        tuple(
            f"{c.name} (GPU {c.index}): limit {c.power_limit:.0f} W, by default {c.default_power_limit:.0f} W"
            for c in capped
        ),
        (
            *(f"$ sudo nvidia-smi -i {c.index} -pl {c.default_power_limit:.0f}" for c in capped),
            "It may be meant so: to save heat, noise or electricity.",
        ),
    )


def power_brake(evidence: Evidence) -> Finding | None:
    """The card slows itself because it does not get enough power."""
    braked = [
        card
        for card in evidence.cards
        if (card.throttle or 0) & (_POWER_BRAKE | _HW_SLOWDOWN) and not (card.throttle or 0) & _HW_THERMAL
    ]
    if not braked:
        return None
    return Finding(
        "power_brake",
        "A GPU slows itself down because its power supply does not keep up.",
        tuple(
            f"{card.name} (GPU {card.index}): slowed down by its hardware, without heat "
            f"(clock event reasons 0x{card.throttle:x})"
            for card in braked
        ),
        (
            "Check that every power plug of the card is in, each on a cable of its own.",
            "Is the power supply strong enough for the whole machine? A laptop: is it plugged in?",
        ),
    )


def thermal(evidence: Evidence) -> Finding | None:
    """The card slows down because it is hot."""
    hot = [card for card in evidence.cards if (card.throttle or 0) & (_SW_THERMAL | _HW_THERMAL)]
    if not hot:
        return None
    return Finding(
        "thermal",
        "A GPU is too hot and has slowed down.",
        tuple(_heat(card) for card in hot),
        (
            "Clean fans and filters, let air in, take away what covers it; a laptop: lift it from the table.",
            "$ nvidia-smi -q -d TEMPERATURE    (its limits)",
            *(
                f"$ sudo nvidia-smi -i {c.index} -pl {0.8 * c.default_power_limit:.0f}    (less heat)"
                for c in hot[:1]
                if c.default_power_limit
            ),
        ),
    )


def _heat(card: Card) -> str:
    reasons = [name for bit, name in _THERMAL.items() if (card.throttle or 0) & bit]
    degrees = "" if card.temperature is None else f"{card.temperature:.0f} °C, "
    return f"{card.name} (GPU {card.index}): {degrees}{' and '.join(reasons)}"


def busy(evidence: Evidence) -> Finding | None:
    """Other programs compute on the card."""
    seen, pids = [], []
    for card in evidence.cards:
        there = [p for p in evidence.processes if p.uuid == card.uuid]
        used = sum(p.memory or 0 for p in there)
        crowded = card.memory is not None and used > _BUSY_MEMORY * card.memory
        if not there or not (crowded or (card.utilization or 0) >= _BUSY_PERCENT):
            continue
        load = "" if card.utilization is None else f", {card.utilization:.0f} % busy"
        seen.append(f"{card.name} (GPU {card.index}){load}")
        for process in sorted(there, key=lambda p: -(p.memory or 0)):
            memory = "unknown memory" if process.memory is None else f"{process.memory / _GIBIBYTE:.1f} GiB"
            seen.append(f"process {process.pid} {process.name}: {memory}")
            pids.append(process.pid)
    if not seen:
        return None
    return Finding(
        "busy",
        "Other programs are using a GPU; torch shares it with them.",
        tuple(seen),
        (
            "Wait for them, or take another GPU: CUDA_VISIBLE_DEVICES=1",
            f"$ {_end(evidence)} {pids[0]}    (only if it is yours and not needed: a notebook left open)",
        ),
    )


def _end(evidence: Evidence) -> str:
    return "taskkill /PID" if evidence.system.platform == "win32" else "kill"


RULES = (
    Rule("thermal", Layer.SPEED, thermal, blind_only=False),
    Rule("power_brake", Layer.SPEED, power_brake, blind_only=False),
    Rule("power_cap", Layer.SPEED, power_cap, blind_only=False),
    Rule("narrow_pcie", Layer.SPEED, narrow_pcie, blind_only=False),
    Rule("busy", Layer.SPEED, busy, blind_only=False),
)
