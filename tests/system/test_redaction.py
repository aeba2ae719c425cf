"""Texts that look like a secret are redacted; similar ones are not."""

import pytest

from repro.system.redaction import redact


def test_secret_environment_values_are_redacted_in_texts_only(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "label-of-mine")
    content = {"label-of-mine": ["x label-of-mine y", 3, None, {"hf_abcdefgh12": "hf_abcdefgh12"}]}
    assert redact(content) == {"label-of-mine": ["x *** y", 3, None, {"hf_abcdefgh12": "***"}]}


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("sk-abcdefgh12 and hf_short", "*** and hf_short"),
        ("https://me:pass@host/x and https://token@host", "https://***@host/x and https://***@host"),
        ("https:/me:pass@host/x", "https:/***@host/x"),
        ("get https://host/m?token=abc&rev=2", "get https://host/m?token=***&rev=2"),
        ("HF_TOKEN=abc, api_key=def", "HF_TOKEN=***, api_key=***"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
    ],
)
def test_secrets_are_redacted(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "calibration.max_completion_tokens=48",
        "https://host.example/a@b",
        "task-specific and risk-averse words",
        "a token per step; the bearer of news",
        "toy:qwen3-student, sha256:00ff",
    ],
)
def test_similar_texts_are_kept(text):
    assert redact(text) == text
