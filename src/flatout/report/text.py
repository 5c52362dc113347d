"""Short texts for numbers: times, counts, rates and a loss curve in one line.

Every function shows an unknown value (None) as "–", never as 0. Only a curve imports NumPy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

UNKNOWN: Final = "–"

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "×"


def seconds(value: float | None) -> str:
    """A duration in seconds, with the unit that suits its size.

    >>> seconds(1.234), seconds(0.012), seconds(120e-6)
    ('1.23 s', '12 ms', '120 µs')
    >>> seconds(245), seconds(7380), seconds(None)
    ('4 min 05 s', '2 h 03 min', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value < 0:
        return "-" + seconds(-value)
    rounded = float(f"{value:.3g}")  # first, so that 59.96 becomes a minute and not "60 s"
    if rounded == 0:
        return "0 s"
    if rounded >= 60:
        return _long_duration(value)
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if rounded >= size:
            return f"{rounded / size:.3g} {unit}"
    return f"{rounded / 1e-9:.3g} ns"


def _long_duration(value: float) -> str:
    if (whole_seconds := round(value)) < 3600:
        return f"{whole_seconds // 60} min {whole_seconds % 60:02d} s"
    if (minutes := round(value / 60)) < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(value / 3600)
    return f"{hours // 24:,} d {hours % 24:02d} h"


def count(value: int | None) -> str:
    """A whole number with its thousands marked.

    >>> count(20000), count(None)
    ('20,000', '–')
    """
    return UNKNOWN if value is None else f"{value:,d}"


def number(value: float | None) -> str:
    """A measured number to four significant digits.

    >>> number(0.0603123), number(1.135), number(12345.6), number(2.5e-7)
    ('0.06031', '1.135', '12,346', '2.5e-7')
    >>> number(float("nan")), number(None)
    ('NaN', '–')
    """
    if value is None:
        return UNKNOWN
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(float(f"{value:.4g}"))
    if size == 0 or 1e-4 <= size < 1e4:
        return f"{value:.4g}"
    if 1e4 <= size < 1e7:
        return f"{value:,.0f}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def two_digits(value: float) -> float:
    """A number to two significant digits, where more would say too much.

    >>> two_digits(0.01234), two_digits(1876.0)
    (0.012, 1900.0)
    """
    return float(f"{value:.2g}")


def rate(steps_per_second: float | None) -> str:
    """A speed in steps per second.

    >>> rate(8140.2), rate(0.5123), rate(None)
    ('8,140 steps/s', '0.512 steps/s', '–')
    """
    if steps_per_second is None or not math.isfinite(steps_per_second):
        return UNKNOWN
    shown = f"{steps_per_second:.3g}" if abs(steps_per_second) < 99.95 else f"{steps_per_second:,.0f}"
    return f"{shown} steps/s"


def metric(name: str, value: float | None) -> str:
    """The value of a metric: an accuracy (a fraction) in per cent, any other as a number.

    >>> metric("accuracy", 0.9667), metric("mae", 0.9667)
    ('96.7 %', '0.9667')
    """
    is_accuracy = name.replace("_", " ").split()[-1:] == ["accuracy"]
    if is_accuracy and value is not None and 0 <= value <= 1:
        return f"{100 * value:.1f} %"
    return number(value)


def spans_decades(values: npt.ArrayLike) -> bool:
    """Whether values need a log scale: every finite one positive, the largest over 10x the smallest.

    >>> spans_decades([1.0, 0.01]), spans_decades([1.0, 0.5]), spans_decades([1.0, 0.0])
    (True, False, False)
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if finite.size == 0 or finite.min() <= 0:
        return False
    return bool(finite.max() / 10 > finite.min())


def sparkline(losses: npt.ArrayLike, width: int = 40) -> str:
    """A loss curve in one line of at most `width` characters.

    Each character is the median of its share of the steps, on a log scale where `spans_decades`
    says so; "×" is a share without one finite loss.

    >>> sparkline([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    '█▇▆▅▄▃▂▁'
    """
    import numpy as np

    if width < 1:
        raise ValueError(f"width must be at least 1, but is {width}")
    values = np.asarray(losses, dtype=np.float64).ravel()
    if values.size == 0:
        return ""
    shares = np.array_split(values, min(width, values.size))
    medians = np.array([_finite_median(share) for share in shares])
    heights = np.log10(medians) if spans_decades(medians) else medians
    finite = heights[np.isfinite(heights)]
    if finite.size == 0:
        return _GAP * len(shares)
    low, high = float(finite.min()), float(finite.max())
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((h - low) * scale)] if math.isfinite(h) else _GAP for h in heights.tolist())


def _finite_median(values: npt.NDArray[np.float64]) -> float:
    import numpy as np

    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan
