"""Sources become libraries: which compiler, what is kept, and what is never loaded."""

import ctypes
import hashlib
import os
import re
import shutil
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


def test_a_folder_of_another_user_is_not_used(folder, monkeypatch):
    answer()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(CacheError, match="belongs to another user"):
        cache_folder()
    built, value = answer()
    assert (built.fresh, value) == (True, 1)


def test_a_library_that_cannot_be_loaded_is_built_anew(folder):
    """Its checksum is right, but it is for another machine."""
    code = f"from flatout.codegen.build import build; build({SOURCE % 1!r})"
    subprocess.run([sys.executable, "-c", code], check=True)  # here it would be loaded already
    (library,) = folder.glob("*.so")
    library.unlink()
    library.write_bytes(b"for another machine")
    library.chmod(0o600)
    library.with_suffix(".sha256").write_text(hashlib.sha256(library.read_bytes()).hexdigest())
    built, value = answer()
    assert (built.fresh, value) == (True, 1)


def test_a_read_only_folder_is_no_obstacle(folder, monkeypatch):
    find_compiler()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CacheError, match="cannot be written"):
        cache_folder()
    assert answer()[1] == 1
    assert not list(folder.iterdir())


def test_no_folder_at_all_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="there is no folder to build a library in: Not a directory"):
        answer()


def test_a_compiler_that_fills_the_disk_works_aside(folder, tmp_path, monkeypatch):
    full = (
        f'case "$*" in *{folder}*) echo "ld: final link failed: No space left on device" >&2; exit 1;; esac'
    )
    monkeypatch.setenv("CC", script(tmp_path / "mycc", f'{full}\nexec cc "$@"'))
    assert answer()[1] == 1
    assert not list(folder.glob("*.so"))


def test_a_full_disk_is_no_obstacle(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flatout.codegen.build._write_aside", full)
    assert answer(4)[1] == 4


def test_an_edited_source_runs_in_place_of_the_one_it_was_made_from(tmp_path, monkeypatch):
    edited = tmp_path / "mine.c"
    edited.write_text("/* a step */\n" + SOURCE % 42)
    monkeypatch.setenv("FLATOUT_SOURCE", str(edited))
    built = build("/* a step */\n" + SOURCE % 1)
    assert (built.library.answer(), built.edited) == (42, True)
    other = build("/* another step */\n" + SOURCE % 1)
    assert (other.library.answer(), other.edited) == (1, False)


def test_an_edited_source_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setenv("FLATOUT_SOURCE", "/no/such/step.c")
    with pytest.raises(CacheError, match=r"FLATOUT_SOURCE is /no/such/step\.c, which cannot be read"):
        answer()


def test_the_compiler_of_the_environment_is_used(tmp_path, monkeypatch):
    note = tmp_path / "called"
    monkeypatch.setenv("CC", script(tmp_path / "mycc", f'echo "$@" >> {note}; exec cc "$@"'))
    assert answer(5)[1] == 5
    assert "-shared" in note.read_text()


@pytest.mark.parametrize("wish", ["/does/not/exist", "'cc", " ", "false"])
def test_a_compiler_that_cannot_be_run_is_named(monkeypatch, wish):
    monkeypatch.setenv("CC", wish)
    with pytest.raises(NoCompilerError, match=re.escape(f"CC is {wish!r}, but that cannot be run")):
        find_compiler()


def test_a_compiler_that_makes_nothing_is_told(folder, monkeypatch):
    monkeypatch.setenv("CC", "true")
    with pytest.raises(CompilerFailedError, match="it said nothing and wrote no library"):
        answer()
    assert not list(folder.glob("*.so"))


def test_a_compiler_that_makes_something_else_is_told(tmp_path, monkeypatch):
    code = 'while [ "$1" != -o ]; do [ "$1" = --version ] && exit; shift; done; echo text > "$2"'
    monkeypatch.setenv("CC", script(tmp_path / "mycc", code))
    with pytest.raises(CompilerFailedError, match=r"mycc made of \S+step\.c cannot be loaded"):
        answer()


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


def test_without_a_folder_the_file_is_kept_too(tmp_path, monkeypatch):
    find_compiler()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CompilerFailedError) as caught:
        build("this is not C\n")
    kept = Path(re.search(r"failed on (\S+): ", str(caught.value))[1])
    assert kept.read_text() == "this is not C\n"
    shutil.rmtree(kept.parent)


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


@pytest.mark.parametrize(("says", "has"), [("Fine Cc 12.2", True), ("clang version 20.1", False)])
def test_clang_is_not_given_flags_of_gcc(says, has, tmp_path, monkeypatch):
    script = tmp_path / "compiler"
    script.write_text(f"#!/bin/sh\necho '{says}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    compilers._found.cache_clear()
    assert ("-fno-tree-pre" in compilers.find_compiler().flags) is has
    compilers._found.cache_clear()
