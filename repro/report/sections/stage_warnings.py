"""What stages warn of: training that ran away, lost ends, rounding, odd rows."""

from repro.report.blocks import Section, Text, text_grid
from repro.report.merge import Part
from repro.stages.artifact import find_warnings


def warning_section(part: Part, key: str) -> Section:
    """List the warnings of all stages, each once; a section without blocks if there are none."""
    lines = {
        (stage["label"], subject, message): stage["artifact"]
        for source in part.sources
        for stage in source.content["stages"]
        for subject, message in find_warnings(stage["summary"]).items()
        if subject != "undecided"  # a notice above the cells that they are part of
    }
    if not lines:
        return Section(f"{key}-warnings", "Warnings of stages", [])
    rows = [
        {"stage": label, "warning": subject, "what": message, "artifact": artifact}
        for (label, subject, message), artifact in lines.items()
    ]
    text = Text(
        "A warning is not an error: a misled student may write without end. Look at the numbers of a stage with a warning"
        " before you rely on them."
    )
    grid = text_grid("Warnings of stages", rows)
    return Section(f"{key}-warnings", "Warnings of stages", [text, grid], brief=[text, grid])
