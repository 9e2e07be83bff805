"""A published OpenAPI document, as what requests and answers are held against; and answers made from it.

Documents are in `schemas/`: trimmed to what is used, as JSON, with their source, version and licence in them. They
are read more strictly than they are written: a property that an object does not name is an error, as it is to
Firecracker.
"""

import json
import re
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

from harness.vm.common.rest_client import Request

FOLDER = Path(__file__).parents[1] / "data/schemas"


class OpenApi:
    """One document; both versions 2 and 3 of OpenAPI are understood, as far as these documents need it."""

    def __init__(self, name: str) -> None:
        self.document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        self.version: str = self.document["version"]
        self._strict = _strict(self.document)

    def complaints(self, request: Request) -> list[str]:
        """What the document has against a request; nothing if it is right."""
        operation = self._operation(request)
        if operation is None:
            return [f"there is no {request.method} {request.path}"]
        schema = _body_schema(operation)
        if schema is None:
            return [] if request.body is None else ["it has no body"]
        if request.body is None:
            return ["its body is missing"]
        schema = {**schema, **{key: value for key, value in self._strict.items() if key != "paths"}}
        errors = Draft4Validator(schema).iter_errors(request.body)
        return [f"{error.json_path}: {error.message}" for error in errors]

    def answer(self, request: Request, known: dict[str, Any]) -> tuple[int, Any]:
        """The status and the body of the success that the document promises, with the values of `known` in it."""
        operation = self._operation(request)
        assert operation is not None
        rows = operation["responses"].items()
        status, response = next((int(key), row) for key, row in rows if key.startswith("2"))
        schema = response.get("schema") or response.get("content", {}).get("application/json", {}).get("schema")
        return status, self._example(schema, known) if schema else None

    def _operation(self, request: Request) -> dict[str, Any] | None:
        for path, methods in self._strict["paths"].items():
            if re.fullmatch(re.sub(r"\{\w+\}", r"[\\w-]+", path), request.path):
                found: dict[str, Any] | None = methods.get(request.method.lower())
                return found
        return None

    def _example(self, schema: dict[str, Any], known: dict[str, Any]) -> Any:
        if "$ref" in schema:
            found = self._strict
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            return self._example(found, known)
        if schema.get("type") == "object":
            rows = schema.get("properties", {}).items()
            return {
                name: known.get(name, self._example(row, known))
                for name, row in rows
                if name in schema.get("required", ())
            }
        return schema.get("enum", [{"string": "text", "integer": 1, "boolean": False}[schema["type"]]])[0]


def _body_schema(operation: dict[str, Any]) -> dict[str, Any] | None:
    if "requestBody" in operation:
        found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
        return found
    return next((row["schema"] for row in operation.get("parameters", ()) if row["in"] == "body"), None)


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(row) for row in value]
    if not isinstance(value, dict):
        return value
    made = {key: _strict(row) for key, row in value.items()}
    if made.get("type") == "object" and "properties" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made
