"""Colours and lines of the figures."""

from __future__ import annotations

import matplotlib.colors
import matplotlib.font_manager
from hypothesis import given
from hypothesis import strategies as st

from zerowait.plots.drawing import numbers, style, text

names = st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=style.N_STYLES)


@given(names)
def test_no_two_optimizers_of_a_figure_look_the_same(chosen):
    styles = style.styles(chosen)
    assert len(set(styles.values())) == len(chosen)


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=1, max_size=len(style.COLOURS)))
def test_colours_repeat_only_when_they_are_used_up(chosen):
    assert len({s.colour for s in style.styles(chosen).values()}) == len(chosen)


@given(names, st.randoms(use_true_random=False))
def test_the_order_of_the_names_does_not_matter(chosen, random):
    shuffled = random.sample(chosen, len(chosen))
    assert style.styles(shuffled) == style.styles(chosen)


def test_a_style_is_the_same_in_every_process_and_release():
    # Written down once; a change would recolour everybody's figures.
    assert style.styles(["optuna-tpe", "random", "my-optimizer"]) == {
        "optuna-tpe": style.Style("#0072B2", "-", "o"),
        "random": style.Style("#000000", (0, (1, 1)), "s"),
        "my-optimizer": style.Style("#009E73", (0, (6, 1.5, 1, 1.5)), "P"),
    }


def test_reserved_names_keep_their_style_among_few():
    for name, (colour, line) in style.RESERVED.items():
        look = style.styles([name, "other"])[name]
        assert (look.colour, look.line) == (style.COLOURS[colour], style.LINES[line])


def test_relatives_share_no_colour_while_another_is_unused():
    family = style.styles(["hyperband", "neps-hyperband", "optuna-hyperband"])
    assert len({look.colour for look in family.values()}) == 3
    assert len({look.marker for look in family.values()}) == 3


@given(names)
def test_any_two_of_colour_line_and_marker_tell_methods_apart(chosen):
    looks = list(style.styles(chosen).values())
    for one, other in (("colour", "line"), ("colour", "marker"), ("line", "marker")):
        assert len({(getattr(look, one), getattr(look, other)) for look in looks}) == len(looks)


def test_given_colours_are_taken_and_others_avoid_them():
    looks = style.styles([*style.RESERVED][:6], {"bohb": "#0072B2"})
    assert looks["bohb"].colour == "#0072B2"
    assert [name for name, look in looks.items() if look.colour == "#0072B2"] == ["bohb"]


def test_more_optimizers_than_styles_are_drawn_all_the_same():
    many = [f"optimizer-{i}" for i in range(style.N_STYLES + 5)]
    assert set(style.styles(many)) == set(many)


def test_colours_contrast_with_white_paper():
    for colour in style.COLOURS:
        red, green, blue = matplotlib.colors.to_rgb(colour)
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.75


def test_the_font_exists():
    with style.context():
        matplotlib.font_manager.findfont(style.PARAMETERS["font.family"], fallback_to_default=False)


def test_a_label_is_broken_behind_separators_and_as_wide_as_there_is_room():
    assert text.wrapped("hpobench/car", 2.0, 8.0) == "hpobench/car"
    lines = text.wrapped("hpobench/blood_transfusion(seed=mean)", 1.3, 8.0).split("\n")
    assert lines == ["hpobench/blood_", "transfusion(seed=", "mean)"]
    for line in text.wrapped("x" * 60, 1.0, 8.0).split("\n"):
        assert text.width(line, 8.0) <= 1.0


@given(st.text(max_size=40), st.floats(0.05, 3.0))
def test_breaking_loses_no_letter(label, inches):
    one_line = text.plain(label)
    assert "".join(text.wrapped(one_line, inches, 8.0).split()) == "".join(one_line.split())


def test_numbers_of_an_axis_are_written_in_one_way():
    assert numbers.written([1e3, 1e4, 1e5]) == ["10³", "10⁴", "10⁵"]
    assert numbers.written([1e3, 1e4]) == ["1000", "10000"]
    assert numbers.written([0, 0.5, 1], even=True) == ["0.0", "0.5", "1.0"]
    assert numbers.written([0, 2e5, 4e5], even=True) == ["0", "2·10⁵", "4·10⁵"]
    assert numbers.written([-2e-4, 1.0]) == ["\N{MINUS SIGN}2·10⁻⁴", "10⁰"]
