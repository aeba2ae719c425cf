"""Suggestions and plain words in the messages about a user's input."""

from pathlib import Path

import pydantic
import pytest

from repro.errors import InputError
from repro.models.loading import locate
from repro.recipes.catalog import find_study
from repro.system.input_errors import describe_problem, did_you_mean, did_you_mean_path
from repro.tasks import registry
from repro.tasks.own_file import hash_data_file


class Shape(pydantic.BaseModel, extra="forbid"):
    sides: int = pydantic.Field(3, gt=2)
    size: float = 1.0
    names: tuple[str, ...] = pydantic.Field(("a",), min_length=1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sides": "x"}, "not a whole number"),
        ({"sides": 2}, "must be greater than 2"),
        ({"size": "x"}, "not a number"),
        ({"colour": 1}, "no such key"),
        ({"names": ()}, "give 1 or more, separated by commas; there are 0"),
    ],
)
def test_problems_are_in_plain_words(values, words):
    with pytest.raises(pydantic.ValidationError) as raised:
        Shape.model_validate(values)
    assert describe_problem(raised.value.errors()[0]) == words


def test_names_that_are_alike_are_suggested(tmp_path):
    assert did_you_mean("stpes", ["steps", "eta"]) == "Did you mean steps? "
    assert did_you_mean("xyz", ["steps", "eta"]) == ""
    (tmp_path / "acme-large").mkdir()
    assert did_you_mean_path(tmp_path / "acme-larg") == f"Did you mean {tmp_path / 'acme-large'}? "
    assert did_you_mean_path(tmp_path / "none" / "acme-larg") == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_study("tabel2"), "no such study. Did you mean table2?"),
        (lambda: registry.get("toy-bm6"), "no such toy task. Did you mean toy-bm"),
        (lambda: locate("toy:qwen3-studnet"), "no such toy model. Did you mean toy:qwen3-student?"),
        (lambda: locate(__file__), "a file, not a folder. Give a folder"),
        (lambda: locate(f"{__file__[:-1]}"), "no such folder. Give a folder"),
        (lambda: hash_data_file(Path(__file__[:-1])), f"Did you mean {__file__}? Give a file"),
    ],
)
def test_a_wrong_name_of_a_study_task_or_model_is_met_with_the_nearest(call, message):
    with pytest.raises(InputError) as raised:
        call()
    assert message in str(raised.value)
