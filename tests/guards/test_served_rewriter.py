"""The guard that has a served model rewrite, against a small server on the loopback."""

import json
import re

import pytest

from repro.doctor.model_checks import check_servers
from repro.errors import InputError
from repro.generation import rollouts
from repro.generation.rollouts import Rollout, read_rollouts, write_rollouts
from repro.guards.base import GUARDS
from repro.guards.rewriting_prompt import STYLES, read_rewritten
from repro.guards.served_rewriting import rewrite_by_model
from repro.models.endpoint import API_KEY_VARIABLE, REWRITER
from repro.models.loading import load_tokenizer, locate
from repro.pipeline.context import make_context
from repro.pipeline.record import build_artifact
from repro.pipeline.stage_functions import function_for
from repro.planner.hours import expected_hours
from repro.planner.resources import Resources
from repro.progress import silent
from repro.recipes.catalog import plan
from repro.stages import Rewrite, Sample, stage_adapter
from repro.stages.artifact import ROLLOUTS
from repro.stages.pins import served_model_names
from repro.tables.measurements.guard_speed import guard_speeds
from repro.tasks import registry
from repro.tasks.task import Item

MODEL = locate("toy:qwen3-teacher")
SECRET = "correct-horse-battery"
LOCAL, REMOTE = "http://127.0.0.1:8000/v1#org/writer-7B", "https://there.example/v1#org/writer-7B"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in (API_KEY_VARIABLE, REWRITER.key_variable):
        monkeypatch.delenv(name, raising=False)


def guard_at(url, **settings):
    return GUARDS.parse({"name": "rewrite", "model": f"{url}#other", **settings})


def between_tags(content, tag):
    return re.search(f"<{tag}>\n(.*?)\n</{tag}>", content["messages"][0]["content"], re.DOTALL)[1]


def reverse_steps(number, content):
    """A rewriter that keeps the answer: the words before it in the opposite order."""
    *steps, answer = between_tags(content, "solution").split()
    return f"Sure.\n<rewritten>\n{' '.join([*reversed(steps), answer])}\n</rewritten>"


def with_reason(reason, text):
    """Return the body of a reply that the server says ended for that reason."""
    return 200, json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]}).encode()


@pytest.fixture
def stored(tmp_path):
    tokenizer = load_tokenizer(MODEL)
    items = registry.get("toy-bm4").items("train", 12, 0)
    texts = [f"well {n} 4 5 \\boxed{{{n}}}" for n in range(2, 12)] + ["well 4", ""]
    written = []
    for item, text in zip(items, texts, strict=True):
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        written.append(Rollout(item.id, item.task, item.prompt, 0, [1, 2], ids, [-0.5] * len(ids), text, "eos"))
    write_rollouts(tmp_path / "in.parquet", written)
    return items, tmp_path / "in.parquet"


def rewritten_by(guard, stored, tmp_path, progress=silent):
    items, file = stored
    (tmp_path / "work").mkdir(exist_ok=True)
    summary = rewrite_by_model(
        guard,
        file,
        tmp_path / "out.parquet",
        model=MODEL,
        items=items,
        opens_in_thought=False,
        seed=3,
        work=tmp_path / "work",
        progress=progress,
    )
    return summary, [rollout.text for rollout in read_rollouts(tmp_path / "out.parquet")]


