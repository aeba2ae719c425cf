"""A malformed stored file is refused with its name, the line and the key."""

import shutil
from pathlib import Path

import pytest

from repro.errors import InputError
from repro.printed import files
from repro.printed.files import line_of, paper_tables_folder
from repro.printed.load import load
from repro.tables import load_claims


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(paper_tables_folder(), tmp_path / "paper_tables"))


def spoil(path: Path, old: str, new: str) -> int:
    """Replace the first `old` and return the number of its line."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "table2",
            '"0.413 [0.399, 0.674]"',
            '"0.4l3 [0.399, 0.674]"',
            r"key blocks\[0\].rows\[3\]: column BM4: '0.4l3.*not a printed",
        ),
        (
            "table2",
            '"0.413 [0.399, 0.674]"',
            '"0.413 [0.399]"',
            r"column BM4: .* holds 2 numbers, expected acc, maj16, pass16",
        ),
        (
            "table2",
            '"0.413 [0.399, 0.674]"',
            '"4.13 [0.399, 0.674]"',
            "column BM4: acc is 4.13, expected 0 to 1",
        ),
        ("table2", '"0.413 [0.399, 0.674]", ', "", "9 entries, expected 3 keys and 7 cells"),
        ("table2", 'title = "Main', 'tittle = "Main', "key tittle: no such key"),
        ("table2", 'id = "table2"', 'id = "table3"', "key id: 'table3' must be 'table2'"),
        (
            "table2",
            'columns = ["Dolly"',
            'columns = ["Dolli"',
            r"key blocks\[0\].groups: \['Dolli'\] are not in legend.toml",
        ),
        (
            "table1",
            'teacher = "Qwen3-32B" }',
            'teacher = "Qwen3-33B" }',
            r"key errata\[0\]: .* does not cover",
        ),
    ],
)
def test_table_names_line_and_key(folder: Path, file: str, old: str, new: str, message: str) -> None:
    line = spoil(folder / f"{file}.toml", old, new)
    with pytest.raises(InputError, match=message) as error:
        load(file, folder)
    assert "\n" not in str(error.value)
    # Where a whole block is at fault the first line of it is named.
    named = int(str(error.value).split("line ")[1].split(",")[0])
    assert (
        named == line
        or ("groups" in message and 0 < line - named <= 3)
        or ("errata" in message and 0 < line - named <= 3)
    )


def test_syntax_error_names_line(folder: Path) -> None:
    line = spoil(folder / "table3.toml", "section =", "section :")
    with pytest.raises(InputError, match=rf"table3.toml: not TOML: .*line {line}"):
        load("table3", folder)


def test_wrong_type_names_line(folder: Path) -> None:
    line = spoil(folder / "legend.toml", "margin = 0.03", "margin = 3")
    with pytest.raises(InputError, match=rf"legend.toml, line {line}, key metrics.acc.margin: .*less than 1"):
        load("table2", folder)


def test_kl_margin_under_15_percent_is_refused(folder: Path) -> None:
    spoil(folder / "legend.toml", "margin = 0.15", "margin = 0.05")
    with pytest.raises(InputError, match=r"key metrics.token_rkl: .*at least 0.15"):
        load("table1", folder)


def test_repeated_row_is_refused(folder: Path) -> None:
    spoil(folder / "table3.toml", '"Misled (CD)"', '"Misled (OOD)"')
    with pytest.raises(InputError, match=r"Misled \(OOD\), CSQA, acc is listed twice"):
        load("table3", folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "ordering"', 'kind = "order"', r"key claims\[0\].kind: must be 'ordering'"),
        ("training = false", "training = 0.5", r"key claims\[0\].training"),
        ('bears_out = "partly", held = 13', 'bears_out = "true", held = 13', "bears_out must be 'partly'"),
        ('id = "sft-helps"', 'id = "student-under-teacher"', r"key claims\[1\].id: .* is used twice"),
        ("margin = 0.02\n", "", "margin above 0 is required"),
        ('role = "control"', 'role = "claim"', "controls are ours"),
    ],
)
def test_claims_name_key(folder: Path, old: str, new: str, message: str) -> None:
    line = spoil(folder / "claims.toml", old, new)
    with pytest.raises(InputError, match=message) as error:
        load_claims("table2", folder)
    named = int(str(error.value).split("line ")[1].split(",")[0])
    assert line - 20 <= named <= line


def test_missing_file(folder: Path) -> None:
    (folder / "table7.toml").unlink()
    with pytest.raises(InputError, match=r"table7.toml: No such file"):
        load("table7", folder)


def test_the_installed_package_carries_its_own_copy(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "repro"
    shutil.copytree(folder, package / "_paper_tables")
    monkeypatch.setattr(files, "__file__", str(package / "printed" / "files.py"))
    assert paper_tables_folder() == package / "_paper_tables"
    assert len(load("table2").cells) == 306
    shutil.rmtree(package / "_paper_tables")
    with pytest.raises(InputError, match=r"no stored tables in .*paper_tables or .*_paper_tables: reinstall"):
        paper_tables_folder()


def test_line_of_reads_tables_arrays_and_keys() -> None:
    text = 'a = 1\n[x.y]\nb = 2\n[[c]]\nd = 1\nrows = [\n  ["p"],\n  ["q"],\n]\n[[c]]\nd = 2\ne = { f = 1 }\n'
    assert [
        line_of(text, key)
        for key in [
            ("a",),
            ("x", "y", "b"),
            ("c", 0, "rows", 1),
            ("c", 1),
            ("c", 1, "d"),
            ("c", 1, "e", "f"),
            ("none",),
        ]
    ] == [1, 3, 8, 10, 11, 12, 1]
