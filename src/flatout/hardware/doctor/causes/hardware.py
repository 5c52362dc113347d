"""The hardware: no GPU, or one that has dropped out."""

from __future__ import annotations

from flatout.hardware.doctor.evidence import Evidence, PciDevice
from flatout.hardware.doctor.finding import Finding, Layer, Rule

# Whose graphics may be all there is: inside a processor, in a server's board, of a virtual machine.
_MAKERS = {
    "8086": "Intel graphics",
    "1002": "AMD graphics with little memory of their own",
    "1a03": "ASPEED, a server's console",
    "102b": "Matrox, a server's console",
    "15ad": "a virtual screen of VMware",
    "1234": "a virtual screen of QEMU",
    "1af4": "a virtual screen (virtio)",
    "1414": "a virtual screen of Hyper-V",
}
_LOST = ("GPU is lost", "Unable to determine the device handle", "fallen off the bus")
_RESET = ("requires reset", "uncorrectable ECC error encountered")
_ECC_UNCORRECTABLE = 214


def no_gpu(evidence: Evidence) -> Finding | None:
    """There is none on the bus, and none shows in any other way."""
    if evidence.pci is None and evidence.system.platform != "darwin":
        return None  # the bus cannot be read: nothing is known
    # The graphics inside an AMD processor have a /dev/kfd too; without a bus it speaks for a GPU.
    files = evidence.file("/dev/nvidia") or (evidence.file("/dev/kfd") and not evidence.pci)
    if evidence.vendors() or evidence.system.wsl or files:
        return None
    others = [f"{_maker(device)} at {device.address}" for device in evidence.pci or ()]
    seen = [f"other graphics on the bus, which torch cannot train on: {', '.join(others)}"] if others else []
    if not others:
        seen.append(
            "an Intel Mac: PyTorch has no builds for its GPU"
            if evidence.system.platform == "darwin"
            else "the bus (PCI) shows no display controller and no accelerator"
        )
    if evidence.system.container:
        seen.append(f"this is a container ({evidence.system.container}); it sees the bus of its host")
    torch = evidence.probe.torch
    if torch:
        right = ", which is the right one for such a machine" if torch.vendor is None else ""
        seen.append(f"torch {torch.version} is a build {torch.kind}{right}")
    return Finding(
        "no_gpu",
        "There is no GPU in this machine.",
        tuple(seen),
        ("Nothing is broken: training works on the CPU.", *_find_one(evidence)),
    )


def _maker(device: PciDevice) -> str:
    known = _MAKERS.get(device.ids.partition(":")[0])
    return device.name or (f"{known} ({device.ids})" if known else device.ids)


def _find_one(evidence: Evidence) -> tuple[str, ...]:
    if evidence.system.platform == "darwin":
        return ()
    return (
        "A card is built in and does not show? Shut down, reseat it and its power, look into the BIOS.",
        "A virtual machine: give it a GPU where it is rented or set up.",
    )


def gpu_needs_reset(evidence: Evidence) -> Finding | None:
    """It is there, but does not go on without a reset."""
    told = evidence.nvidia.smi_error or ""
    text = next((word for word in _RESET if word in told or word in evidence.probe.text), None)
    cards = [card for card in evidence.cards if card.needs_reset]
    if not (text or cards or evidence.probe.cu_init == _ECC_UNCORRECTABLE):
        return None
    index = cards[0].index if cards else 0
    return Finding(
        "gpu_needs_reset",
        f"GPU {index} has stopped after an error and needs a reset.",
        tuple(
            filter(
                None,
                [
                    f"nvidia-smi: {card_line(evidence, index)} requires reset" if cards else None,
                    f"nvidia-smi: {told}" if told else None,
                    f"torch: {evidence.probe.error}" if evidence.probe.error else None,
                ],
            )
        )
        or (f"cuInit: {evidence.probe.cu_init} (uncorrectable memory error)",),
        (
            "End every program that uses the GPU, then",
            f"$ sudo nvidia-smi --gpu-reset -i {index}",
            "$ sudo reboot    (if the reset is refused)",
            "If it comes back: nvidia-smi -q -d ECC,ROW_REMAPPER shows whether its memory fails.",
        ),
    )


def gpu_lost(evidence: Evidence) -> Finding | None:
    """It was there at boot and does not answer any more."""
    told = evidence.nvidia.smi_error or ""
    silent = [device for device in evidence.gpus() if device.revision == 0xFF]
    text = next((word for word in _LOST if word in told or word in evidence.probe.text), None)
    if not (silent or text):
        return None
    seen = [f"{d.vendor} {d.ids} at {d.address} answers with nothing but ones (rev ff)" for d in silent]
    seen += [f"nvidia-smi: {told}"] if told else []
    seen += [f"torch: {evidence.probe.error}"] if evidence.probe.error else []
    return Finding(
        "gpu_lost",
        "A GPU has fallen off the bus: it was there when the machine started and does not answer any more.",
        tuple(seen),
        (
            "$ sudo dmesg | grep -i -E 'xid|fallen off'    (what happened)",
            "$ sudo reboot    (or switch off for ten seconds, if it stays away)",
            "If it happens again: look at its power cables, temperature, slot and power supply.",
        ),
    )


def card_line(evidence: Evidence, index: int) -> str:
    """A card in a few words."""
    name = next((card.name for card in evidence.cards if card.index == index), "GPU")
    return f"{name} (GPU {index})"


RULES = (
    Rule("gpu_lost", Layer.HARDWARE, gpu_lost, says=_LOST, blind_only=False),
    Rule("gpu_needs_reset", Layer.HARDWARE, gpu_needs_reset, says=_RESET, blind_only=False),
    Rule("no_gpu", Layer.HARDWARE, no_gpu),
)
