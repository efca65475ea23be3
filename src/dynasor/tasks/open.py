"""Open questions: free text, compared as text."""

from __future__ import annotations

from dynasor.core.types import Message, Prompt

__all__ = ["OpenTask"]


class OpenTask:
    """Questions answered in free text: what differs in more than blanks and case differs.

    Whoever wants answers grouped by meaning embeds them (`core.types.Embed`) instead.
    """

    name = "open"
    runs_programs = False
    takes_any_text = True

    def prompt(self, question: str) -> Prompt:
        """Show the question as it is."""
        return Prompt((Message("user", question),))

    def extract(self, text: str) -> str | None:
        """Return the whole completion, stripped; None where nothing is left."""
        return text.strip() or None

    def same(self, left: str, right: str) -> bool:
        """Compare the texts, blanks and case folded."""
        return _folded(left) == _folded(right)

    def prepare(self) -> None:
        """Do nothing: nothing is slow here."""

    def equal(self, answer: str, reference: str) -> bool:
        """Do as `same`."""
        return self.same(answer, reference)

    def grade(self, question: str, answer: str | None, gold: str) -> bool:
        """Compare with the reference text."""
        return answer is not None and self.same(answer, gold)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
