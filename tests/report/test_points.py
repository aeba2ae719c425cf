"""Points of figures: their labels can be read, and exports have their intervals."""

import csv
import io
import json
from itertools import combinations

from repro.report.export_result import export_result
from repro.report.figures.points import label_points
from repro.report.figures.style import PAGE, WIDTH, drawing, panels
from repro.tables import MeasuredTable

from .conftest import make_result

CROWDED = [("+2", 0.04, 0.24), ("+1.5", 0.08, 0.27), ("+1", 0.12, 0.27), ("+0.5", 0.15, 0.23), ("-2", -0.5, -0.29)]


def test_labels_of_points_that_are_close_cover_neither_each_other_nor_a_point():
    with drawing(PAGE):
        _, (axes,) = panels(1, 1, WIDTH, 4.2)
        axes.plot([x for _, x, _ in CROWDED], [y for *_, y in CROWDED], marker="o")
        label_points(axes, CROWDED)
        assert [text.get_text() for text in axes.texts] == [text for text, *_ in CROWDED]
        boxes = [text.get_window_extent() for text in axes.texts]
        points = axes.transData.transform([at for _, *at in CROWDED])
    assert not any(box.overlaps(other) for box, other in combinations(boxes, 2))
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_a_csv_has_the_intervals_of_the_page(tmp_path):
    """Nothing that is counted is below 0: hours whose interval would reach below end there."""
    folder = tmp_path / "table5-toy"
    folder.mkdir()
    table = MeasuredTable("table5", "toy", "qwen3", (0,))
    table.add("Teacher calibration (RFT, LoRA)", "pipeline", "core_hours", ["a", "b", "c"], [[0.1, 0.2, 4.0]])
    (folder / "results.json").write_text(json.dumps(make_result(table)))
    (row,) = csv.DictReader(io.StringIO(export_result(folder, "csv")))
    assert float(row["low95"]) == 0
