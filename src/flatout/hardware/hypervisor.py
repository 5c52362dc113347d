"""Which hypervisor runs a machine, from the names its firmware and its clock give."""

from __future__ import annotations

_FIRMWARE = (  # what maker and product say, the hypervisor
    ("Amazon EC2", "Amazon EC2 (Nitro)"),
    ("Google Compute Engine", "Google Compute Engine (KVM)"),
    ("Microsoft Corporation Virtual Machine", "Hyper-V"),
    ("VMware", "VMware"),
    ("VirtualBox", "VirtualBox"),
    ("Parallels", "Parallels"),
    ("Xen", "Xen"),
    ("Apple Virtualization", "Apple Virtualization"),
    ("Bochs", "QEMU"),
    ("OpenStack", "KVM (OpenStack)"),
    ("KVM", "KVM"),
    ("QEMU", "QEMU"),
    ("Firecracker", "Firecracker"),
    ("Alibaba Cloud ECS", "Alibaba Cloud (KVM)"),
    ("linux,dummy-virt", "QEMU"),
)

_CLOCKS = {"kvm-clock": "KVM", "hyperv": "Hyper-V", "xen": "Xen"}


def named_by_firmware(maker: str | None, product: str | None) -> str | None:
    """The hypervisor that these names stand for; None where they are those of a real machine.

    Example:
        >>> named_by_firmware("Amazon EC2", "c7g.xlarge"), named_by_firmware("Amazon EC2", "c7g.metal")
        ('Amazon EC2 (Nitro)', None)
    """
    said = f"{maker or ''} {product or ''}"
    if ".metal" in said:
        return None
    return next((name for mark, name in _FIRMWARE if mark in said), None)


def named_by_clocks(clocks: str | None) -> str | None:
    """The hypervisor whose clock the kernel offers."""
    return next((name for mark, name in _CLOCKS.items() if mark in (clocks or "")), None)
