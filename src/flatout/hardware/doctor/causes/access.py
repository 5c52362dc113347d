"""Access: a container without its GPU, device files that cannot be opened."""

from __future__ import annotations

from flatout.hardware.doctor.evidence import DeviceFile, Evidence, Vendor
from flatout.hardware.doctor.finding import Finding, Layer, Rule
from flatout.hardware.doctor.fixes import RESTART_CONTAINER, join_group

# Through which files the GPUs of a vendor are used.
_PATHS: dict[Vendor, tuple[str, ...]] = {
    "NVIDIA": ("/dev/nvidia", "/dev/dxg"),
    "AMD": ("/dev/kfd", "/dev/dri/", "/dev/dxg"),
    "Intel": ("/dev/dri/", "/dev/dxg"),
}
_DOCKER = ("could not select device driver",)
_LOST_ACCESS = ("Failed to initialize NVML: Unknown Error",)


def container_without_runtime(evidence: Evidence) -> Finding | None:
    """The kernel (the host's) drives a GPU, and the container was started without its device files."""
    system, modules = evidence.system, evidence.modules or frozenset()
    if system.container is None or system.wsl:
        return None
    nvidia = ("nvidia" in modules or evidence.nvidia.loaded) and not evidence.file("/dev/nvidia")
    amd = "amdgpu" in modules and evidence.wanted == "AMD" and not evidence.file("/dev/kfd")
    if evidence.integrated or not (nvidia or amd):
        return None
    seen = [f"this is a container ({system.container})"]
    if nvidia:
        seen.append(f"the host's kernel runs the NVIDIA driver {evidence.nvidia.loaded or ''}".rstrip())
        seen.append("there is no /dev/nvidiactl and no /dev/nvidia0 in here")
    else:
        seen.append("the host's kernel runs the driver amdgpu; there is no /dev/kfd in here")
    visible = evidence.variables.get("NVIDIA_VISIBLE_DEVICES")
    if nvidia and visible in {"", "void", "none"}:
        seen.append(f"NVIDIA_VISIBLE_DEVICES={visible}: the NVIDIA runtime was told to give none")
    return Finding(
        "container_without_runtime",
        "This container was started without access to the GPU of its host.",
        tuple(seen),
        _start_with_gpu(system.container, nvidia=bool(nvidia)),
    )


def _start_with_gpu(container: str, *, nvidia: bool) -> tuple[str, ...]:
    if container == "kubernetes":
        resource = "nvidia.com/gpu" if nvidia else "amd.com/gpu"
        return (f"Ask for it in the pod: resources: {{limits: {{{resource}: 1}}}}",)
    if not nvidia:
        return (
            "On the host, start it anew with",
            f"$ {container} run --device=/dev/kfd --device=/dev/dri --group-add video --group-add render …",
        )
    if container == "podman":
        return (
            "On the host, start it anew:",
            "$ sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
            "$ podman run --device nvidia.com/gpu=all …",
        )
    return (
        "On the host, start it anew with",
        "$ docker run --gpus all …",
        f"If docker says '{_DOCKER[0]}', install nvidia-container-toolkit on the host:",
        "$ sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
    )


def container_lost_gpu(evidence: Evidence) -> Finding | None:
    """It had the GPU, and a reload of systemd on the host took the permission away."""
    if evidence.system.container is None:
        return None
    refused = [file for file in evidence.files if file.error == "EPERM"]
    told = evidence.nvidia.smi_error or ""
    if not refused and not any(text in told for text in _LOST_ACCESS):
        return None
    return Finding(
        "container_lost_gpu",
        "This container had a GPU and has lost it: its permission was withdrawn while it ran.",
        tuple(
            [f"this is a container ({evidence.system.container})"]
            + [f"{file.path}: Operation not permitted, though the file is there" for file in refused[:3]]
            + ([f"nvidia-smi: {told}"] if told else [])
        ),
        (
            RESTART_CONTAINER,
            "$ docker restart CONTAINER    (on the host)"
            if evidence.system.container == "docker"
            else "start it anew where it was started",
            "So that it does not happen again, on the host (it follows every systemctl daemon-reload):",
            "$ sudo nvidia-ctk system create-dev-char-symlinks --create-all",
        ),
    )


def no_permission(evidence: Evidence) -> Finding | None:
    """The device files are there, and this user may not open them."""
    paths = _PATHS.get(evidence.wanted or "Apple", ())
    refused = [file for file in evidence.files if file.error == "EACCES" and file.path.startswith(paths)]
    if not paths or not refused:
        return None
    first = refused[0]
    seen = [f"{file.path}: Permission denied ({file.mode}, group {file.group})" for file in refused[:4]]
    seen.append(f"this user is in the groups {', '.join(evidence.system.user_groups) or 'of no name'}")
    return Finding(
        "no_permission",
        f"This user may not open {first.path}.",
        tuple(seen),
        _permit(first, evidence),
    )


def _permit(file: DeviceFile, evidence: Evidence) -> tuple[str, ...]:
    if evidence.system.container:
        return (f"Start the container with --group-add {file.group} (the number of the group on the host)",)
    if file.group and file.group != "root" and file.group not in evidence.system.user_groups:
        if file.group in {"render", "video"}:
            return join_group("render,video")
        return join_group(file.group)
    return (
        f"$ sudo chmod a+rw {file.path}    (until the next start)",
        "For good: look for NVreg_DeviceFileMode in /etc/modprobe.d, which narrows it",
        "On a shared machine: ask for a job with a GPU; the scheduler opens the files.",
    )


RULES = (
    Rule("container_without_runtime", Layer.ACCESS, container_without_runtime, says=_DOCKER),
    Rule("container_lost_gpu", Layer.ACCESS, container_lost_gpu, says=_LOST_ACCESS),
    Rule("no_permission", Layer.ACCESS, no_permission),
)
