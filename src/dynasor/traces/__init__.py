"""Traces: recorded outputs of models; read, written, checked, and made of other files."""

from dynasor.traces.convert import About, convert
from dynasor.traces.files import (
    Trace,
    TraceError,
    TraceFile,
    open_trace,
    read_trace,
    write_trace,
)
from dynasor.traces.format import (
    VERSION,
    Chain,
    ChainLine,
    Header,
    Kind,
    Line,
    Node,
    Probe,
    Sample,
    SamplingLine,
    Tree,
    TreeLine,
)
from dynasor.traces.validate import Problem, Report, Summary, validate
from dynasor.traces.writer import TraceWriter

__all__ = [
    "VERSION",
    "About",
    "Chain",
    "ChainLine",
    "Header",
    "Kind",
    "Line",
    "Node",
    "Probe",
    "Problem",
    "Report",
    "Sample",
    "SamplingLine",
    "Summary",
    "Trace",
    "TraceError",
    "TraceFile",
    "TraceWriter",
    "Tree",
    "TreeLine",
    "convert",
    "open_trace",
    "read_trace",
    "validate",
    "write_trace",
]
