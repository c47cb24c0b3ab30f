"""Structs and dataclasses have fields of their own kind; mypy takes one kind for the other."""

from __future__ import annotations

import dataclasses
import pkgutil
from importlib import import_module

import msgspec

import groq_batch
import groq_batch_cli
import groq_batch_client

STRUCT_FIELD = type(msgspec.field(default=0))
CLASSES = {
    one
    for package in (groq_batch, groq_batch_cli, groq_batch_client)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
    for one in vars(import_module(module.name)).values()
    if isinstance(one, type) and one.__module__ == module.name
}


def test_no_struct_has_a_field_of_a_dataclass_as_a_default() -> None:
    structs = [one for one in CLASSES if issubclass(one, msgspec.Struct)]
    assert len(structs) > 1
    for one in structs:
        mixed_up = [each for each in one.__struct_defaults__ if isinstance(each, dataclasses.Field)]
        assert not mixed_up, one


def test_no_dataclass_has_a_field_of_a_struct_as_a_default() -> None:
    kinds = [one for one in CLASSES if dataclasses.is_dataclass(one)]
    assert len(kinds) > 1
    for one in kinds:
        mixed_up = [
            each for each in dataclasses.fields(one) if isinstance(each.default, STRUCT_FIELD)
        ]
        assert not mixed_up, one
