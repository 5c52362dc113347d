"""What Windows answers, asked through its registry and C functions (PowerShell takes a second to start)."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import winreg

    _ALL_RELATIONS = 0xFFFF

    def answer(name: str) -> str | None:
        """The answer to a question that `flatout.hardware.machine` lists, or None."""
        kind, _, rest = name.partition(":")
        if kind == "registry":
            return _registry(*rest.rsplit("\\", 1))
        if kind == "feature":
            return str(int(bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(int(rest)))))
        if kind == "processors":
            return _processors()
        if kind in {"affinity", "memory"}:
            return _asked_of_psutil(kind)
        return None

    def _registry(key: str, value: str) -> str | None:
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
                return str(winreg.QueryValueEx(opened, value)[0])
        except OSError:
            return None

    def _processors() -> str | None:
        ask = ctypes.windll.kernel32.GetLogicalProcessorInformationEx
        size = ctypes.c_ulong(0)
        ask(_ALL_RELATIONS, None, ctypes.byref(size))  # fails, and says how much room it needs
        room = ctypes.create_string_buffer(size.value)
        return room.raw[: size.value].hex() if ask(_ALL_RELATIONS, room, ctypes.byref(size)) else None

    def _asked_of_psutil(kind: str) -> str | None:
        import psutil

        try:
            if kind == "affinity":
                return str(len(psutil.Process().cpu_affinity()))
            return str(psutil.virtual_memory().total)
        except (OSError, psutil.Error):
            return None

else:

    def answer(name: str) -> str | None:
        """Elsewhere than on Windows there is no answer."""
        return None
