"""Ask a few questions at once and see what each of them cost.

Runs on the embedded engine: no GPU, no download, no account.
"""

import asyncio

from dynasor import Dynasor, SelfConsistency

QUESTIONS = (
    "A shop has 12 boxes. It gets 7 more. How many boxes are there now?",
    "Mia has 9 coins. She gets 4 more on each of 6 days. How many coins does Mia have?",
)


async def main() -> None:
    """Run both questions at once; results come as they end."""
    async with Dynasor(policy="beta:confidence=0.95,in_flight=4") as dynasor:
        programs = [SelfConsistency(question, cap=20) for question in QUESTIONS]
        async for result in dynasor.map(programs):
            print(result.question)
            print(f"  answer {result.answer}, certaindex {result.certaindex['entropy']:.2f}")
            print(
                f"  {result.knob} of {result.cap} branches, "
                f"{result.spending.completion_tokens} tokens; stopped: {result.reason}"
            )


if __name__ == "__main__":
    asyncio.run(main())
