"""benchmarks/_figures.py: figures that look alike, and files that stay the same."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def figures(benchmarks):
    return importlib.import_module("_figures")


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (3, 1), (2, 2)])
def test_axes_stand_row_by_row(figures, columns, rows):
    """A figure has its size, and one axes a place, from left to right and then downwards."""
    drawn, axes = figures.figure(columns, rows, size=(6, 4), sharey=True)
    assert drawn.get_size_inches().tolist() == [6, 4]
    places = [divmod(place, columns) for place in range(columns * rows)]
    found = [one.get_subplotspec() for one in axes]
    assert [(spec.rowspan.start, spec.colspan.start) for spec in found] == places
    assert len(axes[0].get_shared_y_axes().get_siblings(axes[0])) == columns * rows


def test_open_frame(figures):
    """Axes have a line on the left and below, and none on the right and above."""
    _, (axes,) = figures.figure()
    seen = {side for side, spine in axes.spines.items() if spine.get_visible()}
    assert seen == {"left", "bottom"}


@pytest.mark.parametrize(("suffix", "beginning"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_a_figure_drawn_again_is_the_same_file(figures, tmp_path, monkeypatch, suffix, beginning):
    """Another date changes no byte of a file; the format is the suffix's."""
    written = []
    for epoch in ("0", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        drawn, (axes,) = figures.figure()
        axes.plot([1, 2], [2, 1], label="line")
        axes.set(xlabel="tokens")
        path = tmp_path / f"{epoch}{suffix}"
        figures.save(drawn, path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(beginning)


def test_words_stay_words(figures, tmp_path):
    """An SVG holds its labels as text."""
    drawn, (axes,) = figures.figure()
    axes.set(xlabel="tokens spent")
    figures.save(drawn, tmp_path / "a.svg")
    assert ">tokens spent</text>" in (tmp_path / "a.svg").read_text()
