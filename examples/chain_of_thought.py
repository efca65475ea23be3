"""A long chain of thought, probed beside its stream and cut when the model is sure.

Runs on the embedded engine, whose thinking mode is a system message of its own: no GPU, no
download, no account.
"""

import asyncio

from dynasor import ChainOfThought, Dynasor

QUESTION = (
    "Tom has 6 bags with 34 stamps each. He gives 88 stamps away. Then he gets 12 more on each of "
    "9 days. He puts half of them aside. How many stamps does he have left?"
)


async def main() -> None:
    """Think to the end, and think until the model is sure of its answer."""
    async with Dynasor() as dynasor:
        for name, policy in (
            ("to the end", "even"),
            ("until certain", 'stepwise:every=1,at={"confidence":0.8}'),
        ):
            program = ChainOfThought(QUESTION, mode="<|think|>", max_tokens=600, every=16)
            result = await dynasor.run(program, policy=policy, program_id="stamps")
            assert result.text is not None
            print(f"{name}: {result.answer}, {result.spending.completion_tokens} tokens")
            print(f"  the message ends {result.text[-60:]!r}")


if __name__ == "__main__":
    asyncio.run(main())
