"""The figures of the verification experiments: what they draw is what their tables say, and nothing is not drawn."""

from __future__ import annotations

import math
from functools import partial
from types import MappingProxyType

import pandas as pd
import pytest

from zerowait.experiments.verification.hand_computed import experiment as hand_computed
from zerowait.experiments.verification.hand_computed import figure as hand_computed_figure
from zerowait.experiments.verification.order_match import experiment as order_match
from zerowait.experiments.verification.order_match import figures as order_match_figures
from zerowait.experiments.verification.outcome import Outcome, write
from zerowait.experiments.verification.schedules import expected
from zerowait.plots.drawing import style
from zerowait.plots.drawing.panels import Canvas, new_figure

IN_TURN = hand_computed.SCHEDULES["expensive, told in turn"]


def canvas(looks=MappingProxyType({})):
    return Canvas(new_figure(), looks)


def bars_of(by_hand, state):
    table = hand_computed_figure.bars(by_hand)
    chosen = table[table["state"] == state].sort_values(["begin", "worker"])
    return list(chosen[["worker", "begin", "end"]].itertuples(index=False, name=None))


# -- hand-computed ----------------------------------------------------------------------------------------------------


def test_bars_are_the_schedule_that_was_worked_out():
    assert bars_of(IN_TURN, "evaluating") == [
        (0, 10, 50), (1, 20, 80), (2, 30, 90), (3, 40, 90), (0, 70, 120), (1, 110, 140), (2, 150, 180), (3, 200, 230),
    ]  # fmt: skip
    assert bars_of(IN_TURN, "sampling") == [
        (0, 0, 10), (1, 10, 20), (2, 20, 30), (3, 30, 40), (0, 50, 70), (1, 80, 110), (2, 110, 150), (3, 150, 200),
    ]  # fmt: skip
    # Both who were done at 90 wait: for the sampling of worker 1 until 110, and worker 3 for that of worker 2 as well.
    # Nobody waits after his last result, though the optimizer is at work until 200.
    assert bars_of(IN_TURN, "waiting") == [(1, 0, 10), (2, 0, 20), (3, 0, 30), (2, 90, 110), (3, 90, 150)]


def test_workers_that_sample_each_for_itself_wait_for_nobody():
    by_hand = hand_computed.SCHEDULES["expensive, sampled in parallel"]
    assert bars_of(by_hand, "sampling")[4:] == [(0, 50, 70), (3, 60, 90), (1, 70, 110), (2, 80, 130)]
    assert bars_of(by_hand, "waiting") == []


@pytest.mark.parametrize("name", hand_computed.SCHEDULES)
def test_samplings_of_every_schedule_begin_when_the_definition_says(name):
    by_hand = hand_computed.SCHEDULES[name]
    schedule = expected(by_hand.case)
    begun = sorted((b, s) for b, s in zip(schedule.begin, schedule.start, strict=True) if s > b)
    assert sorted((b, e) for _, b, e in bars_of(by_hand, "sampling")) == begun


def test_marks_of_a_run_stand_in_the_row_of_the_worker_at_its_own_times():
    seen = by_hand_table(late=0.25)
    marks = hand_computed_figure.marks(seen, "expensive, told in turn", "really slept", IN_TURN)
    first = marks[marks["worker"] == 0]
    assert first["time"].tolist() == [10.25, 50.25, 70.25, 120.25]
    assert len(marks) == 16


