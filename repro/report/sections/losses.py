"""The losses that the study `losses` compared, and the traps of their students."""

from repro.report.blocks import Block, Section, Text, text_grid
from repro.report.merge import Part
from repro.report.result import LossLine
from repro.report.sections.panel import panel_section

EXPLAINED = (
    "GKD-RKL and Misled are students of the original and of the undistillable teacher under reverse KL (rkl); GKD-RKL, NAME"
    " and Misled, NAME are the same students under the loss NAME. Each formula is the loss of one token of the student's own"
    " completions; a step's loss is its sum over tokens, divided by their number. p_S is the student, p_T the teacher, v a"
    " token of the vocabulary, y a completion, w_t the weight of token t, H the entropy in nats."
)


def losses_section(part: Part, key: str) -> Section:
    """Define each loss, then show the panel of its student; results of older code have the panel alone."""
    panel = panel_section(part, key)
    lines = _tried(part)
    if not lines:
        return panel
    grid = text_grid(
        "Losses that were tried",
        [
            {
                "loss": line["label"],
                "per token": line["formula"],
                "settings": line["settings"],
                "source, and the trap that it addresses": line["source"],
            }
            for line in lines
        ],
    )
    defined: list[Block] = [Text(EXPLAINED), grid]
    return Section(
        panel.id,
        "The losses, and the traps of their students",
        [*defined, *panel.blocks],
        brief=[*defined, *panel.brief],
    )


def _tried(part: Part) -> list[LossLine]:
    """Return the losses of a part's first source that names them."""
    extras = [source.content.get("extras", {}) for source in part.sources]
    return next((extra["losses"] for extra in extras if "losses" in extra), [])
