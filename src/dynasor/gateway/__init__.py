"""OpenAI-compatible HTTP in front of the scheduler: the endpoints, the gate, what is measured."""