def by_hand_table(late):
    rows = [
        {"schedule": "expensive, told in turn", "way": "really slept", "configuration": k, "start": s + late,
         "end": e + late}
        for k, (s, e) in enumerate(zip(IN_TURN.start, IN_TURN.end, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_figure_of_schedules_has_a_panel_each_and_a_row_for_every_worker():
    schedules = {"expensive, told in turn": IN_TURN, "cheap": hand_computed.SCHEDULES["cheap"]}
    panels = hand_computed_figure.draw(by_hand_table(late=0.0), schedules, canvas()).flat
    assert [panel.get_title(loc="left") for panel in panels] == list(schedules)
    evaluating = [b for b in panels[0].containers if b.get_label() == "evaluating"]
    drawn = sorted((round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_width()) for bar in evaluating[0])
    assert drawn == [
        (0, 10, 40), (0, 70, 50), (1, 20, 60), (1, 110, 30), (2, 30, 60), (2, 150, 30), (3, 40, 50), (3, 200, 30),
    ]  # fmt: skip
    assert [text.get_text() for text in panels[0].texts] == [str(k) for k in range(8)]


def test_the_figure_of_schedules_is_written_beside_the_table_and_leaves_it_alone(tmp_path):
    table = pd.DataFrame({"schedule": ["expensive, told in turn"]})
    draw = partial(hand_computed_figure.write_figure, by_hand_table(late=0.0), {"expensive, told in turn": IN_TURN})
    outcome = Outcome("hand-computed", table, [], (), {"evaluations": by_hand_table(late=0.0)}, draw)
    paths = write(outcome, tmp_path, {})
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "hand-computed.csv").read_text() == 'schedule\n"expensive, told in turn"\n'
    assert all((tmp_path / f"hand-computed.{kind}").stat().st_size > 1000 for kind in ("png", "pdf"))


# -- order-match ------------------------------------------------------------------------------------------------------

CASE = {"distribution": "uniform", "cost": 0.5, "telling": "in turn"}
NAN = math.nan
ROWS = {
    # configuration: place, known, start, end
    "slept": [(1, 0, 0.5, 4.0), (0, 0, 1.0, 2.0), (2, 1, 3.0, 8.0)],
    "measured": [(1, 0, 0.5, 4.0), (0, 0, 1.0, 2.0), (2, 1, 3.0, 7.5)],
    "not simulated": [(0, 0, NAN, NAN), (1, 1, NAN, NAN), (2, 3, NAN, NAN)],
}


def evaluations(**case):
    rows = [
        {**CASE, **case, "way": way, "configuration": k, "place": place, "known": known, "start": start, "end": end}
        for way, seen in ROWS.items()
        for k, (place, known, start, end) in enumerate(seen)
    ]
    return pd.DataFrame(rows)


def tuples(table, *columns):
    return list(table[list(columns)].itertuples(index=False, name=None))


def test_the_order_has_both_places_of_an_evaluation_from_one():
    table = order_match_figures.order_table(evaluations())
    assert tuples(table, "way", "slept_place", "place", "later") == [
        ("measured", 2, 2, 0), ("measured", 1, 1, 0), ("measured", 3, 3, 0),
        ("not simulated", 2, 1, -1), ("not simulated", 1, 2, 1), ("not simulated", 3, 3, 0),
    ]  # fmt: skip


def test_the_size_stands_at_the_moment_of_asking_and_beside_the_slept_size():
    table = order_match_figures.size_table(evaluations())
    # A sampling that ends at 3.0 with one known result began 0.5 (1 + 1) earlier.
    slept = table[table["way"] == "slept"]
    assert tuples(slept, "time", "known", "more") == [(0.0, 0, 0), (0.5, 0, 0), (2.0, 1, 0)]
    without = table[table["way"] == "not simulated"]
    assert without["time"].isna().all()
    assert tuples(without, "slept_time", "known", "more") == [(0.0, 0, 0), (0.5, 1, 1), (2.0, 3, 2)]


def test_the_time_is_of_the_nth_result_and_its_difference_a_share_of_the_slept_run():
    table = order_match_figures.time_table(evaluations())
    assert tuples(table[table["way"] == "slept"], "result", "time") == [(1, 2.0), (2, 4.0), (3, 8.0)]
    assert table.loc[table["way"] == "measured", "percent"].tolist() == [0.0, 0.0, -6.25]
    assert "not simulated" not in set(table["way"])


def points(panel, label):
    return [
        (float(x), float(y))
        for line in panel.lines
        if line.get_label() == label
        for x, y in line.get_xydata()
        if not math.isnan(x) and not math.isnan(y)
    ]


def test_the_order_is_drawn_against_the_slept_order():
    names = order_match_figures.NAMES
    panels = order_match_figures.draw_order(evaluations(), canvas(order_match_figures.STYLES))
    assert points(panels[0, 0], names["measured"]) == [(2, 2), (1, 1), (3, 3)]
    assert points(panels[0, 0], names["not simulated"]) == [(2, 1), (1, 2), (3, 3)]
    assert points(panels[1, 0], names["measured"]) == [(2, 0), (1, 0), (3, 0)]
    assert points(panels[1, 0], names["not simulated"]) == [(2, -1), (1, 1), (3, 0)]


def test_what_has_no_time_is_a_point_in_no_panel_of_times():
    names = order_match_figures.NAMES
    size = order_match_figures.draw_size(evaluations(), canvas(order_match_figures.STYLES))
    assert points(size[0, 0], names["slept"]) == [(0, 0), (0.5, 0), (2, 1)]
    assert points(size[0, 0], names["not simulated"]) == []
    assert points(size[1, 0], names["not simulated"]) == [(0, 0), (0.5, 1), (2, 2)]
    time = order_match_figures.draw_time(evaluations(), canvas(order_match_figures.STYLES), 1e-3)
    assert points(time[0, 0], names["measured"]) == [(1, 2), (2, 4), (3, 7.5)]
    assert points(time[1, 0], names["measured"]) == [(1, 0), (2, 0), (3, -6.25)]
    assert points(time[0, 0], names["not simulated"]) == []


def test_cases_stand_below_and_distributions_beside_one_another():
    both = pd.concat([
        evaluations(), evaluations(distribution="Pareto"),
        evaluations(telling="on arrival"), evaluations(distribution="Pareto", telling="on arrival"),
    ])  # fmt: skip
    draws = (order_match_figures.draw_order, order_match_figures.draw_size,
             partial(order_match_figures.draw_time, time_limit=1e-3))  # fmt: skip
    for draw in draws:
        panels = draw(both, canvas(order_match_figures.STYLES))
        assert [panel.get_title() for panel in panels[0]] == ["uniform", "Pareto"]
        labels = [panel.get_ylabel() for panel in panels[::2, 0]]
        assert labels == ["told in turn\nc = 0.5 s", "told on arrival\nc = 0.5 s"]


def test_runs_that_agree_in_everything_can_be_drawn(tmp_path):
    table = evaluations()
    alike = pd.concat([table[table["way"] == "slept"].assign(way=way) for way in ("slept", "measured")])
    paths = order_match_figures.write_figures(alike, 1e-3, tmp_path)
    assert len(paths) == 6
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_figures_of_the_order_match_are_written_beside_the_tables(tmp_path):
    draw = partial(order_match_figures.write_figures, evaluations(), order_match.QUICK.time_limit)
    outcome = Outcome("order-match", pd.DataFrame({"a": [1]}), [], (), {"evaluations": evaluations()}, draw)
    paths = write(outcome, tmp_path, {})
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    for name in ("order", "size", "time"):
        for kind in ("png", "pdf"):
            assert (tmp_path / f"order-match-{name}.{kind}").stat().st_size > 1000


def test_ways_look_different_in_colour_and_in_line():
    looks = list(order_match_figures.STYLES.values())
    assert len({look.colour for look in looks}) == len({look.line for look in looks}) == len(looks)
    assert {look.colour for look in looks} <= set(style.COLOURS)
