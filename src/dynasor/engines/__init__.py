"""Engines: whatever turns a prompt into text, behind one protocol (`dynasor.engines.protocol`).

`http` speaks to any OpenAI-compatible server, `llamacpp` runs a GGUF file in this process, and
`scripted` answers from a table. An engine imports nothing of Dynasor but `dynasor.core`.
"""
