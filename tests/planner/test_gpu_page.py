"""docs/gpu.md says what the planner says."""

from pathlib import Path

from gpu_cards import card_tables


def test_the_page_is_what_the_command_writes():
    assert card_tables() in (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(), (
        "studies or estimates have changed: run python benchmarks/gpu_cards.py docs/gpu.md"
    )
