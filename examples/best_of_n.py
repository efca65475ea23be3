"""Best-of-n: sample whole solutions, score each, keep the best.

Rewards come from a model that judges (here the embedded one, which judges what it wrote itself),
or are the generator's own confidence. Runs on the embedded engine: no GPU, no download, no
account.
"""

import asyncio

from dynasor import BestOfN, Dynasor

QUESTION = (
    "Tom has 6 bags with 34 stamps each. He gives 88 stamps away. How many stamps does he have?"
)


async def main() -> None:
    """Take the best of eight, by either kind of reward."""
    async with Dynasor() as dynasor:
        for rewards in ("model", "confidence"):
            program = BestOfN(QUESTION, cap=8, rewards=rewards)
            result = await dynasor.run(program, program_id="stamps")
            print(f"rewards={rewards}: {result.answer}")
            print(
                f"  {result.knob} branches, {result.spending.completion_tokens} tokens, "
                f"highest reward {result.certaindex['reward']:.2f}"
            )


if __name__ == "__main__":
    asyncio.run(main())
