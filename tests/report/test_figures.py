"""Every figure draws exactly what its CSV says, in colours that can be told apart."""

from __future__ import annotations

import csv
import io
import math
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from adamem.report import write
from adamem.report.adaptation.gathered import NAMES
from adamem.report.figures import price, stream
from adamem.report.figures.pareto import cap, stretch
from adamem.report.figures.style import GRID, INK, MUTED, PAPER, canvas, looks, spread


def test_every_figure_has_its_picture_and_its_data(three):
    """Six figures, each as SVG, PNG and CSV."""
    names = {file.stem for file in three.glob("figures/*")}
    assert names == {"pareto", "effort", "latency", "cost", "hardness", "task"}
    for name in names:
        for suffix in ("svg", "png", "csv"):
            assert (three / "figures" / f"{name}.{suffix}").stat().st_size > 50, (name, suffix)
        assert (three / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_bear_no_date_and_name_no_address(three):
    """An SVG's bytes depend on its data alone."""
    for file in three.glob("figures/*.svg"):
        assert "<dc:date>" not in file.read_text(), file


def test_drawing_leaves_the_callers_settings_alone(handmade, contestants):
    """Whoever uses matplotlib himself finds it as it was."""
    with mpl.rc_context({"font.size": 17.0, "svg.fonttype": "none"}):
        before = dict(mpl.rcParams)
        write(handmade.write({"exact": contestants["exact"]}))
        assert dict(mpl.rcParams) == before


def test_the_strata_hold_every_query_once(three):
    """Deciles of difficulty are ten groups of five queries; their mean recall is the point's."""
    rows = [
        row
        for row in csv.DictReader(io.StringIO((three / "figures" / "hardness.csv").read_text()))
        if row["contestant"] == "hnsw" and row["by"] == "local intrinsic dimension"
    ]
    assert [int(row["queries"]) for row in rows] == [5] * 10
    points = csv.DictReader(io.StringIO((three / "tables" / "points.csv").read_text()))
    recall = next(
        float(row["recall"]) for row in points if row["contestant"] == "hnsw" and row["search"] == rows[0]["search"]
    )
    assert sum(float(row["recall"]) for row in rows) / 10 == pytest.approx(recall, abs=1e-6)


def test_twelve_contestants_are_told_apart_without_names():
    """No two share both colour and marker, and none has a colour that the page's theme replaces."""
    found = looks(
        [("exact", "exact"), *((f"hnsw {i}", "hnsw") for i in range(6)), *((f"pq {i}", "faiss_pq") for i in range(5))]
    )
    assert len({(look.colour, look.marker) for look in found.values()}) == 12
    assert not {look.colour for name, look in found.items() if name != "exact"} & {INK, PAPER, MUTED, GRID}


def test_an_index_keeps_its_colour_from_report_to_report():
    """HNSW is drawn alike whoever else takes part and in whatever order."""
    alone = looks([("hnsw", "hnsw")])["hnsw"]
    among = looks([("a", "other"), ("b", "faiss_pq"), ("c", "faiss_pq"), ("hnsw", "hnsw")])["hnsw"]
    assert alone == among


ARMS = looks([(arm, "exact" if arm == "none" else arm) for arm in NAMES])
SEEN = {
    "all cones": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""Of linear red, green and blue, as they are seen: Machado, Oliveira and Fernandes (2009), severity 1."""


def lab(colour, seen):
    """CIE L*a*b* of a colour, as they see it."""
    value = np.array(to_rgb(colour))
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(seen) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ linear / [0.9505, 1, 1.089], 0.0089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_lines_of_one_colour_differ_in_dash_and_in_marker(seen):
    """Whoever looks: of the arms that are drawn together, those of much the same colour are told apart twice over."""
    for one, other in combinations((ARMS[arm] for arm in stream.MAIN), 2):
        if np.linalg.norm(lab(one.colour, seen) - lab(other.colour, seen)) < 20:
            assert one.dash != other.dash
            assert one.marker != other.marker


def test_every_arm_has_a_dash_and_a_marker_of_its_own():
    """Also without any colour; and each looks the same whoever else takes part."""
    assert len({(str(look.dash), look.marker) for look in ARMS.values()}) == len(NAMES)
    assert all(looks([(arm, arm)])[arm] == ARMS[arm] for arm in NAMES if arm != "none")


def test_a_step_an_update_is_among_the_curves():
    """The arm that the question is about is drawn where it was measured."""
    assert "lora-steps" in stream.MAIN


def test_what_lies_below_a_panel_stands_on_its_edge_with_its_value():
    """It is at no value of the scale, all others are inside, and no line is seen behind a number."""
    gains, spans = {1: 0.3, 2: 0.0, 3: -0.05, 4: -0.517, 5: -0.4}, {1: (0.2, 0.4), 3: (-0.1, 0.02)}
    mine = [
        {"number": number, "gain_b": gain, "seconds": 2.0**number, "offered": number < 4, "front": number == 1}
        | {"gain_b_low": spans.get(number, (None,))[0], "gain_b_high": spans.get(number, (None,))[-1]}
        for number, gain in gains.items()
    ]
    with canvas(3.0) as (_, (axes,)):
        price._panel(axes, mine)
        foot, head = axes.get_ylim()
        points = {round(line.get_xdata()[0]): line for line in axes.lines if line.get_marker() in ("o", "v")}
        said = {text.get_text(): text for text in axes.texts if text.get_text()}
    intervals = {
        int(np.log2(line.get_xdata()[0])): line.get_ydata()
        for line in axes.lines
        if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1
    }
    assert {number: tuple(at) for number, at in intervals.items()} == {1: (20, 40), 3: (-10, 2)}
    for r in mine:
        line = points[r["seconds"]]
        if r["number"] < 4:
            assert (line.get_marker(), line.get_ydata()[0]) == ("o", pytest.approx(100 * r["gain_b"]))
            assert foot < 100 * r["gain_b"] < head
        else:
            assert (line.get_marker(), line.get_ydata()[0]) == ("v", foot)
            assert not line.get_clip_on()
    assert set(said) == {"1", "2", "3", "4: −51.7", "5: −40.0"}
    lines = max(line.get_zorder() for line in axes.lines)
    assert all(text.get_zorder() > lines and text.get_bbox_patch() is not None for text in said.values())


@pytest.mark.parametrize("wanted", [[0.0], [5.0, 5.0, 5.0], [0.0, 1.0, 2.0, 50.0, 99.0, 99.5], [98.0] * 8])
def test_labels_are_moved_apart_and_stay_inside(wanted):
    """Names keep their order and a line's distance, and none leaves the axes while there is room."""
    out = spread(wanted, 10.0, 0.0, 100.0)
    assert all(after - before >= 10.0 - 1e-9 for before, after in pairwise(out))
    assert min(out) >= 0.0
    assert max(out) <= 100.0


def test_labels_with_room_stay_where_they_belong():
    """Nothing is moved without need."""
    assert spread([10.0, 40.0, 70.0], 10.0, 0.0, 100.0) == [10.0, 40.0, 70.0]


def test_labels_that_meet_give_way_to_both_sides():
    """Three names for one height stand around it, not above it."""
    assert spread([50.0, 50.0, 50.0], 10.0, 0.0, 100.0) == [40.0, 50.0, 60.0]


def test_the_recall_axis_widens_towards_one():
    """0.9, 0.99 and 0.999 are equally far apart, and perfect recall has a place of its own."""
    assert stretch(0.99, 9.0) - stretch(0.9, 9.0) == pytest.approx(stretch(0.999, 9.0) - stretch(0.99, 9.0))
    top = cap(({"recall": 0.9995}, {"recall": 1.0}))
    assert stretch(1.0, top) == top > stretch(0.9995, 9.0)
    assert math.isfinite(top)