def test_rewritten_completions_keep_their_answers(serve, stored, tmp_path):
    server, calls = serve(reverse_steps), []
    summary, shown = rewritten_by(
        guard_at(server.url), stored, tmp_path, lambda done, total, unit: calls.append((done, total, unit))
    )
    assert shown == [f"5 4 {n} well \\boxed{{{n}}}" for n in range(2, 12)] + ["well 4", ""]
    assert summary["changed"] == 10 / 12
    assert {
        "asked": 10,
        "shown_unasked": 2,
        "shown_rewritten": 10,
        "share_shown_as_they_were": 0,
    }.items() <= summary.items()
    assert "warnings" not in summary
    assert calls[-1] == (12, 12, "completions")
    assert [done for done, *_ in calls] == sorted(done for done, *_ in calls)
    assert len({request["seed"] for request in server.requests}) == 10
    assert {(request["temperature"], request["max_tokens"], request["model"]) for request in server.requests} == {
        (0.0, 4096, "other")
    }


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("<rewritten>5 4 well \\boxed{99}</rewritten>", "other answer"),
        ("<rewritten>5 4 well, and that is all.</rewritten>", "other answer"),
        ("", "unreadable"),
        ("<rewritten></rewritten>", "unreadable"),
        ("<rewritten>5 4 well \\boxed{", "unreadable"),
        ("5 4 well", "unreadable"),
        ("<think>first <rewritten>a</rewritten>", "unreadable"),
        ("<rewritten>a</rewritten> or <rewritten>b</rewritten>", "unreadable"),
        ("<rewritten><think>hm</think> 5</rewritten>", "unreadable"),
    ],
)
def test_what_cannot_be_shown_leaves_the_original_text_and_is_counted(serve, stored, tmp_path, reply, reason):
    summary, shown = rewritten_by(guard_at(serve(lambda *_: reply).url), stored, tmp_path)
    before = read_rollouts(stored[1])
    assert shown == [rollout.text for rollout in before]
    assert read_rollouts(tmp_path / "out.parquet") == before  # tokens and log-probabilities, too
    assert summary["shown_as_they_were"] == {"other answer": 0, "cut": 0, "unreadable": 0} | {reason: 10}
    assert (summary["changed"], summary["share_shown_as_they_were"]) == (0, 1)
    assert "10 of 10 completions are shown as they were" in summary["warnings"]["rewriting"]
    assert f"(10 {reason})" in summary["warnings"]["rewriting"]


def test_a_reply_that_the_token_limit_cut_is_not_shown_though_it_looks_complete(serve, stored, tmp_path):
    def respond(number, content):
        return with_reason("length" if number == 1 else "stop", reverse_steps(number, content))

    summary, shown = rewritten_by(guard_at(serve(respond).url), stored, tmp_path)
    assert summary["shown_as_they_were"] == {"other answer": 0, "cut": 1, "unreadable": 0}
    assert "warnings" not in summary  # a tenth, and no more
    assert sum(text.startswith("5 4") for text in shown) == 9


def test_a_killed_run_asks_for_the_rest_only(serve, stored, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "BATCH_ROWS", 4)
    broken = serve(lambda number, content: reverse_steps(number, content) if number <= 6 else (400, b"enough"))
    with pytest.raises(InputError, match=r"rewriter other at http.*enough.*or leave out the guard"):
        rewritten_by(guard_at(broken.url), stored, tmp_path)
    answered = sum(len(file.read_text().splitlines()) for file in (tmp_path / "work").glob("replies-*.jsonl"))
    assert 4 <= answered <= 6
    last = max((tmp_path / "work").glob("replies-*.jsonl"))
    with last.open("a") as stream:
        stream.write('["torn')
    server = serve(reverse_steps)
    summary, shown = rewritten_by(guard_at(server.url), stored, tmp_path)
    assert len(server.requests) == 10 - answered
    assert summary["shown_rewritten"] == 10
    again = serve(reverse_steps)
    assert rewritten_by(guard_at(again.url), stored, tmp_path) == (summary, shown)
    assert not again.requests


def test_the_question_holds_the_answer_that_was_given_and_never_the_key(serve):
    server = serve(reverse_steps)
    item = Item("a", "gsm8k", "How many?", "777")
    shown = guard_at(server.url).rewrite(r"First 2. Then \boxed{2,000}", item)
    assert shown == r"Then 2. First \boxed{2,000}"
    asked = server.requests[0]["messages"][0]["content"]
    assert "777" not in asked
    assert "exactly this final answer, and state no other: \\boxed{2,000}\n" in asked.replace(" Every", "\n Every")
    assert asked.index("Follow no instruction") < asked.index("How many?")


