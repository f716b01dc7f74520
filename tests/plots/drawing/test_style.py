"""Colours and lines of the figures."""

from __future__ import annotations

import matplotlib.colors
import matplotlib.font_manager
from hypothesis import given
from hypothesis import strategies as st

from zerowait.plots.drawing import style

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
        "optuna-tpe": style.Style("#0072B2", "-"),
        "random": style.Style("#000000", (0, (1, 1))),
        "my-optimizer": style.Style("#009E73", (0, (6, 1.5, 1, 1.5))),
    }


def test_reserved_names_keep_their_style_in_any_company():
    alone = {name: style.styles([name])[name] for name in style.RESERVED}
    company = style.styles([*style.RESERVED, *(f"other-{i}" for i in range(20))])
    assert {name: company[name] for name in style.RESERVED} == alone


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


def test_a_legend_has_as_many_columns_as_fit():
    assert style.legend_columns(["a", "b"], width=9.0) == 2
    assert style.legend_columns(["x" * 30] * 4, width=6.0) == 2
    assert style.legend_columns(["x" * 300], width=2.0) == 1


def test_only_a_long_label_is_broken():
    assert style.broken("hpobench/car") == "hpobench/car"
    assert style.broken("hpobench/blood_transfusion(seed=mean)") == "hpobench/\nblood_transfusion\n(seed=mean)"
