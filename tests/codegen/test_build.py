"""Sources become libraries: which compiler, what is kept, and what is never loaded."""

import ctypes
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flatout.codegen import compiler as compilers
from flatout.codegen.build import CacheError, build, cache_folder
from flatout.codegen.compiler import CompilerFailedError, NoCompilerError, find_compiler

SOURCE = "int answer(void) { return %d; }\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    path = tmp_path / "libraries"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("FLATOUT_CACHE", str(path))
    monkeypatch.delenv("FLATOUT_SOURCE", raising=False)
    compilers._found.cache_clear()
    yield path
    compilers._found.cache_clear()


def answer(number=1):
    built = build(SOURCE % number)
    return built, built.library.answer()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_library_is_kept_by_its_source(folder):
    first, one = answer(1)
    again, same = answer(1)
    other, two = answer(2)
    assert (one, same, two) == (1, 1, 2)
    assert (first.fresh, again.fresh, other.fresh) == (True, False, True)
    assert first.source.read_text() == SOURCE % 1
    assert {path.suffix for path in folder.iterdir()} == {".c", ".so", ".sha256"}


@pytest.mark.parametrize("damage", ["cut", "other", "unsigned", "writable", "link"])
def test_a_damaged_library_is_built_anew(folder, damage, tmp_path):
    """In a process of its own the system loader would hand the library out again; the name tells."""
    answer(3)
    (library,) = folder.glob("*.so")
    good = library.read_bytes()
    library.unlink()  # a library that is loaded must not be written into
    if damage == "link":
        (tmp_path / "elsewhere.so").write_bytes(good)
        library.symlink_to(tmp_path / "elsewhere.so")
    else:
        library.write_bytes({"cut": good[:100], "other": b"not a library"}.get(damage, good))
        library.chmod(0o666 if damage == "writable" else 0o600)
    if damage == "unsigned":
        library.with_suffix(".sha256").unlink()
    built, value = answer(3)
    assert built.fresh
    assert value == 3
    assert not library.is_symlink()
    assert not library.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_a_folder_others_can_write_to_is_not_used(folder):
    folder.chmod(0o770)
    with pytest.raises(CacheError, match="others can write"):
        cache_folder()
    built, value = answer()
    assert (built.fresh, value) == (True, 1)
    assert not list(folder.iterdir())


def test_without_a_folder_it_is_built_aside(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path / "file" / "below"))
    assert answer()[1] == 1


def test_a_full_disk_is_no_obstacle(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flatout.codegen.build._write_aside", full)
    assert answer(4)[1] == 4


def test_an_edited_source_runs(tmp_path, monkeypatch):
    edited = tmp_path / "mine.c"
    edited.write_text(SOURCE % 42)
    monkeypatch.setenv("FLATOUT_SOURCE", str(edited))
    assert answer(1)[1] == 42


def test_the_compiler_of_the_environment_is_used(tmp_path, monkeypatch):
    note = tmp_path / "called"
    monkeypatch.setenv("CC", script(tmp_path / "mycc", f'echo "$@" >> {note}; exec cc "$@"'))
    assert answer(5)[1] == 5
    assert "-shared" in note.read_text()


def test_a_compiler_that_cannot_be_run_is_named(monkeypatch):
    monkeypatch.setenv("CC", "/does/not/exist")
    with pytest.raises(NoCompilerError, match="/does/not/exist"):
        find_compiler()


def test_no_compiler_at_all(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoCompilerError, match=r"cc, gcc, clang.*ziglang"):
        build(SOURCE % 1)


def test_a_failing_compiler_is_quoted_and_the_file_kept(folder):
    with pytest.raises(CompilerFailedError, match="error") as caught:
        build("this is not C\n")
    (kept,) = folder.glob("*.c")
    assert str(kept) in str(caught.value)
    assert kept.read_text() == "this is not C\n"
    assert not list(folder.glob("*.so"))


def test_two_processes_build_at_once(folder):
    code = f"from flatout.codegen.build import build; print(build({SOURCE % 6!r}).library.answer())"
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in running] == ["6", "6"]
    assert len(list(folder.glob("*.so"))) == 1
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_library_can_be_loaded_by_hand(folder):
    answer(7)
    (library,) = folder.glob("*.so")
    assert ctypes.CDLL(str(Path(library))).answer() == 7