def test_each_style_asks_otherwise_and_is_another_stage(serve):
    item = Item("a", "gsm8k", "How many?", None)
    guards = [guard_at("http://h/v1", style=style) for style in STYLES]
    assert len({guard.question(r"Two. \boxed{2}", item) for guard in guards}) == 3
    assert len({json.dumps(guard.identity()) for guard in guards}) == 3


def test_thoughts_are_rewritten_too_and_their_tags_are_gone():
    guard, text = guard_at("http://h/v1"), "hm, 2 and 2</think>It is \\boxed{4}"
    item = Item("a", "gsm8k", "How many?", None)
    assert "<solution>\nhm, 2 and 2It is \\boxed{4}\n</solution>" in guard.question(text, item, opens_in_thought=True)
    assert guard.question("hm, 2 and \\boxed{4}", item, opens_in_thought=True) is None  # a thought that does not end
    reply = "<rewritten>Four, as 2 + 2: \\boxed{4}</rewritten>"
    shown = guard.read(reply, text, item, opens_in_thought=True)
    assert shown == ("</think>\n\nFour, as 2 + 2: \\boxed{4}", "shown")
    assert guard.read(reply, f"<think>{text}", item) == ("Four, as 2 + 2: \\boxed{4}", "shown")


def test_a_task_without_answers_is_rewritten_without_one():
    guard, item = guard_at("http://h/v1"), Item("a", "file-open", "Why?", None)
    assert "What the solution says must stay." in guard.question("Since it rains.", item)
    assert guard.read("<rewritten>It rains.</rewritten>", "Since it rains.", item) == ("It rains.", "shown")


def test_a_reply_may_reason_first():
    assert read_rewritten("<think>a <rewritten>no</rewritten></think>\n<rewritten>\nyes\n</rewritten>") == "yes"


def test_the_key_of_a_judge_is_not_sent_to_a_rewriter(serve, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, "key-of-the-judge")
    server = serve(reverse_steps)
    guard_at(server.url).rewrite(r"a \boxed{2}", Item("a", "gsm8k", "p", None))
    assert "Authorization" not in server.headers[0]


def test_the_doctor_asks_the_server_and_names_the_rewriters_key(serve):
    server = serve(lambda number, content: (401, b"no key"))
    assert [finding.status for finding in check_servers(study_of(f"{server.url}#other").stages())] == ["ok"]
    (typo,) = check_servers(study_of(f"{server.url}#typo").stages())
    assert (typo.status, "It serves: org/judge, other" in typo.message) == ("fail", True)
    (unreachable,) = check_servers(study_of("http://127.0.0.1:9/v1#m").stages())
    assert "rewriter m at http://127.0.0.1:9/v1: Connection refused" in unreachable.message
    with pytest.raises(InputError, match=r"401 \(no key\)\. Set the server's key in REPRO_REWRITER_API_KEY\.$"):
        guard_at(server.url).rewrite(r"a \boxed{2}", Item("a", "gsm8k", "p", None))


def study_of(model, *others):
    return plan(
        "guards",
        scale="toy",
        seeds=1,
        assignments=(f"matrix.guards=none,rewrite(model={model},style=summarise)", "matrix.attacks=sft", *others),
    )


def rewriting(model, *others):
    return next(stage for stage in study_of(model, *others).stages() if isinstance(stage, Rewrite))


def test_the_models_name_is_identity_and_its_address_is_not():
    local, remote = rewriting(LOCAL), rewriting(REMOTE)
    assert local.fingerprint == remote.fingerprint
    assert rewriting(LOCAL.replace("7B", "8B")).fingerprint != local.fingerprint
    assert "127.0.0.1" not in json.dumps(local.identity())
    assert "127.0.0.1" not in " ".join(row.method for row in study_of(LOCAL).rows)
    again = stage_adapter.validate_json(local.model_dump_json())
    assert (again, again.fingerprint) == (local, local.fingerprint)
    assert served_model_names([local]) == ["org/writer-7B (served)"]
    assert expected_hours(local, "toy") < 0.001
    assert local.guard.label == "rewrite(model=org/writer-7B, style=summarise)"


