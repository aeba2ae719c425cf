"""The public API: every name is where it says, has a docstring, and costs nothing before it is used."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from repro import api


@pytest.mark.parametrize("name", api.__all__)
def test_a_public_name_is_there_and_documented(name):
    value = getattr(api, name)
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        hints = typing.get_type_hints(value)
        assert set(hints) >= {"return", *inspect.signature(value).parameters} - {"self"}


def test_all_names_are_grouped_once():
    grouped = [name for names in api.GROUPS.values() for name in names]
    assert grouped == api.__all__
    assert len(grouped) == len(set(grouped))
    assert dir(api) == sorted(grouped)


def test_type_checkers_see_the_same_objects():
    """The imports that only a type checker reads name the objects that are imported at run time."""
    source = Path(api.__file__).read_text()
    block = source[source.index("if TYPE_CHECKING:") : source.index("\nGROUPS")].replace(
        "if TYPE_CHECKING:", "if True:"
    )
    seen: dict[str, object] = {}
    exec(block, seen)
    seen.pop("__builtins__")
    assert set(seen) == set(api.__all__)
    assert all(seen[name] is getattr(api, name) for name in api.__all__)


def test_an_unknown_name_says_where_the_names_are():
    with pytest.raises(AttributeError, match=r"repro\.api\.__all__"):
        api.token_kll  # noqa: B018


def test_importing_it_imports_no_library():
    code = "import sys, repro.api; print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pydantic', 'rich'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_says_that_it_is_typed():
    assert (Path(api.__file__).parent / "py.typed").is_file()
