"""The scheduler: pure, synchronous, driven by events. Nothing here reads a clock or does I/O."""