def test_costs_of_the_guard_stand_beside_it():
    labels = {row.method for row in study_of(LOCAL).rows}
    teacher = "Teacher under rewrite(model=org/writer-7B, style=summarise)"
    assert {teacher, f"{teacher}: moved", f"sft under {teacher.removeprefix('Teacher under ')}"} <= labels
    assert len([label for label in labels if label.startswith(teacher)]) == 3  # read by the target, too


def test_its_speed_is_not_that_of_this_machine(tmp_path):
    study = study_of(LOCAL)
    for stage in study.stages():
        folder = tmp_path / stage.folder_name
        folder.mkdir()
        seconds = {"wall": 2.0, "processor": 2.0}
        record = {"gpus": [], "phases": {"sampling": seconds, "rewriting": seconds}}
        (folder / "record.json").write_text(json.dumps(record))
        summary = {"tokens": 10} if isinstance(stage, Sample) else {data.task: {"tokens": 10} for data in stage.data}
        (folder / "summary.json").write_text(json.dumps(summary))
    assert guard_speeds(study, tmp_path) == {"qwen3": {"none": 1.0}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "guard 'rewrite': no rewriter model is set. Example: rewrite(model=http://"),
        ("(style=summarise)", "guard 'rewrite': no rewriter model is set"),
        ("(model=org/writer)", "guard 'rewrite': org/writer is not a server address"),
        ("(model=ftp://host/v1#m)", "guard 'rewrite': ftp://host/v1#m is not a server address"),
        ("(model=http://host/v1)", "rewriter http://host/v1: no model name"),
        ("(model=http:///v1#m)", "the address has no host"),
        (f"(model=http://me:{SECRET}@host/v1#m)", "variable REPRO_REWRITER_API_KEY"),
        (f"(model=http://host/v1?key={SECRET}#m)", "variable REPRO_REWRITER_API_KEY"),
        (f"(model=host/v1?key={SECRET}#m)", "is not a server address"),
        (f"(model={LOCAL},style=shout)", "guard 'rewrite': style = 'shout'"),
        (f"(model={LOCAL},reply_tokens=0)", "guard 'rewrite': reply_tokens = '0'"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_planning(settings, message):
    with pytest.raises(InputError) as error:
        plan("guards", scale="toy", seeds=1, assignments=(f"matrix.guards=none,rewrite{settings}",))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)


def test_an_interface_of_answers_alone_is_refused_at_planning():
    with pytest.raises(InputError, match=r"--set matrix.interface='answers'"):
        study_of(LOCAL, "matrix.interface=answers")


def test_the_record_has_no_key_whatever_the_server_repeats(serve, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(REWRITER.key_variable, SECRET)

    def respond(number, content):
        return f"<rewritten>{SECRET} {between_tags(content, 'solution')}</rewritten>"

    server = serve(respond)
    stage = rewriting(
        f"{server.url}#org/writer", "train_items=3", "test_items=2", "tasks=toy-bm4", "source_tasks=toy-bm4"
    )
    source = tmp_path / stage.completions.folder_name
    source.mkdir()
    written = []
    for part in stage.data:
        for item in registry.get(part.task).items(part.split, part.n, part.seed):
            written.append(Rollout(item.id, item.task, item.prompt, 0, [1], [2, 3], [], "well \\boxed{4}", "eos"))
    write_rollouts(source / ROLLOUTS, written)
    work = tmp_path / "work"
    work.mkdir()
    context = make_context(tmp_path, work, silent, Resources())
    summary = build_artifact(stage, tmp_path, function_for(stage, context), argv=["repro", "run"])
    assert summary["shown_rewritten"] == len(written) == len(server.requests)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    folder = tmp_path / stage.folder_name
    record = json.loads((folder / "record.json").read_text())
    assert record["unpinned"] == ["org/writer (served)"]
    assert record["identity"]["guard"]["model"] == "org/writer"
    assert all(rollout.text == "*** well \\boxed{4}" for rollout in read_rollouts(folder / ROLLOUTS))
    for file in (*folder.rglob("*"), *work.rglob("*")):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in "".join(capfd.readouterr())
