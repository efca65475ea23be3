"""Parts of Dynasor that run inside an engine; they import `dynasor.core` only."""
