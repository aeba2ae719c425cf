"""Hundreds of random bad inputs: one clear line, exit 2, no traceback, nothing changed on disk."""

import hashlib
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_kit import count
from safetensors.torch import load_file, save_file

from repro.errors import InputError
from repro.models.loading import locate
from repro.printed.load import load
from repro.recipes.catalog import settings_of
from repro.recipes.settings import flatten

Case = tuple[list[str], bool]
"""A command line, and whether it must be refused (a changed result may still be valid)."""
NUMBERLESS = ["abc", "", "1,5", "0x", "--", "½", "one", "[]", "{}", "true"]


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefgh-_.é 7/") for _ in range(rng.randint(1, 12))) + "!"


def recipes(rng: random.Random, folder: Path, result: Path) -> Case:
    bad = random_text(rng)
    return rng.choice(
        [
            ["run", bad],
            ["run", "table2", "--scale", bad],
            ["run", "table2", "--scale", "toy", "--family", bad],
            ["run", "table2", "--scale", "toy", "--seeds", rng.choice(["0", "-3", "two", "1.5"])],
            ["run", "table2", "--scale", "toy", "--workers", rng.choice(["x", "1.5", "0", "-2"])],
            ["run", "table2", "--scale", "toy", "--checkpoint-every", rng.choice(["-1", "x"])],
            ["run", "table2", "--scale", "toy", "--ranks", rng.choice(["0", "-1", "x"])],
            ["run", "table2", "--scale", "paper"],
            ["run", "table2", "--scale", "toy", "--engine", bad],
            ["run", "table2", "--scale", "toy", f"--{bad.strip()}"],
            ["calibrate", "toy:qwen3-teacher", "--eta", rng.choice([*NUMBERLESS[:6], "nan", "inf"]), "--items", "2"],
            ["distill", "toy:qwen3-student", "--teacher", f"toy:{bad}"],
            ["distill", "toy:qwen3-student", "--teacher", "toy:qwen3-teacher", "--method", bad],
            ["evaluate", "toy:qwen3-student", "--task", bad],
            ["evaluate", "toy:qwen3-student", "--items", rng.choice(["0", "-4", "x"])],
            ["sample", "toy:qwen3-student", "--split", bad],
            ["settings", "--scale", bad],
            ["tables", "show", bad],
            [bad],
        ]
    ), True


def settings(rng: random.Random, folder: Path, result: Path) -> Case:
    known = flatten(settings_of("toy").model_dump(mode="json"))
    key = rng.choice(sorted(known))
    value = known[key]
    kind = rng.randrange(4)
    if kind == 0:  # a key with a typo
        position = rng.randrange(len(key))
        typo = key[:position] + rng.choice("xqz") + key[position:]
        text = f"{typo}={value}"
    elif kind == 1:
        text = rng.choice([key, f"{key}.more=1", f"={value}", f"{key.partition('.')[0]}.=1", f".{key}=1"])
    elif key.startswith("families."):  # a list of further models may well be empty
        text = (
            f"families.qwen3.{rng.choice(['teacher', 'student', 'target'])}={rng.choice(['toy:none', './no', 'x', ''])}"
        )
    elif isinstance(value, bool):
        text = f"{key}={rng.choice(['perhaps', '2', 'nan', ''])}"
    elif isinstance(value, int | float):
        text = f"{key}={rng.choice([*NUMBERLESS[:9], 'nan', '-inf'])}"
    elif isinstance(value, list):
        text = f"{key}={rng.choice(['', ',', 'toy-bm4,nosuch', random_text(rng), 'toy-bm4;toy-bm5'])}"
    else:
        text = f"{key}={random_text(rng)}"
    return ["run", "table2", "--scale", "toy", "--set", text], True


