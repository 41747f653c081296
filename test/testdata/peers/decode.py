"""Decodes a message of a topic by its schema. usage: decode.py SCHEMA <MESSAGE"""
import json
import struct
import sys

NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i8": "<b",
           "i16": "<h", "i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}


def size(type):
    if isinstance(type, str):
        return struct.calcsize(NUMBERS[type])
    if "of" in type:
        return type["array"] * size(type["of"])
    return type["size"]


def decode(type, message, at=0):
    if isinstance(type, str):
        return struct.unpack_from(NUMBERS[type], message, at)[0]
    if "of" in type:
        each = size(type["of"])
        return [decode(type["of"], message, at + i * each) for i in range(type["array"])]
    return {f["name"]: decode(f["type"], message, at + f["offset"]) for f in type["fields"]}


schema, message = json.loads(sys.argv[1]), sys.stdin.buffer.read()
if len(message) != size(schema):
    sys.exit(f"a message of {len(message)} bytes; the schema is of {size(schema)}")
print(json.dumps(decode(schema, message)))
