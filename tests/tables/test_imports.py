"""Reading tables and judging results needs no torch."""

import subprocess
import sys
from pathlib import Path

import repro.tables


def test_no_module_of_tables_imports_torch() -> None:
    root = Path(repro.tables.__file__).parents[2]
    modules = sorted((root / "repro" / "tables").rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in modules]
    assert len(names) >= 12
    code = "import sys\n" + "".join(f"import {name}\n" for name in names)
    code += (
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'trl', 'datasets', 'exca'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