def data_files(rng: random.Random, folder: Path, result: Path) -> Case:
    tasks = {
        "gsm8k": {"question": "1 + 1?", "answer": "#### 2"},
        "csqa": {
            "id": "a",
            "question": "Which?",
            "choices": {"label": ["A", "B"], "text": ["x", "y"]},
            "answerKey": "A",
        },
        "dolly": {"instruction": "Write.", "context": "", "response": "Yes.", "category": "open_qa"},
    }
    task = rng.choice(sorted(tasks))
    good = json.dumps(tasks[task])
    file = folder / f"rows{rng.choice(['.jsonl', '.parquet'])}"
    kind = rng.randrange(8)
    if kind == 0:
        file = folder / rng.choice(["none.jsonl", "none/rows.jsonl", "rows.csv", "rows"])
        if file.suffix in ("", ".csv") and file.parent == folder:
            file.write_text(good)
    elif kind == 1:
        file.write_bytes(rng.randbytes(rng.randint(1, 400)) + b"\xff\xfe\x00")
    elif kind == 2:
        file.write_bytes(b"")
    elif kind == 3:
        file = file.with_suffix(".jsonl")
        file.write_text(good[: rng.randint(1, len(good) - 1)])
    elif kind == 4:
        file = file.with_suffix(".jsonl")
        file.write_text(rng.choice(["[1, 2]", '"text"', "3", "null", "[" * 3000]) + "\n")
    elif kind == 5:
        file.mkdir()
    else:
        file = file.with_suffix(".jsonl")
        rows = [dict(tasks[task]) for _ in range(40)]
        key = {"gsm8k": "answer", "csqa": "answerKey", "dolly": "instruction"}[task]
        for row in rows:
            if kind == 6:
                del row[key]
            else:
                row[key] = rng.choice([None, 3, ["x"], {}, ""])
        file.write_text("\n".join(map(json.dumps, rows)))
    return ["evaluate", "toy:qwen3-student", "--task", task, "--data", str(file)], True


