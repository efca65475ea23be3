from __future__ import annotations

from dynasor.workers.comparer import Comparer, Comparers


class Always(Comparer):
    """Puts every answer into one class, and says who did it by the failures."""

    def __init__(self, number):
        self.number = number
        self.asked = []

    async def compare(self, task, representatives, new):
        self.asked.append((task, representatives, new))
        return (0,) * len(new), self.number


async def test_each_task_has_its_comparer():
    """A task's own comparer sorts its answers, the default one those of all other tasks."""
    default, own = Always(1), Always(2)
    comparers = Comparers(default)
    comparers.use(own, "open")
    assert await comparers.compare("open", ("a",), ("b", "c")) == ((0, 0), 2)
    assert await comparers.compare("math", ("a",), ("b",)) == ((0,), 1)
    assert own.asked == [("open", ("a",), ("b", "c"))]
    assert default.asked == [("math", ("a",), ("b",))]
