"""Labels of rows that differ in more than the method.

Colours of figures (`repro.report.figures.knob`) and sentences about rows by name (`repro.report.conclusions`) are read out of
them; `Row` has the same facts as fields.
"""


def at_eta(name: str, eta: float) -> str:
    """Return the label of a row at one eta: "SFT, eta -0.5"."""
    return f"{name}, eta {eta + 0.0:+g}"


def student_of(teacher: str) -> str:
    """Return the label of the student of a teacher's row."""
    return f"Student of {teacher}"


def with_loss(name: str, loss: str | None) -> str:
    """Return the label of a student trained with a given loss: "Misled, jsd"; None for the method's own loss."""
    return f"{name}, {loss}" if loss else name


def traps_of(student: str) -> str:
    """Return the label of the traps between a student and the original teacher."""
    return f"Traps of {student}"


def from_arbitrary_beginning(model: str) -> str:
    """Return the label of a row that continues arbitrary prefixes of the student's wrong completions."""
    return f"{model}, arbitrary beginning"


def after_prefix(teacher: str, fraction: float) -> str:
    """Return the label of a row that continues a given share of the student's completions: "Teacher, 25% prefix"."""
    return f"{teacher}, {fraction:.0%} prefix" if fraction else f"{teacher}, no prefix"


def under(attack: str, guard: str) -> str:
    """Return the label of the student an attack produces under a guard: "sft under knob"."""
    return f"{attack} under {guard}"


def guard_in(label: str) -> str | None:
    """Return the guard in a label from `under`; None for another label."""
    _, separator, guard = label.rpartition(" under ")
    return guard if separator else None


def teacher_under(guard: str) -> str:
    """Return the label of the answers of a guarded teacher."""
    return under("Teacher", guard)


def moved(label: str) -> str:
    """Return the label of a row that says how far another row's model has moved from its start."""
    return f"{label}: moved"


def read_by_target(label: str) -> str:
    """Return the label of a row that says how readable another row's completions are."""
    return f"{label}: read by the target"
