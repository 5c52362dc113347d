"""What `flatout` offers is listed once, and everything listed is there."""

import subprocess
import sys

import flatout


def test_every_public_name_is_there():
    for name in flatout.__all__:
        assert getattr(flatout, name) is not None
    assert sorted(flatout.__all__) == flatout.__all__
    assert set(flatout._HOMES) | {"__version__"} == set(flatout.__all__)


def test_an_unknown_name_is_an_attribute_error():
    try:
        flatout.nothing_of_this_name  # noqa: B018
    except AttributeError as error:
        assert "nothing_of_this_name" in str(error)
    else:
        raise AssertionError("no error")


def test_import_flatout_and_help_do_not_import_torch():
    code = (
        "import sys, flatout, flatout.cli.app\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
