"""A judge behind an endpoint, against a small server on the loopback."""

import json
import threading
import time

import pytest

from repro.errors import InputError
from repro.evaluation.chat_client import LARGEST_REPLY, RETRIES, ChatClient
from repro.evaluation.config import ANSWER_TOKENS
from repro.evaluation.judge import TEMPERATURE, Case, ModelJudge
from repro.evaluation.served_judge import REPLIES, ask_endpoint
from repro.evaluation.stored_replies import CONCURRENT_REQUESTS
from repro.models.endpoint import API_KEY_VARIABLE, Endpoint, is_endpoint, parse_endpoint
from repro.progress import silent

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that the client would have waited before each retry."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def chat(server, model="org/judge"):
    return ChatClient(Endpoint(server.url, model), max_tokens=64, temperature=0.01, seed=3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http://127.0.0.1:8000/v1#org/judge", Endpoint("http://127.0.0.1:8000/v1", "org/judge")),
        ("https://api.example.com/v1/#gpt-x", Endpoint("https://api.example.com/v1", "gpt-x")),
        ("http://host/v1/chat/completions#m", Endpoint("http://host/v1", "m")),
        ("http://[::1]:80/v1#m", Endpoint("http://[::1]:80/v1", "m")),
    ],
)
def test_addresses(name, expected):
    assert is_endpoint(name)
    assert parse_endpoint(name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("http://127.0.0.1:8000/v1", "no model name"),
        ("http:///v1#m", "has no host"),
        ("http://host:port/v1#m", "is not an address"),
        ("http://host/v1 #m", "contains a space"),
        ("http://a..b/v1#m", "is not an address"),
        ("http://host/\u00fc/v1#m", "is not an address"),
        (f"http://me:{SECRET}/x@host/v1#m", API_KEY_VARIABLE),
        (f"http://me:12/{SECRET}@host/v1#m", API_KEY_VARIABLE),
        (f"http://me:{SECRET}@host/v1#m", API_KEY_VARIABLE),
        (f"https://host/v1?api-version={SECRET}#m", API_KEY_VARIABLE),
    ],
)
def test_refused_addresses_repeat_no_secret(name, message):
    with pytest.raises(InputError, match=message) as error:
        parse_endpoint(name)
    assert SECRET not in str(error.value)


def test_a_key_that_is_echoed_escaped_and_a_reply_in_parts(serve, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, "a/b&c")
    escaped = b'{"choices": [{"message": {"content": "your key is a\\/b\\u0026c"}}]}'
    assert chat(serve(lambda number, content: (200, escaped))).reply("Which?") == "your key is ***"
    parts = json.dumps({"choices": [{"message": {"content": [{"type": "text", "text": "none"}]}}]}).encode()
    with pytest.raises(InputError, match="holds no choices"):
        chat(serve(lambda number, content: (200, parts))).reply("Which?")


def test_names_that_are_not_addresses():
    assert not any(map(is_endpoint, ("org/judge", "./folder", "toy:qwen3-teacher", "httpmodels/x")))


def test_a_request_has_the_settings_of_the_engines(serve):
    server = serve(lambda number, content: "degradation")
    assert chat(server).reply("Which?") == "degradation"
    assert server.requests == [
        {
            "model": "org/judge",
            "messages": [{"role": "user", "content": "Which?"}],
            "max_tokens": ANSWER_TOKENS,
            "temperature": TEMPERATURE,
            "seed": 3,
            "chat_template_kwargs": {"enable_thinking": False},
        }
    ]
    assert "Authorization" not in server.headers[0]


def test_options_that_a_server_refuses_are_not_sent_again(serve):
    def respond(number, content):
        for name in ("seed", "chat_template_kwargs"):
            if name in content:
                return 422, json.dumps({"error": f"extra field: {name}"}).encode()
        return "none"

    server = serve(respond)
    client = chat(server)
    assert [client.reply("a"), client.reply("b")] == ["none", "none"]
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_retried(serve, waits, status):
    server = serve(lambda number, content: (status, b"busy") if number < 3 else "hallucination")
    assert chat(server).reply("q") == "hallucination"
    assert len(server.requests) == 3
    assert len(waits) == 2
    assert 0 < waits[0] < waits[1] <= 1


def test_the_servers_retry_after_is_waited_for(serve, waits):
    server = serve(lambda number, content: (429, b"busy") if number < 2 else "none")
    handler = server.http.RequestHandlerClass
    send = handler._send
    handler._send = lambda self, status, body: send(self, status, body, Retry_After="7")
    assert chat(server).reply("q") == "none"
    assert waits == [7]


def test_a_failing_server_is_a_one_line_error_after_half_a_minute(serve, waits):
    server = serve(lambda number, content: (503, b"overloaded"))
    with pytest.raises(
        InputError, match=r"org/judge at http://127.*503 \(overloaded\), even after 7 retries\. Start the"
    ):
        chat(server).reply("q")
    assert len(server.requests) == RETRIES + 1 == 8
    assert 20 < sum(waits) < 32


def test_an_unreachable_server():
    with pytest.raises(
        InputError, match=r"judge m at http://127\.0\.0\.1:9/v1: Connection refused, even after 7 retries"
    ):
        ChatClient(Endpoint("http://127.0.0.1:9/v1", "m"), max_tokens=1, temperature=0, seed=0).reply("q")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, b"no key"), rf"401 \(no key\)\. Set the server's key in {API_KEY_VARIABLE}"),
        ((400, b"prompt too long"), r"400 \(prompt too long\)\. Fix what the server reports"),
        ((404, b"nothing"), r"404 \(nothing\)\. Give the base address"),
        ((200, b"<html>hello"), r"not JSON \(it begins '<html>hello'\)"),
        ((200, b'{"object": "list"}'), "holds no choices"),
        ((200, b"[]"), "holds no choices"),
    ],
)
def test_errors_that_a_retry_cannot_fix_are_one_line_at_once(serve, answer, message):
    server = serve(lambda number, content: answer)
    with pytest.raises(InputError, match=rf"judge org/judge at {server.url}: .*{message}") as error:
        chat(server).reply("q")
    assert len(server.requests) == 1
    assert "\n" not in str(error.value)


