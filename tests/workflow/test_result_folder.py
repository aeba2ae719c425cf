"""The folder of a result: by settings, and never that of a judged result which the run would lose."""

import json

import pytest

from repro.errors import InputError
from repro.recipes.catalog import plan
from repro.workflow.result_folder import result_folder


def table2(*assignments, seeds=1, first_seed=0, families=()):
    return plan("table2", scale="toy", seeds=seeds, first_seed=first_seed, families=families, assignments=assignments)


def store(planned, folder, **changes):
    content = {
        "study": planned.name,
        "scale": planned.scale,
        "seeds": list(planned.seeds),
        "families": list(planned.families),
        "settings": planned.settings,
        "rows": [{"artifact": row.stage.folder_name, "seed": row.seed, "family": row.family} for row in planned.rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content | changes))


def test_other_settings_have_a_folder_of_their_own(tmp_path):
    default, changed, again = (
        result_folder(table2(*sets), tmp_path).name
        for sets in ((), ("eta=0.3",), ("eta_distillable=0.3", "eta_undistillable=-0.3"))
    )
    assert default == "table2-toy"
    assert changed.startswith("table2-toy-eta0.3-")
    assert changed == again
    engine = result_folder(table2("engine=vllm", "tasks=toy-bm4,toy-dolly"), tmp_path).name
    assert engine.startswith("table2-toy-taskstoy-bm4+toy-dolly-engine")
    assert result_folder(table2("eta=1"), tmp_path).name == default  # the default value
    assert len({default, changed, engine}) == 3


def test_the_address_of_a_served_model_is_no_other_setting(tmp_path):
    def guards(url, model="org/m"):
        chosen = [f"matrix.guards=none,rewrite(model={url}#{model},style=summarise)", "matrix.attacks=sft"]
        return plan("guards", scale="toy", seeds=1, assignments=chosen)

    local, remote = guards("http://127.0.0.1:8000/v1"), guards("https://there/v1")
    folder = result_folder(local, tmp_path)
    assert result_folder(remote, tmp_path) == folder
    assert "org_m" in folder.name
    assert "127" not in folder.name
    assert result_folder(guards("https://there/v1", "org/n"), tmp_path) != folder
    store(local, folder)
    assert result_folder(remote, tmp_path) == folder


def test_more_seeds_replace_and_fewer_do_not(tmp_path):
    store(table2(seeds=3), tmp_path / "table2-toy")
    assert result_folder(table2(seeds=3), tmp_path).name == "table2-toy"
    assert result_folder(table2(seeds=4), tmp_path).name == "table2-toy"
    assert result_folder(table2(seeds=1), tmp_path).name == "table2-toy-qwen3-seed0"
    assert result_folder(table2(seeds=2, first_seed=3), tmp_path).name == "table2-toy-qwen3-seed3to4"
    assert result_folder(table2(seeds=3, families=["gemma3"]), tmp_path).name == "table2-toy-gemma3-seed0to2"
    assert result_folder(table2(seeds=3, families=["all"]), tmp_path).name == "table2-toy"


def test_a_name_of_the_user(tmp_path):
    assert result_folder(table2(), tmp_path, "mine") == tmp_path / "mine"
    store(table2(), tmp_path / "mine")
    assert result_folder(table2(), tmp_path, "mine") == tmp_path / "mine"
    with pytest.raises(InputError, match=r"its eta_distillable is 1.0, here 0.3"):
        result_folder(table2("eta=0.3"), tmp_path, "mine")
    store(table2(), tmp_path / "mine", study="table1")
    with pytest.raises(InputError, match="its study is table1"):
        result_folder(table2(), tmp_path, "mine")
    for name in ("../up", "cache", ".hidden", ""):
        with pytest.raises(InputError, match="--name"):
            result_folder(table2(), tmp_path, name)


def test_a_result_made_with_other_defaults_is_not_replaced(tmp_path):
    study = table2()
    store(study, tmp_path / "table2-toy", settings=study.settings | {"train_items": 7})
    with pytest.raises(InputError, match=r"train_items is 7, here 750.*--name"):
        result_folder(study, tmp_path)
    settings = {key: value for key, value in study.settings.items() if key != "controls"}
    store(study, tmp_path / "table2-toy", settings=settings | {"dropped": 1})  # only one version knows them
    assert result_folder(study, tmp_path).name == "table2-toy"


def test_settings_of_guards_and_attacks_count_where_a_row_would_be_lost(tmp_path):
    fewer, more = "matrix.attacks=sft", "matrix.attacks=sft,gkd-rkl"
    store(table2(fewer), tmp_path / "table2-toy")
    assert result_folder(table2(), tmp_path).name == "table2-toy"  # its rows are the same
    store(table2(fewer, seeds=2), tmp_path / "table2-toy")
    assert result_folder(table2(), tmp_path).name == "table2-toy-qwen3-seed0"
    small, large = (
        plan("guards", scale="toy", seeds=1, assignments=("matrix.guards=none,knob", attacks))
        for attacks in (fewer, more)
    )
    store(small, tmp_path / "named")
    assert result_folder(large, tmp_path, "named").name == "named"
    store(large, tmp_path / "named")
    with pytest.raises(InputError, match=r"matrix\.attacks is \['sft', 'gkd-rkl'\], here \['sft'\]"):
        result_folder(small, tmp_path, "named")


def test_no_secret_reaches_the_name(tmp_path):
    token = "hf_" + "x" * 20
    study = table2(f"reward_model=lab/{token}")
    folder = result_folder(study, tmp_path)
    assert token not in folder.name
    store(study, folder, settings=study.settings | {"reward_model": "lab/***"})
    assert result_folder(study, tmp_path) == folder
