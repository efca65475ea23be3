"""Monte Carlo tree search over the steps of a solution, four rollouts at a time.

Runs on the embedded engine: no GPU, no download, no account.
"""

import asyncio

from dynasor import Dynasor, Mcts

QUESTION = (
    "Tom has 6 bags with 34 stamps each. He gives 88 stamps away. How many stamps does he have?"
)


async def main() -> None:
    """Search, and show the certaindex as it moves."""
    async with Dynasor(policy="even:in_flight=4") as dynasor:
        handle = dynasor.submit(Mcts(QUESTION, cap=12, rewards="confidence"))
        async for step in handle.progress():
            signals = ", ".join(f"{name} {at:.2f}" for name, at in step.certaindex.items())
            print(f"  iteration {step.knob:>2} of {step.granted}: {signals}")
        result = await handle
        print(f"answer {result.answer}, {result.spending.completion_tokens} tokens")


if __name__ == "__main__":
    asyncio.run(main())
