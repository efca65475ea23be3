"""From which cosine on do two texts mean the same? What a threshold keeps together and apart.

    scripts/bench similarity [--engine URL [--model NAME]]

Embeds pairs of sentences written for this purpose, with the local model (the extra `semantic`) or
with a server's /v1/embeddings, and counts for each threshold how many paraphrases it puts into
one class and how many other pairs it keeps apart. The pairs are few and the threshold is read off
the same pairs, so a difference of two or three pairs means nothing.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from dynasor.engines.http import HttpEngine
from dynasor.runtime.embedding import EngineVectors
from dynasor.workers.minilm import LocalVectors
from dynasor.workers.similarity import Vectors, unit

Pair = tuple[str, str]

# One statement in two wordings.
PARAPHRASES = (
    ("Paris is the capital of France.", "The capital of France is Paris."),
    (
        "Yes, because ice is less dense than water.",
        "Ice floats since it has a lower density than liquid water.",
    ),
    (
        "Plants make sugar from sunlight, water and carbon dioxide.",
        "Using light, plants turn CO2 and water into sugar.",
    ),
    ("The meeting was put off until Monday.", "They postponed the meeting to Monday."),
    (
        "You should see a doctor if the fever lasts more than three days.",
        "If the temperature stays high beyond three days, seek medical advice.",
    ),
    (
        "Restart the router and check the cable.",
        "Check the cable, then turn the router off and on again.",
    ),
    ("The war ended in 1945.", "In 1945 the war came to an end."),
    (
        "Inflation makes money worth less over time.",
        "With inflation, the purchasing power of money falls.",
    ),
    ("He was angry because his train was late.", "The delay of his train made him furious."),
    (
        "Bees pollinate flowers while they gather nectar.",
        "While collecting nectar, bees carry pollen from flower to flower.",
    ),
    (
        "No, spiders are not insects; they have eight legs.",
        "Spiders are arachnids with eight legs, so they are not insects.",
    ),
    ("The heart pumps blood through the body.", "Blood is moved around the body by the heart."),
    (
        "Boil the pasta for ten minutes, then drain it.",
        "Cook the noodles in boiling water for 10 minutes and pour the water off.",
    ),
    ("Shakespeare wrote Hamlet.", "Hamlet is a play by William Shakespeare."),
    (
        "The sky looks blue because air scatters blue light most.",
        "Rayleigh scattering of short wavelengths makes the sky blue.",
    ),
    ("She moved abroad to find work.", "She left the country in search of a job."),
    (
        "Vaccines train the immune system to recognise a disease.",
        "A vaccine teaches the body's defences what the illness looks like.",
    ),
    ("The company lost money last year.", "Last year the firm made a loss."),
    ("Add salt at the end.", "Season with salt last."),
    ("The bridge is closed for repairs.", "Because of repair work, nobody can cross the bridge."),
)

# Two statements on one subject.
OTHERS = (
    ("Paris is the capital of France.", "Berlin is the capital of Germany."),
    (
        "Ice floats because it is less dense than water.",
        "Ice melts because it absorbs heat from the water.",
    ),
    (
        "Plants make sugar from sunlight, water and carbon dioxide.",
        "Plants take up minerals from the soil with their roots.",
    ),
    ("They postponed the meeting to Monday.", "They cancelled the meeting for good."),
    (
        "You should see a doctor if the fever lasts.",
        "You need no doctor; the fever goes by itself.",
    ),
    ("Restart the router and check the cable.", "Buy a new router with a better antenna."),
    ("The war ended in 1945.", "The war began in 1939."),
    ("Inflation makes money worth less over time.", "Deflation makes money worth more over time."),
    ("He was angry because his train was late.", "He was happy because his train was on time."),
    (
        "Bees pollinate flowers while they gather nectar.",
        "Bees sting when their hive is threatened.",
    ),
    ("Spiders are not insects.", "Ants are insects."),
    ("The heart pumps blood through the body.", "The lungs bring oxygen into the blood."),
    ("Boil the pasta for ten minutes.", "Fry the rice for five minutes."),
    ("Shakespeare wrote Hamlet.", "Goethe wrote Faust."),
    (
        "The sky looks blue because air scatters blue light most.",
        "The sunset looks red because the light takes a longer way through the air.",
    ),
    ("She moved abroad to find work.", "She stayed at home to look after her mother."),
    ("Vaccines train the immune system.", "Antibiotics kill bacteria."),
    ("The company lost money last year.", "The company doubled its profit last year."),
    ("Add salt at the end.", "Add sugar at the beginning."),
    ("The bridge is closed for repairs.", "The bridge is open again."),
)

# Two statements that one word, one number or an order of words sets apart.
OPPOSITES = (
    ("The river flows north.", "The river flows south."),
    ("The answer is 12 apples.", "The answer is 13 apples."),
    ("Coffee lowers the risk.", "Coffee raises the risk."),
    ("Yes, it is safe to eat.", "No, it is not safe to eat."),
    ("It is legal.", "It is illegal."),
    ("The patient should take the drug.", "The patient should not take the drug."),
    ("Prices rose in 2020.", "Prices fell in 2020."),
    ("Anna is taller than Ben.", "Ben is taller than Anna."),
    ("Turn left at the church.", "Turn right at the church."),
    ("The train leaves before noon.", "The train leaves after noon."),
)

THRESHOLDS = [percent / 100 for percent in range(50, 100, 5)]


async def cosines(vectors: Vectors, pairs: Sequence[Pair]) -> list[float]:
    """Return the cosine of each pair."""
    found = []
    for pair in pairs:
        left, right = (unit(vector) for vector in await vectors(pair))
        if left is None or right is None:
            raise SystemExit(f"no usable vector for one of {pair}")
        found.append(float(left @ right))
    return found


async def measure(vectors: Vectors) -> None:
    """Print the table."""
    same = await cosines(vectors, PARAPHRASES)
    others = await cosines(vectors, OTHERS)
    opposites = await cosines(vectors, OPPOSITES)
    print("at    paraphrases together   others apart   opposites apart")
    for at in THRESHOLDS:
        together = sum(cosine >= at for cosine in same)
        apart, told = (sum(cosine < at for cosine in some) for some in (others, opposites))
        print(
            f"{at:.2f}  {together:>11} of {len(same)}      {apart:>4} of {len(others)}"
            f"       {told:>4} of {len(opposites)}"
        )


async def main() -> None:
    """Measure with the source that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", metavar="URL", help="a server with /v1/embeddings")
    parser.add_argument("--model", metavar="NAME", help="its model, if it has several")
    arguments = parser.parse_args()
    if arguments.engine is None:
        await measure(LocalVectors())
        return
    engine = HttpEngine(arguments.engine, model=arguments.model)
    try:
        await engine.start()
        await measure(EngineVectors(engine))
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
