"""Rebase: a tree search whose width follows the rewards of its steps.

The policy measures at a width of 8: certain questions end there, the others get a second,
independent search of the rest. Runs on the embedded engine: no GPU, no download, no account.
"""

import asyncio

from dynasor import Dynasor, Rebase

QUESTIONS = (
    "A shop has 12 boxes. It gets 7 more. How many boxes are there now?",
    "Tom has 6 bags with 34 stamps each. He gives 88 stamps away. How many stamps does he have?",
)


async def main() -> None:
    """Search both trees at once."""
    policy = 'threshold:detect=8,at={"entropy":0.7,"reward":0.9}'
    async with Dynasor(policy=policy) as dynasor:
        programs = [Rebase(question, cap=16, rewards="confidence") for question in QUESTIONS]
        async for result in dynasor.map(programs):
            print(f"{result.question}\n  answer {result.answer}")
            signals = ", ".join(f"{name} {at:.2f}" for name, at in result.certaindex.items())
            print(f"  {signals}; stopped: {result.reason}")
            print(
                f"  {result.knob} of {result.cap} paths in {result.calls} calls, "
                f"{result.spending.completion_tokens} tokens"
            )


if __name__ == "__main__":
    asyncio.run(main())
