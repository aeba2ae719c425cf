"""Base class and registry for additional rows of a study: `--set rows=NAME`.

A plug-in of rows composes stages from what a study has (`repro.recipes.shared_stages.Pair`), as the kit's own recipes do.
`repro.recipes.added_rows` checks what it yields. See docs/plugins.md.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import pydantic

from repro.recipes.study import Row
from repro.system.plugins import Plugin, Registry


class StudyRows(Plugin):
    """Rows that join a study. `formula` says in one line what they are.

    Its content is stored with a result's settings, not in the identity of stages, which their configuration determines.

    Attributes:
        study: the study's name, e.g. "table2".
    """

    study: ClassVar[str]

    def rows(self, pair: Any) -> Iterable[Row]:
        """Yield `pair.row(label, stage)` for a family under a seed; stages answer or measure the study's own items.

        A label that begins with the name of a row of the study has that row's colour.

        Args:
            pair: `repro.recipes.shared_stages.Pair`, which has the models, the settings and the usual stages.
        """
        raise NotImplementedError


ROWS: Registry[StudyRows] = Registry(noun="rows", group="repro.rows", base=StudyRows, built_in={})
RowsField = Annotated[pydantic.SerializeAsAny[StudyRows], pydantic.BeforeValidator(ROWS.parse)]
"""Rows in the settings: "my-rows", "my-rows(scale=2)", what `model_dump` returns, or an instance."""
