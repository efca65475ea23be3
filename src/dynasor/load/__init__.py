"""Open-loop load: programs that arrive on their own schedule, and what became of them."""
