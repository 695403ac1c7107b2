"""A language model of a few kilobytes, in the file format of llama.cpp: the right shape, random weights.

Enough for a real engine to load, tokenise, compute and stream; what it says is noise.
"""
from __future__ import annotations

import random
import struct
from array import array
from pathlib import Path
from typing import Any, List, Tuple

ALIGNMENT = 32
WIDTH, HEADS, FEED, LAYERS, CONTEXT = 32, 2, 64, 1, 256
UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def write_tiny_model(path: Path, *, name: str, seed: int) -> None:
    """A llama of one layer with a byte tokeniser. `seed` makes two of them differ."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581hello", "\u2581world"]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * 2
    metadata: List[Tuple[str, int, Any]] = [
        ("general.architecture", STRING, "llama"), ("general.name", STRING, name),
        ("general.alignment", UINT32, ALIGNMENT),
        ("llama.context_length", UINT32, CONTEXT), ("llama.embedding_length", UINT32, WIDTH),
        ("llama.block_count", UINT32, LAYERS), ("llama.feed_forward_length", UINT32, FEED),
        ("llama.attention.head_count", UINT32, HEADS), ("llama.attention.head_count_kv", UINT32, HEADS),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        ("llama.rope.dimension_count", UINT32, WIDTH // HEADS), ("llama.vocab_size", UINT32, len(tokens)),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        ("tokenizer.ggml.scores", ARRAY, (FLOAT32, [0.0] * len(tokens))),
        ("tokenizer.ggml.token_type", ARRAY, (INT32, kinds)),
        ("tokenizer.ggml.bos_token_id", UINT32, 1), ("tokenizer.ggml.eos_token_id", UINT32, 2),
        ("tokenizer.ggml.unknown_token_id", UINT32, 0),
        ("tokenizer.chat_template", STRING, "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"),
    ]
    path.write_bytes(_file(metadata, _tensors(len(tokens)), random.Random(seed)))


def _tensors(vocabulary: int) -> List[Tuple[str, List[int]]]:
    """Names and shapes, fastest dimension first."""
    shapes = [("token_embd.weight", [WIDTH, vocabulary]), ("output_norm.weight", [WIDTH]),
              ("output.weight", [WIDTH, vocabulary])]
    for layer in range(LAYERS):
        shapes += [(f"blk.{layer}.{part}.weight", shape) for part, shape in (
            ("attn_norm", [WIDTH]), ("ffn_norm", [WIDTH]), ("attn_q", [WIDTH, WIDTH]), ("attn_k", [WIDTH, WIDTH]),
            ("attn_v", [WIDTH, WIDTH]), ("attn_output", [WIDTH, WIDTH]), ("ffn_gate", [WIDTH, FEED]),
            ("ffn_up", [WIDTH, FEED]), ("ffn_down", [FEED, WIDTH]))]
    return shapes


def _file(metadata: List[Tuple[str, int, Any]], tensors: List[Tuple[str, List[int]]], dice: random.Random) -> bytes:
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, kind, value in metadata:
        out += _text(key) + struct.pack("<I", kind) + _value(kind, value)
    data = bytearray()
    for name, shape in tensors:
        out += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", 0, len(data))
        data += _weights(name, shape, dice)
        data += bytes(-len(data) % ALIGNMENT)
    out += bytes(-len(out) % ALIGNMENT)
    return bytes(out + data)


def _weights(name: str, shape: List[int], dice: random.Random) -> bytes:
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if "norm" in name:
        return array("f", [1.0] * count).tobytes()
    return array("f", [dice.uniform(-0.2, 0.2) for _ in range(count)]).tobytes()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _text(value)
    if kind == ARRAY:
        item, values = value
        return struct.pack("<IQ", item, len(values)) + b"".join(_value(item, each) for each in values)
    return struct.pack({UINT32: "<I", FLOAT32: "<f", INT32: "<i"}[kind], value)
