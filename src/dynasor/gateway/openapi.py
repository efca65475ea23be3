"""The description of all endpoints at `/openapi.json` (OpenAPI 3.1).

What a request may hold is read off the structs that read it; the rest is written here.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from dynasor.core.commands import Shadowed
from dynasor.gateway.registry import Attempt, CallRecord, Settled
from dynasor.gateway.tree import Node
from dynasor.requests.body import MOST_PROGRAM_ID, Extras, StreamOptions

__all__ = ["document"]

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
NUMBERS: Schema = {"type": "object", "additionalProperties": NUMBER}
ANYTHING: Schema = {"type": "object"}
MESSAGE: Schema = {
    "type": "object",
    "properties": {"role": TEXT, "content": {}},
    "required": ["role"],
}
QUESTION = "What is 12 * 12?"
ALGORITHM: Schema = {"dynasor": {"algorithm": "self-consistency", "cap": 8}}
OTHER_FIELDS = (
    "Every other field of OpenAI's, and those of the engine: passed on as they stand, or refused "
    "by name where the request is a program and they cannot be honoured."
)


@cache
def document() -> Schema:
    """Return the document as JSON values; not to be changed."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dynasor",
            "version": _version(),
            "description": "OpenAI's API in front of a scheduler of reasoning programs: the object "
            "`dynasor` in a request says how its question is to be answered.",
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _version() -> str:
    try:
        return version("dynasor-serve")
    except PackageNotFoundError:
        return "source"


def _paths() -> Schema:
    program = _parameter("program", "path", {**TEXT, "maxLength": MOST_PROGRAM_ID})
    model = _parameter("model", "path", TEXT)
    replica = _parameter("replica", "path", TEXT)
    limit = _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100})
    after = _parameter("after", "query", TEXT)
    return {
        "/v1/chat/completions": {
            "post": _asking(
                "chatCompletion",
                "Answer a conversation.",
                "Chat",
                "ChatCompletion",
                {"messages": [{"role": "user", "content": QUESTION}], **ALGORITHM},
            )
        },
        "/v1/completions": {
            "post": _asking(
                "completion",
                "Answer a prompt.",
                "Prompt",
                "TextCompletion",
                {"prompt": QUESTION, **ALGORITHM},
            )
        },
        "/v1/models": {"get": _reading("listModels", "List the models.", _list_of("Model"))},
        "/v1/models/{model}": {
            "get": _reading("showModel", "Show a model.", _ref("Model"), model),
        },
        "/v1/programs": {
            "get": _reading(
                "listPrograms",
                "List programs, the newest first.",
                _ref("ProgramList"),
                limit,
                after,
            )
        },
        "/v1/programs/{program}": {
            "get": _reading("showProgram", "Show a program.", _ref("Program"), program),
            "delete": _reading("cancelProgram", "Cancel a program.", _ref("Program"), program),
        },
        "/v1/replicas": {
            "get": _reading("listReplicas", "List the engines.", _list_of("Replica")),
        },
        "/v1/replicas/{replica}": {
            "delete": _reading("takeOut", "Send an engine nothing new.", _ref("Replica"), replica),
            "put": _reading("takeIn", "Send an engine requests again.", _ref("Replica"), replica),
        },
        "/health": {"get": _reading("health", "Whether the process lives.", _ref("Status"))},
        "/ready": {
            "get": _reading("ready", "Whether requests would be served.", _ref("Status"))
            | {
                "responses": {
                    "200": _json("Ready.", _ref("Status")),
                    "503": _json("Not (yet, or any more).", _ref("Status")),
                    "4XX": _json("Refused.", _ref("Error")),
                }
            }
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Show all series in Prometheus's text format.",
                "responses": {
                    "200": {"description": "The series.", "content": {"text/plain": {}}},
                    **_failures(),
                },
            }
        },
    }


def _asking(name: str, summary: str, body: str, answer: str, example: Schema) -> Schema:
    response = _json("The answer, or a stream of its chunks.", _ref(answer))
    response["content"]["text/event-stream"] = {}
    response["headers"] = {
        "X-Dynasor-Program": {"description": "The program behind it.", "schema": TEXT}
    }
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(body), "example": example}},
        },
        "responses": {"200": response, **_failures()},
    }


def _reading(name: str, summary: str, answer: Schema, *parameters: Schema) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": _json("It.", answer), **_failures()},
    }


def _failures() -> Schema:
    return {
        "4XX": _json("The request cannot be served; the error names the field.", _ref("Error")),
        "5XX": _json("An engine, a program or the server failed.", _ref("Error")),
    }


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, place: str, schema: Schema) -> Schema:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _ref(name: str) -> Schema:
    return {"$ref": REFERENCE.format(name=name)}


