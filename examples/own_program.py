"""A reasoning algorithm of one's own: sample until two answers in a row agree.

It runs in virtual time on a modelled engine, so its output is always the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dynasor.core.allocation import policies
from dynasor.core.catalog import Catalog
from dynasor.core.config import SchedulerConfig
from dynasor.core.events import Arrived
from dynasor.core.ordering import orderings
from dynasor.core.program import Ask, Context, Group, Program, Sample, Strand
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Answer, Call, Generate, Generated, PolicySpec, ProgramSpec, Usage
from dynasor.sim import Outcome, SimpleEngine, VirtualHost
from dynasor.tasks import tasks

SAMPLES: Mapping[str, tuple[str, ...]] = {
    "easy": ("42", "42"),
    "hard": ("7", "9", "8", "8"),
}


@dataclass
class TwoInARow(Program):
    """One branch after the other; stops when two in a row give the same answer."""

    name = "two-in-a-row"

    found: list[Answer] = field(default_factory=list, init=False, repr=False)
    agreed: bool = field(default=False, init=False)

    def execute(self, context: Context) -> Strand:
        """Sample, group, compare with the last one."""
        work = Generate(self.prompt(context.task))
        last = None
        while not self.agreed and (yield Ask()).knob:
            sample = yield Sample(work)
            value = context.task.extract(sample.text)
            group = yield Group(value)
            if value is not None:
                self.found.append(Answer(value, sample.text))
            self.agreed = group is not None and group == last
            last = group
            self.knob += 1

    def update_certaindex(self) -> dict[str, float]:
        """Certain once two agree."""
        return {"agreement": float(self.agreed)}

    def answer(self) -> Answer | None:
        """The latest answer."""
        return self.found[-1] if self.found else None


def model(call: Call, attempt: int) -> Outcome:
    """Answer the n-th call of a program with its n-th sample, 50 tokens each."""
    program, number = call.id.split("#")
    text = rf"The answer is \boxed{{{SAMPLES[program][int(number) - 1]}}}."
    return Outcome(Generated(text, Usage(20, 50)), tokens=50)


def main() -> None:
    """Run both programs on one engine of two slots, 50 tokens a second."""
    catalog = Catalog({TwoInARow.name: TwoInARow}, tasks(), policies(), orderings())
    scheduler = Scheduler(SchedulerConfig(), catalog)
    host = VirtualHost(scheduler, model, compare=lambda task, new, known: ())
    host.add_pool("generate", {"engine": SimpleEngine(slots=2, tokens_per_second=50)})
    for name in SAMPLES:
        spec = ProgramSpec(TwoInARow.name, {"question": f"the {name} one", "cap": 6})
        host.at(0.0, Arrived(name, spec, PolicySpec("even", has_lock=False)))
    host.run()
    for name, answered in host.answers.items():
        tokens = host.bills[name].spending.completion_tokens
        assert answered.answer is not None
        print(
            f"{name}: {answered.answer.value} after {answered.knob} of {answered.cap} branches, "
            f"{tokens} tokens, {host.answered_at[name]:.0f} s"
        )


if __name__ == "__main__":
    main()
