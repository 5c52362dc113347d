"""One graphics card of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from flatout.gpus.names import Name, decode

# What has no units for matrix products of 16-bit numbers: they run no faster than FP32, or much slower.
_FP32_ONLY = ("Pascal", "Apple M1", "Apple M2", "Apple M3", "Apple M4")


@dataclass(frozen=True)
class Card:
    """A graphics card with its maker's figures. What is unknown is None, never 0.

    Attributes:
        name: as the maker writes it.
        vendor: NVIDIA, AMD, Intel or Apple.
        segment: consumer, laptop, workstation, data-centre or integrated.
        family: such as "GeForce RTX 30".
        architecture: such as "Ampere".
        generation: such as "GeForce 30".
        release: the day, the month or the year it came out: "2022-03-29".
        memory_gb: its memory in GB; where the memory is unified, the most there is to be had.
        memory_type: GDDR5 to GDDR7, HBM2 to HBM3e, or LPDDR where it is shared with the CPU.
        bus_bits: the width of the memory bus in bits.
        memory_gbps: the data rate of a pin in Gbit/s.
        bandwidth_gbs: the bandwidth of the memory in GB/s.
        fp32_tflops: the FP32 rate outside of matrix units, at the boost clock.
        fp16_tflops: dense FP16 products with sums in FP32 (from Ampere and CDNA on BF16 too), the rate that
            mixed-precision training gets.
        tf32_tflops: dense TF32 products.
        fp8_tflops: dense FP8 products with sums in FP32.
        int8_tops: dense INT8 products.
        boost_mhz: the boost clock; of a laptop card the highest.
        cores: CUDA cores, stream processors or shaders.
        sms: streaming multiprocessors, compute units, Xe cores or Apple's GPU cores.
        power_w: the power of the board in W; of a laptop card the highest.
        price_usd: the launch price in the United States.
        compute_capability: NVIDIA's, such as "8.6".
        source: where the maker publishes the figures.
        date: the day the row was written.

    >>> from flatout.gpus import find
    >>> card = find("NVIDIA GeForce RTX 4070 Laptop GPU")
    >>> card.memory_gb, card.bus_bits, card.bandwidth_gbs, card.architecture, card.tier, card.suffix
    (8.0, 128, 256.0, 'Ada Lovelace', 'xx70', 'Laptop')
    """

    name: str
    vendor: str
    segment: str
    family: str
    architecture: str
    generation: str
    release: str
    memory_gb: float | None
    memory_type: str
    bus_bits: int | None
    memory_gbps: float | None
    bandwidth_gbs: float | None
    fp32_tflops: float | None
    fp16_tflops: float | None
    tf32_tflops: float | None
    fp8_tflops: float | None
    int8_tops: float | None
    boost_mhz: int | None
    cores: int | None
    sms: int | None
    power_w: int | None
    price_usd: float | None
    compute_capability: str | None
    source: str
    date: str

    @property
    def decoded(self) -> Name:
        """What its name says: generation, tier and suffix."""
        return decode(self.name)

    @property
    def tier(self) -> str | None:
        """Its place in its generation, such as "xx90"; None where the name has none."""
        return self.decoded.tier

    @property
    def suffix(self) -> str:
        """What stands behind the number, such as "Ti SUPER"; empty where nothing does."""
        return self.decoded.suffix

    @property
    def unified(self) -> bool:
        """Whether CPU and GPU share its memory."""
        return self.memory_type.startswith("LPDDR")

    @property
    def training_tflops(self) -> float | None:
        """The rate of the matrix products of training: FP16 with FP32 sums, else FP32 if all there is."""
        if self.fp16_tflops is None and self.architecture in _FP32_ONLY:
            return self.fp32_tflops
        return self.fp16_tflops

    @property
    def short_name(self) -> str:
        """Its name without "GeForce", "Radeon" and the like.

        >>> from flatout.gpus import find
        >>> find("GeForce RTX 4070 Laptop GPU").short_name, find("M1 Max").short_name
        ('RTX 4070 Laptop', 'M1 Max')
        """
        name = self.name.removesuffix(" GPU")
        for brand in ("GeForce ", "Radeon ", "Tesla ", "Instinct ", "Apple "):
            if name.removeprefix(brand)[:1].isalpha():
                name = name.removeprefix(brand)
        return name
