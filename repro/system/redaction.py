"""Redact access tokens and passwords from everything printed or stored: terminal, logs, records, pages."""

import os
import re
from typing import Any

_SECRET_NAMES = re.compile(r"(TOKEN|API_KEY|SECRET|PASSWORD)$")
"""Names of environment variables with secret values."""
_SECRETS = (
    (re.compile(r"\b(hf_|sk-|gh[opsu]_|github_pat_|glpat-)[A-Za-z0-9_-]{8,}"), "***"),
    (re.compile(r"(:/{1,2})[^\s/@'\"]+@"), r"\1***@"),  # a Path writes one slash
    (re.compile(r"(?i)((?:token|api_?key|secret|password|signature)=)[^\s&'\",]+"), r"\1***"),
    (re.compile(r"(?i)(\bbearer )[A-Za-z0-9._~+/=-]{8,}"), r"\1***"),
)
"""Patterns of secrets: well-known prefixes, credentials in a URL, a value with a telling name, an HTTP header."""


def redact(content: Any) -> Any:
    """Redact secrets in JSON content: texts that look like one, and the values of this process's secret environment variables."""
    if isinstance(content, dict):
        return {key: redact(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [redact(value) for value in content]
    return _without_secrets(content) if isinstance(content, str) else content


def _without_secrets(text: str) -> str:
    for name, value in os.environ.items():
        if _SECRET_NAMES.search(name) and len(value) >= 8:
            text = text.replace(value, "***")
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
