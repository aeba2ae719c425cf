"""Classes that join by name: the kit's, and those of packages outside the project."""

import sys
from typing import Annotated, Any, ClassVar

import pydantic
import pytest
from outside_package import install

from repro.errors import InputError
from repro.system.plugins import Plugin, Registry, content_hash

GROUP = "repro.test_shapes"


class Shape(Plugin):
    sides: int = 3


class Square(Shape):
    """A square."""

    name: ClassVar[str] = "square"
    formula: ClassVar[str] = "a^2"
    source: ClassVar[str] = "Euclid"
    sides: int = pydantic.Field(default=4, gt=3)
    turned: float = 0.0


Square.__module__ = "repro"  # as a class of the kit


SHAPES = Registry("shape", GROUP, Shape, {"square": f"{__name__}:Square"})
OUTSIDE = """
from typing import ClassVar
import repro.system.plugins
import {base}
class Pentagon({base}.Shape):
    name: ClassVar[str] = "{name}"
    formula: ClassVar[str] = "5"
    source: ClassVar[str] = "here"
    size: float = 1.0
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[Square.__module__])
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("pentagons")]:
        del sys.modules[name]


def outside(site, package: str, name: str = "pentagon", offered: str = "pentagon") -> None:
    source = OUTSIDE.format(base=__name__, name=name)
    install(site, package, source, {GROUP: {offered: f"{package}:Pentagon"}})


class Holder(pydantic.BaseModel, frozen=True):
    shape: Annotated[pydantic.SerializeAsAny[Shape] | None, pydantic.BeforeValidator(SHAPES.parse)] = None


def test_a_name_and_its_settings_are_read_and_survive_json():
    held = Holder(shape="square(sides=6, turned=0.5)")
    assert held.shape == Square(sides=6, turned=0.5)
    assert held.model_dump(mode="json") == {"shape": {"name": "square", "sides": 6, "turned": 0.5}}
    assert (
        Holder.model_validate(held.model_dump(mode="json"))
        == held
        == Holder.model_validate_json(held.model_dump_json())
    )
    assert held.shape.label == "square(sides=6, turned=0.5)"
    assert Holder(shape="square").shape.label == "square"
    assert Holder(shape=None).shape is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sqare", "shape 'sqare': no such shape. Did you mean square? `repro list --test_shapes` shows all 1"),
        ("square(sides=2)", "shape 'square': sides = '2': must be greater than 3. Its settings: sides, turned"),
        ("square(edges=2)", "shape 'square': edges = '2': no such key. Its settings: sides, turned"),
        (
            "square(4)",
            "shape 'square(4)': write its name, and its settings in brackets: square, or NAME(setting=value)",
        ),
        (7, "shape 7: write its name, and its settings in brackets: square, or NAME(setting=value)"),
    ],
)
def test_what_cannot_be_read_is_one_line(value: Any, message: str):
    with pytest.raises(InputError) as error:
        Holder(shape=value)
    assert str(error.value) == message


def test_a_package_outside_joins_with_its_content(site):
    outside(site, "pentagons")
    assert SHAPES.names() == ("square", "pentagon")
    held = Holder(shape="pentagon(size=2)")
    content = held.model_dump()["shape"]
    assert (content["name"], content["sides"], content["size"]) == ("pentagon", 3, 2.0)
    assert content["content"] == content_hash(type(held.shape))
    assert Holder.model_validate(held.model_dump()) == held
    with pytest.raises(InputError, match="files of its package have changed since this stage was planned"):
        Holder.model_validate({"shape": {**content, "content": "0" * 64}})
    assert dict(SHAPES.describe()) == {
        "square(sides=4, turned=0.0)": "a^2\nEuclid",
        "pentagon(sides=3, size=1.0)": "5\nhere [pentagons]",
    }


def test_the_hash_changes_with_the_packages_files(site):
    outside(site, "pentagons_a")
    first = content_hash(SHAPES.find("pentagon"))
    (site / "pentagons_a.py").write_text((site / "pentagons_a.py").read_text() + "# changed\n")
    del sys.modules["pentagons_a"]
    assert content_hash(SHAPES.find("pentagon")) not in (first, None)
    assert content_hash(Plugin) is None


def test_what_a_package_offers_may_be_unusable(site):
    outside(site, "pentagons_b", name="hexagon")
    with pytest.raises(
        InputError, match="'pentagon': class pentagons_b:Pentagon of pentagons_b has the name 'hexagon'"
    ):
        SHAPES.find("pentagon")
    install(site, "pentagons_c", "raise OSError('no disk\\ntoday')", {GROUP: {"c": "pentagons_c:C"}})
    with pytest.raises(
        InputError, match=r"shape 'c': pentagons_c:C of pentagons_c cannot be imported: OSError: no disk today"
    ):
        SHAPES.find("c")
    install(site, "pentagons_d", "D = 5", {GROUP: {"d": "pentagons_d:D"}})
    with pytest.raises(InputError, match=r"'d': pentagons_d:D of pentagons_d is not a subclass of .*Shape"):
        SHAPES.find("d")
    assert dict(SHAPES.describe())["c"].startswith("cannot be used: shape 'c': pentagons_c:C")


def test_names_of_the_kit_stay_and_a_name_has_one_package(site):
    outside(site, "pentagons_e", name="square", offered="square")
    assert SHAPES.find("square") is Square
    outside(site, "pentagons_f")
    outside(site, "pentagons_g")
    with pytest.raises(InputError, match=r"'pentagon': several packages provide it \(pentagons_f, pentagons_g\)"):
        SHAPES.find("pentagon")
