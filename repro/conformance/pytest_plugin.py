"""`pytest --conform MODULE:FUNCTION`: every case of the suite as a test of its own, beside those of the project.

`-k conform` runs these alone. A case that does not apply is skipped, with the reason.
"""

from typing import Any

import pytest

OPTIONS = ("divergence", "reduction")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conform", "conformance of distillation losses")
    group.addoption(
        "--conform",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="Run the conformance suite on this distillation loss; repeatable. See repro conform --help.",
    )
    group.addoption("--conform-divergence", default=None, help="forward or reverse, for losses without a beta.")
    group.addoption(
        "--conform-reduction", default="token", help="How the loss is reduced to a scalar: token, sequence or sum."
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    references = config.getoption("--conform")
    if not references:
        return
    from repro.conformance import cases, load_loss
    from repro.errors import InputError

    declared = {name: config.getoption(f"--conform-{name}") for name in OPTIONS}
    for reference in references:
        try:
            loss = load_loss(reference, **declared)
        except InputError as error:
            raise pytest.UsageError(f"--conform: {error}") from error
        for case in cases():
            name = f"conform[{reference}-{case}]"
            items.append(CaseItem.from_parent(session, name=name, nodeid=name, case=case, loss=loss))


class CaseItem(pytest.Item):
    """One case on one loss."""

    def __init__(self, *, case: Any, loss: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.case, self.loss = case, loss

    def runtest(self) -> None:
        from repro.conformance import check

        check(self.loss, self.case)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, AssertionError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, self.name
