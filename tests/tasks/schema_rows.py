"""Invented rows with the true schema of each data set; no real rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[..., Path]
"""The `write` fixture: (rows, file name) -> file."""

GSM8K = [
    {
        "question": f"Ada packs {n} boxes with 7 pears each and eats 2. How many pears are packed?",
        "answer": f"There are {n} * 7 = <<{n}*7={7 * n}>>{7 * n} pears.\nShe eats 2.\n#### {7 * n - 2:,}",
    }
    for n in range(140, 180)
]
BIGMATH = [
    {
        "prompt": f"Let $x$ be a number with $x^2 = {n * n}$ and $x > 0$. Find $\\frac{{x}}{{2}}$.",
        "solution": f"$\\frac{{{n}}}{{2}}$" if n % 2 else str(n // 2),
        "source": "invented",
        "domain": ["Mathematics -> Algebra"],
        "llama8b_solve_rate": 0.25,
    }
    for n in range(1, 41)
]
CSQA_ORIGINAL = [
    {
        "id": f"own{n:04d}",
        "answerKey": "ABCDE"[n % 5],
        "question": {
            "question_concept": "shelf",
            "stem": f"Where would a person keep {n} jars of jam?",
            "choices": [
                {"label": letter, "text": text}
                for letter, text in zip("ABCDE", ("pantry", "river", "cloud", "drum", "sock"))
            ],
        },
    }
    for n in range(40)
]
CSQA_HUB = [
    {
        "id": row["id"],
        "question": row["question"]["stem"],
        "question_concept": "shelf",
        "choices": {
            "label": [choice["label"] for choice in row["question"]["choices"]],
            "text": [choice["text"] for choice in row["question"]["choices"]],
        },
        "answerKey": row["answerKey"],
    }
    for row in CSQA_ORIGINAL
]
MMLU_PRO = [
    {
        "question_id": 900 + n,
        "question": f"Which of these is a prime that divides {n + 2} * 31?",
        "options": ["31", "33", "35", "39", "49", "51", "55", "57", "63", "65"][: 3 + n % 8],
        "answer": "A",
        "answer_index": 0,
        "cot_content": "",
        "category": "math",
        "src": "invented",
    }
    for n in range(40)
]
SUPERGPQA = [
    {
        "uuid": f"{n:032x}",
        "question": f"Which gas fills lamp number {n}?",
        "options": ["Neon", "Iron", "Salt", "Clay", "Wood", "Wool", "Milk", "Rice", "Sand", "Gold"],
        "answer": "Neon",
        "answer_letter": "A",
        "discipline": "Science",
        "field": "Physics",
        "subfield": "Optics",
        "difficulty": "middle",
        "is_calculation": False,
    }
    for n in range(40)
]
DOLLY = [
    {
        "instruction": f"Give {n} reasons to plant a hedge.",
        "context": "Hedges shelter birds." if n % 2 else "",
        "response": "Shade, birds, quiet.",
        "category": "closed_qa" if n % 2 else "brainstorming",
    }
    for n in range(40)
]
VICUNA = [
    {"question_id": n, "category": "generic", "turns": [f"How do I learn to whistle {n} tunes?"]} for n in range(1, 41)
]

ROWS: dict[str, list[dict[str, Any]]] = {
    "gsm8k": GSM8K,
    "bigmath-4": BIGMATH,
    "bigmath-5": BIGMATH,
    "bigmath-quintile-4": BIGMATH,
    "csqa": CSQA_ORIGINAL,
    "mmlu-pro": MMLU_PRO,
    "supergpqa": SUPERGPQA,
    "dolly": DOLLY,
    "vicuna": VICUNA,
    "file-numeric": [{"prompt": f"{n} + 1 = ?", "answer": n + 1} for n in range(40)],
    "file-choice": [{"prompt": f"{n}: A. x, B. y", "answer": "B", "id": f"q{n}"} for n in range(40)],
    "file-open": [{"prompt": f"Sing about {n}."} for n in range(40)],
}
