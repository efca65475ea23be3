from __future__ import annotations

from dynasor.tasks import OpenTask


def test_the_completion_is_the_answer():
    """The whole text counts, without the blanks around it; blanks alone are no answer."""
    assert OpenTask().extract("  Paris\n") == "Paris"
    assert OpenTask().extract(" \n") is None


def test_blanks_and_case_do_not_matter():
    """Texts are the same when only blanks and case set them apart."""
    assert OpenTask().same("The  Straße", "the STRASSE")
    assert not OpenTask().same("Paris", "Paris!")
    assert OpenTask().grade("?", "paris", "Paris")
    assert not OpenTask().grade("?", "London", "Paris")