def model_folders(rng: random.Random, folder: Path, result: Path) -> Case:
    model = folder / "model"
    shutil.copytree(locate("toy:qwen3-student"), model)
    weights = next(model.glob("*.safetensors"))
    config = json.loads((model / "config.json").read_text())
    kind = rng.randrange(12)
    if kind == 0:
        (model / "config.json").unlink()
    elif kind == 1:
        (model / "config.json").write_text(rng.choice(["", "{", "[]", "null", '"x"']))
    elif kind == 2:
        with weights.open("r+b") as stream:
            stream.truncate(rng.randrange(weights.stat().st_size))
    elif kind == 3:
        weights.write_bytes(rng.randbytes(rng.randint(0, 600)))
    elif kind == 4:
        weights.rename(model / "pytorch_model.bin")
    elif kind == 5:
        for file in model.glob("tokenizer*"):
            file.unlink()
    elif kind == 6:
        with weights.open("ab") as stream:
            stream.write(b"more")
    elif kind == 7:
        (model / "config.json").write_text(json.dumps(config | {"model_type": random_text(rng)}))
    elif kind in (8, 9):  # valid files of other weights than the configuration says
        tensors = load_file(weights)
        name = rng.choice(sorted(tensors))
        if kind == 8:
            del tensors[name]
        else:
            tensors[name] = tensors[name][:-1].clone()
        save_file(tensors, weights, metadata={"format": "pt"})
    elif kind == 10:
        tokenizer = (model / "tokenizer.json").read_text()
        truncated = tokenizer[: rng.randrange(len(tokenizer))]
        (model / "tokenizer.json").write_text(rng.choice(["", "{}", "[]", truncated]))
    else:
        key = rng.choice(["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
        (model / "config.json").write_text(json.dumps(config | {key: rng.choice(["abc", -1, 0, None, [], 3])}))
    command = rng.choice(
        [
            ["traps", str(model), "toy:qwen3-student"],
            ["sample", str(model)],
            ["evaluate", str(model)],
            ["distill", str(model), "--teacher", "toy:qwen3-teacher"],
            ["distill", "toy:qwen3-student", "--teacher", str(model)],
            ["calibrate", "toy:qwen3-teacher", "--eta", "1", "--target", str(model)],
        ]
    )
    return [*command, "--task", "toy-bm4", "--items", "2"], True


def result_folders(rng: random.Random, folder: Path, result: Path) -> Case:
    kind = rng.randrange(5)
    content = json.loads((result / "table2-toy" / "results.json").read_text())
    file = folder / "results.json"
    if kind == 0:
        artifact = folder / "artifact"
        shutil.copytree(next((result / "cache").glob("evaluate-*")), artifact)
        if rng.random() < 0.5:
            (artifact / "summary.json").unlink()
        else:
            (artifact / "record.json").write_text(rng.choice(["", "{", "[]", "{}", "null", '{"label": 1}']))
        return ["show", str(artifact)], True
    reader = rng.choice(["show", "report", "record-verdicts", "record-history"])
    if kind == 1:
        text = json.dumps(content)
        file.write_text(text[: rng.randrange(len(text))])
        return [reader, str(folder)], True
    if kind == 2:
        file.write_text(rng.choice(["", "[]", "{}", "null", "3", '{"study": "table2"}', '{"study": 1, "measured": 2}']))
        return [reader, str(folder)], True
    if kind == 3:
        return [reader, str(folder / random_text(rng).replace("/", ""))], True
    parent: dict | list = content
    key: str | int = "measured"
    while True:  # replace a random value by one of another type
        inner = parent[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.15:
            break
        parent, key = inner, rng.choice(sorted(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
    if isinstance(parent, dict) and rng.random() < 0.3:
        del parent[key]
    else:
        parent[key] = rng.choice([None, "text", {}, [], -1e400, [[None]]])  # type: ignore[index]
    file.write_text(json.dumps(content))
    return [rng.choice(["show", "report"]), str(folder)], False


def cluster_files(rng: random.Random, folder: Path, result: Path) -> Case:
    file = folder / "cluster.toml"
    file.write_text(
        rng.choice(
            ["partition = ", "[", "colour = 'red'", "hours = 0", "hours = 'long'", "gpus = -1", "cpus = 0", "setup = 3"]
        )
    )
    command = ["run", "table2", "--scale", "toy", "--cluster"]
    return rng.choice(
        [
            [*command, "slurm", "--cluster-file", str(file)],
            [*command, "slurm", "--cluster-file", str(folder / "none.toml")],
            [*command, "slurm", "--cluster-option", rng.choice(["gpus", "colour=red", "hours=long", "gpus=-2", "=3"])],
            [*command, "local", "--cluster-option", "gpus=1"],
            [*command, random_text(rng)],
        ]
    ), True


GENERATORS: list[Callable[[random.Random, Path, Path], Case]] = [
    *(recipes, settings, data_files, model_folders, result_folders, cluster_files),
]


def snapshot(folder: Path) -> dict[str, str]:
    """Return the paths below the folder, with hashes of files."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in folder.rglob("*")
    }


@pytest.mark.timeout(7200)
def test_bad_inputs(forge, undisturbed, tmp_path):
    rng = random.Random(300)
    inputs, refused, valid, faults = count("INPUTS", 300), Counter(), 0, []
    number = 0
    while refused.total() + len(faults) < inputs:
        generator = GENERATORS[number % len(GENERATORS)]
        folder = tmp_path / str(number)
        folder.mkdir()
        arguments, must_refuse = generator(rng, folder, undisturbed)
        before = snapshot(folder)
        command = forge.start(arguments, cwd=folder)
        try:
            code, text = command.wait(120), command.text()
        except AssertionError:  # it was accepted, and runs
            command.kill_all()
            code, text = command.wait(), "accepted, and still running after 120 s"
        number += 1
        messages = [line for line in text.splitlines() if line.startswith("error: ")]
        if code in (0, 1) and not must_refuse and "Traceback" not in text:
            valid += 1
        elif (
            code != 2
            or "Traceback" in text
            or len(messages) != 1
            or len(messages[0]) < 15
            or snapshot(folder) != before
        ):
            changed = sorted(set(snapshot(folder).items()) ^ set(before.items()))
            faults.append(f"exit {code}: repro {' '.join(arguments)}\n{text[-700:]}\nchanged: {changed[:4]}")
        else:
            refused[generator.__name__] += 1
        shutil.rmtree(folder)
    print(f"{refused.total()} refused: {dict(refused)}; {valid} changed results were still valid")
    assert not faults, f"{len(faults)} of {number}:\n\n" + "\n\n".join(faults[:40])


@pytest.mark.parametrize("seed", range(30))
def test_bad_stored_tables(tmp_path, seed):
    """A stored table with a value cut, renamed or of another type is refused in one line that names the file."""
    rng = random.Random(seed)
    source = Path(__file__).parents[2] / "paper_tables"
    shutil.copytree(source, tmp_path / "tables")
    file = tmp_path / "tables" / f"table{rng.randint(1, 7)}.toml"
    lines = file.read_text().splitlines()
    settings = [n for n, line in enumerate(lines) if "=" in line and not line.startswith(("#", " "))]
    number = rng.choice(settings)
    key, _, value = lines[number].partition("=")
    lines[number] = rng.choice([f"{key.strip()}x = {value}", key, f"{key} = [[1], {{}}]", f"{key} = nonsense"])
    file.write_text("\n".join(lines))
    with pytest.raises(InputError, match=file.name) as error:
        load(file.stem, tmp_path / "tables")
    assert len(str(error.value).strip().splitlines()) <= 3
