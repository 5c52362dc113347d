"""What control groups leave to this process: the least quota on the way from its group up to the root.

Version 2 writes `cpu.max` ("150000 100000": that much time out of so much, in µs, or "max") and `memory.max`;
version 1 `cpu.cfs_quota_us` and `cpu.cfs_period_us` (-1: no quota) and `memory.limit_in_bytes`. Both may be
mounted at once. Inside a container the mounted part may begin below the path in /proc/self/cgroup.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from flatout.hardware.machine import Machine, count

_UNLIMITED = 1 << 60  # version 1 writes the largest number it can hold for "no limit"


def cpu_quota(machine: Machine) -> float | None:
    """How many CPUs' worth of time this process may use, or None where nothing limits it."""
    quotas = []
    for folder in _folders(machine, "cpu"):
        first = machine.read(f"{folder}/cpu.max")
        if first is not None:
            quotas.append(_ratio(*first.split()[:2]) if len(first.split()) > 1 else None)
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quotas.append(_ratio(*(machine.read(f"{folder}/{name}") for name in names)))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(machine: Machine) -> int | None:
    """How many bytes the container of this process may use, or None where nothing limits it."""
    limits = [
        machine.count(f"{folder}/{name}")
        for folder in _folders(machine, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((limit for limit in limits if limit is not None and limit < _UNLIMITED), default=None)


def _ratio(quota: str | None, period: str | None) -> float | None:
    time, out_of = count(quota), count(period)
    return time / out_of if time is not None and out_of is not None else None


def _folders(machine: Machine, controller: str) -> Iterator[str]:
    """The folders of this process's group and of all above it, in each hierarchy with the controller."""
    paths = _group_paths(machine, controller)
    for version, root, mount in _mounts(machine, controller):
        if version not in paths:
            continue
        below = _below(paths[version], root)
        for steps in range(len(below), -1, -1):
            yield "/".join([mount.rstrip("/"), *below[:steps]])


def _group_paths(machine: Machine, controller: str) -> dict[int, str]:
    """The path of this process's group in version 1 and version 2."""
    found = {}
    for line in (machine.read("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found[2] = path
        elif controller in controllers.split(","):
            found[1] = path
    return found


def _mounts(machine: Machine, controller: str) -> Iterator[tuple[int, str, str]]:
    """(version, which group is its root, where it is mounted) of each hierarchy that may limit."""
    for line in (machine.read("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if len(place) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield 2, place[3], place[4]
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            yield 1, place[3], place[4]


def _below(path: str, root: str) -> tuple[str, ...]:
    """The steps from the mounted root down to the group; none where the group is not below it."""
    group, top = PurePosixPath(path), PurePosixPath(root)
    if ".." in group.parts or not group.is_relative_to(top):
        return ()
    return group.relative_to(top).parts