def _list_of(name: str) -> Schema:
    return _object({"object": {"const": "list"}, "data": _array(_ref(name))})


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Schema, *optional: str) -> Schema:
    """Return the schema of an object that has all of these properties, but for the optional."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _schemas() -> Schema:
    kinds = [Extras, StreamOptions, Settled, Attempt, CallRecord, Node, Shadowed]
    _, read = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    return {
        **read,
        "Chat": _body("messages", {"type": "array", "minItems": 1, "items": MESSAGE}),
        "Prompt": _body("prompt", {"anyOf": [TEXT, {"type": "array"}]}),
        "ChatCompletion": _completion("chat.completion", {"message": ANYTHING}),
        "TextCompletion": _completion("text_completion", {"text": TEXT}),
        "Usage": _object(
            {
                "prompt_tokens": COUNT,
                "completion_tokens": COUNT,
                "total_tokens": COUNT,
                "completion_tokens_details": ANYTHING,
            },
            "completion_tokens_details",
        ),
        "Story": _story(),
        "Model": _object(
            {"id": TEXT, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT}
        ),
        "Replica": _object(
            {
                "id": TEXT,
                "object": {"const": "dynasor.replica"},
                "engine": TEXT,
                "reachable": {"type": "boolean"},
                "draining": {"type": "boolean"},
                "running": COUNT,
                "pools": ANYTHING,
            }
        ),
        "Program": _program(),
        "ProgramSummary": _object(_summary()),
        "ProgramList": _object(
            {
                "object": {"const": "list"},
                "data": _array(_ref("ProgramSummary")),
                "first_id": _nullable(TEXT),
                "last_id": _nullable(TEXT),
                "has_more": {"type": "boolean"},
            }
        ),
        "Status": _object({"status": TEXT, "replicas": ANYTHING}, "replicas"),
        "Error": _error(),
    }


def _body(asked: str, schema: Schema) -> Schema:
    properties = {
        asked: schema,
        "model": _nullable(TEXT),
        "stream": _nullable({"type": "boolean"}),
        "stream_options": _nullable(_ref("StreamOptions")),
        "dynasor": _nullable(_ref("Extras")),
    }
    return {
        "type": "object",
        "properties": properties,
        "required": [asked],
        "description": OTHER_FIELDS,
    }


def _completion(kind: str, choice: Schema) -> Schema:
    choices = _object(
        {"index": COUNT, **choice, "logprobs": {}, "finish_reason": _nullable(TEXT)}, "logprobs"
    )
    properties = {
        "id": TEXT,
        "object": {"const": kind},
        "created": COUNT,
        "model": TEXT,
        "choices": _array(choices),
        "usage": _ref("Usage"),
        "dynasor": _ref("Story"),
    }
    return _object(properties, "usage", "dynasor")


def _story() -> Schema:
    return _object(
        {
            "program_id": TEXT,
            "algorithm": TEXT,
            "policy": TEXT,
            "task": TEXT,
            "status": {"enum": ["answered", "deadline", "failed", "withdrawn"]},
            "reason": TEXT,
            "answer": _nullable(TEXT),
            "certaindex": NUMBERS,
            "knob": COUNT,
            "cap": COUNT,
            "votes": NUMBERS,
            "calls": COUNT,
            "aborted_calls": COUNT,
            "failed_attempts": COUNT,
            "grouping_failures": COUNT,
            "notes": NUMBERS,
            "seconds": NUMBER,
            "closed_seconds": NUMBER,
        }
    )


def _summary() -> Schema:
    return {
        "id": TEXT,
        "object": {"const": "dynasor.program"},
        "created": COUNT,
        "algorithm": TEXT,
        "policy": TEXT,
        "task": TEXT,
        "status": {"enum": ["running", "answered", "deadline", "failed", "withdrawn"]},
        "reason": _nullable(TEXT),
        "knob": COUNT,
        "cap": COUNT,
        "certaindex": NUMBERS,
        "answer": _nullable(TEXT),
        "error": _nullable(TEXT),
        "seconds": _nullable(NUMBER),
        "usage": _nullable(_ref("Usage")),
    }


def _program() -> Schema:
    return _object(
        {
            **_summary(),
            "workload": TEXT,
            "deadline_seconds": _nullable(NUMBER),
            "granted": COUNT,
            "closed_seconds": _nullable(NUMBER),
            "votes": NUMBERS,
            "notes": NUMBERS,
            "shadow": _nullable(_ref("Shadowed")),
            "tokens": COUNT,
            "replicas": _array(TEXT),
            "history": _array(_ref("Settled")),
            "calls": _array(_ref("CallRecord")),
            "tree": _nullable(_array(_ref("Node"))),
        }
    )


def _error() -> Schema:
    return _object(
        {
            "error": _object(
                {"message": TEXT, "type": TEXT, "param": _nullable(TEXT), "code": _nullable(TEXT)}
            )
        }
    )