def test_an_unknown_model_is_answered_with_the_served_ones(serve):
    server = serve(lambda number, content: (404, b"The model does not exist"))
    with pytest.raises(InputError, match=r"has no such model \(404\)\. It has: org/judge, other\."):
        chat(server, model="org/typo").reply("q")


def test_a_truncated_reply_is_retried(serve):
    """The header declares more bytes than are sent."""
    cut = (200, b'{"choices": [{"mess')
    server = serve(lambda number, content: cut)
    handler = server.http.RequestHandlerClass
    send = handler._send
    handler._send = lambda self, status, body: send(self, status, body, cut=500)
    with pytest.raises(InputError, match=r"its reply was cut, even after 7 retries"):
        chat(server).reply("q")
    assert len(server.requests) == RETRIES + 1


def test_a_huge_reply_is_read_in_part(serve):
    huge = b'{"choices": [' + b" " * (2 * LARGEST_REPLY)
    with pytest.raises(InputError, match=r"its reply is not JSON"):
        chat(serve(lambda number, content: (200, huge))).reply("q")


def test_a_redirect_is_not_followed(serve, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, SECRET)
    other = serve(lambda number, content: "none")
    server = serve(lambda number, content: (302, b""))
    handler = server.http.RequestHandlerClass
    send = handler._send
    handler._send = lambda self, status, body: send(self, status, body, Location=f"{other.url}/chat/completions")
    with pytest.raises(InputError, match=r"302 \(it redirects to http"):
        chat(server).reply("q")
    assert not other.requests


def test_the_key_is_sent_to_the_server_only(serve, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, SECRET)
    server = serve(lambda number, content: (401, f"bad key {SECRET}".encode()))
    with pytest.raises(
        InputError, match=rf"401 \(bad key \*\*\*\)\. The server refuses the key in {API_KEY_VARIABLE}"
    ) as error:
        chat(server).reply("q")
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in str(error.value)
    monkeypatch.setenv(API_KEY_VARIABLE, f"{SECRET}\nX: y")
    with pytest.raises(InputError, match=API_KEY_VARIABLE) as error:
        chat(server)
    assert SECRET not in str(error.value)


def test_environment_variables_of_the_library_and_of_a_proxy_are_ignored(serve, monkeypatch):
    """OPENAI_CUSTOM_HEADERS may hold another server's key; a proxy cannot reach this machine's loopback."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "VLLM_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {SECRET}\nX-Key: {SECRET}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server = serve(lambda number, content: "none")
    assert chat(server).reply("q") == "none"
    assert SECRET not in str(server.headers)
    assert set(map(str.lower, server.headers[0])) <= {
        "host",
        "connection",
        "accept",
        "content-type",
        "content-length",
        "user-agent",
        "x-stainless-raw-response",
    }


@pytest.mark.load_sensitive
def test_concurrent_requests_and_replies_in_order(serve, tmp_path):
    second_came = threading.Event()

    def respond(number, content):
        if number == 2:
            second_came.set()
        if number == 1:
            assert second_came.wait(300)  # the first reply is not the first to come
        return content["messages"][0]["content"].upper()

    server, progress = serve(respond), []
    ask = ask_endpoint(
        Endpoint(server.url, "org/judge"),
        0,
        work=tmp_path,
        progress=lambda done, total, unit: progress.append((done, total)),
    )
    questions = [f"q{n}" for n in range(24)] + ["q3"]
    assert ask(questions) == [question.upper() for question in questions]
    assert len(server.requests) == 24  # equal ones once
    assert 2 <= server.max_in_flight <= CONCURRENT_REQUESTS
    assert progress == [(n + 1, 24) for n in range(24)]


def test_answered_questions_are_not_asked_again(serve, tmp_path):
    broken = serve(lambda number, content: "first" if number <= 5 else (400, b"enough"))
    with pytest.raises(InputError, match="enough"):
        ask_endpoint(Endpoint(broken.url, "org/judge"), 0, work=tmp_path, progress=silent)([f"q{n}" for n in range(9)])
    stored = tmp_path / REPLIES
    answered = len(stored.read_text().splitlines())
    with stored.open("a") as stream:
        stream.write('["torn')
    server = serve(lambda number, content: "second")
    replies = ask_endpoint(Endpoint(server.url, "org/judge"), 0, work=tmp_path, progress=silent)(
        [f"q{n}" for n in range(9)]
    )
    assert replies.count("first") == answered
    assert len(server.requests) == 9 - answered == replies.count("second")
    assert len(stored.read_text().splitlines()) == 9


def test_a_served_judge_reads_its_replies(serve, tmp_path):
    server = serve(lambda number, content: "<think>not a hallucination</think>\n\nDegradation")
    judge = ModelJudge("org/judge", ask_endpoint(Endpoint(server.url, "org/judge"), 0, work=tmp_path, progress=silent))
    wrong = Case("How many?", "It is 4. \\boxed{4}", "numeric", "5", "4", True)
    right = Case("How many?", "It is 5. \\boxed{5}", "numeric", "5", "5", True)
    assert judge([right, wrong]) == [None, "degradation"]
    assert "\\boxed{4}" in server.requests[0]["messages"][0]["content"]
