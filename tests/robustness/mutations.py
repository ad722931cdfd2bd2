"""Ways of damaging a good file. Each takes its bytes and a source of chance, and gives other bytes."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from safetensors.torch import load, save

Mutation = Callable[[bytes, Random], bytes]

BOUNDARIES = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 1 << 24, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, (1 << 64) - 1)


def noise(content: bytes, rng: Random) -> bytes:
    """Some bytes or bits changed, cut out, doubled, put in, or numbers set to the ends of their ranges."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 16, 256)))
        match rng.randrange(7):
            case 0:
                data[at:end] = rng.randbytes(end - at)
            case 1 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:at] = rng.choice((b"\0", b"\xff", b"\n", b'"', b"[", b"{", b"-", b"9" * 20)) * rng.randrange(
                    1, 9
                )
            case 5:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(BOUNDARIES) % (1 << 8 * width)
                data[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
            case _:
                data[at:end] = bytes(end - at)
    return bytes(data)


def cut(content: bytes, rng: Random) -> bytes:
    """The end missing, or something behind it."""
    if rng.random() < 0.8:
        return content[: rng.randrange(len(content) + 1)]
    return content + rng.choice((rng.randbytes(64), bytes(4096), content))


def odd_value(rng: Random) -> Any:
    """What nobody expects in a JSON file."""
    return rng.choice(
        (
            None, True, False, 0, -1, 1e308, float("nan"), float("inf"), 1 << 31, 1 << 64, 10**30, -(1 << 63), "", " ",
            "\0", "a" * 5000, "\ud800", "../../x", "/etc/passwd", "*", "none", [], [[]], [None], {}, {"": None},
            {"a": []}, [0] * 300, [1, "a", None, []],
        )
    )  # fmt: skip


def altered(value: Any, rng: Random) -> Any:
    """One place of a JSON value with something else in it, left out, or doubled."""
    places: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        one = pending.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        places += [(one, key) for key in keys]
        pending += [one[key] for key in keys]
    if not places or rng.random() < 0.03:
        return odd_value(rng)
    inside, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[str(odd_value(rng))[:50]] = inside.pop(key)
        case 2 if isinstance(inside, list):
            inside.insert(key, inside[key])
        case 3:
            inside[key] = rng.choice(places)[0]
            try:
                json.dumps(value)
            except ValueError:  # it holds itself
                inside[key] = None
        case _:
            inside[key] = odd_value(rng)
    return value


def json_values(content: bytes, rng: Random) -> bytes:
    """JSON with other values in it."""
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        value = altered(value, rng)
    return json.dumps(value, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def json_text(content: bytes, rng: Random) -> bytes:
    """JSON nested without end, with long numbers, or what other programs write."""
    deep = rng.choice((50, 2000, 100_000))
    odd = rng.choice(
        (b"[" * deep, b"[" * deep + b"]" * deep, b'{"a":' * deep, b"9" * deep, b"NaN", b"1e999", b"\xff\xfe", b"'a'")
    )
    places = [match.start() for match in re.finditer(rb"[\[{:,]", content)]
    at = rng.choice(places) + 1 if places else 0
    return rng.choice((odd, content[:at] + odd + content[at:], b"\xef\xbb\xbf" + content, content.replace(b'"', b"'")))


def json_lines(content: bytes, rng: Random) -> bytes:
    """One of the JSON values, a line each, changed."""
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((json_values, json_text, noise))(lines[at].strip(), rng) + b"\n"
    return b"".join(lines)


def yaml_text(content: bytes, rng: Random) -> bytes:
    """YAML with tags, aliases, odd values and broken lines."""
    lines = content.decode().splitlines() or [""]
    at = rng.randrange(len(lines))
    odd = rng.choice(
        (
            "&a [*a]", "&a {<<: *a}", "!!python/object/apply:os.system ['true']", "!!binary x", "!!timestamp x",
            "2001-99-99", "0b2", "1:99:99", "!!bool maybe", "? [1]", "'", "- " * 500, "[" * 3000, "{a: " * 3000, "%TAG",
            "---", "...", "*unknown", ".nan", "-.inf", "1e400", "9" * 5000, "~", "\t", "!!set {a, b}", "!!omap [a]",
            "{[1]: 2}",
        )
    )  # fmt: skip
    key, colon, _ = lines[at].partition(":")
    lines[at] = rng.choice((f"{key}{colon} {odd}", odd, lines[at] + odd, "  " + lines[at]))
    if rng.random() < 0.2:
        lines.insert(at, lines[rng.randrange(len(lines))])
    return "\n".join(lines).encode()


def header(content: bytes, rng: Random) -> bytes:
    """The header of a safetensors file with other values, or its metadata, which may be JSON again."""
    length = int.from_bytes(content[:8], "little")
    entries, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = entries.get("__metadata__", {})
    if metadata and rng.random() < 0.6:
        key = rng.choice(sorted(metadata))
        text = metadata[key].encode()
        damage = rng.choice((noise, cut, json_text, json_values) if text[:1] in b"{[" and text else (noise, cut))
        metadata[key] = damage(text, rng).decode("utf-8", "replace")
        if rng.random() < 0.2:
            del metadata[key]
    else:
        entries = altered(entries, rng)
    text = json.dumps(entries).encode()
    declared = len(text) if rng.random() < 0.95 else rng.choice(BOUNDARIES)
    return declared.to_bytes(8, "little") + text + rest


def tensors(content: bytes, rng: Random) -> bytes:
    """A sound safetensors file with another tensor in it: other numbers, another form, type or name."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    state = load(content)
    for _ in range(rng.choice((1, 1, 2))):
        altered_tensor(state, rng)
    return save({name: tensor.clone().contiguous() for name, tensor in state.items()}, metadata)


def altered_tensor(state: dict[str, torch.Tensor], rng: Random) -> None:
    """Change one tensor of a state dict in place."""
    if not state:
        return
    name = rng.choice(sorted(state))
    tensor = state.pop(name)
    match rng.randrange(9):
        case 0:
            pass
        case 1:
            state[name + rng.choice(("x", ".weight", "\n", "9" * 30))] = tensor
        case 2:
            state[name] = tensor.to(rng.choice((torch.float16, torch.bfloat16, torch.int8, torch.int64, torch.bool)))
        case 3:
            state[name] = tensor.to(rng.choice((torch.complex64, torch.float8_e4m3fn, torch.float64)))
        case 4:
            state[name] = tensor.flatten()
        case 5:
            state[name] = tensor[None]
        case 6:
            state[name] = tensor[:0] if tensor.ndim else torch.zeros(0)
        case 7:
            state[name] = tensor[: max(1, len(tensor) // 2)] if tensor.ndim else tensor
        case _:
            values = tensor.clone()
            odd = rng.choice(
                (float("nan"), float("inf"), -1.0, 255.0, 1e9) if values.is_floating_point() else (-1, 255)
            )
            values.view(-1)[: 1 + rng.randrange(max(1, values.numel()))] = odd
            state[name] = values


def pickled(content: bytes, rng: Random) -> bytes:
    """A torch file whose pickle is changed while the archive around it stays sound; some ask for code."""
    source = io.BytesIO(content)
    if not zipfile.is_zipfile(source):
        return noise(content, rng)
    result = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = _hostile(rng) if rng.random() < 0.2 else rng.choice((noise, cut))(data, rng)
            elif rng.random() < 0.1:
                data = rng.choice((noise, cut))(data, rng) if data else b"x"
            packed = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
            new.writestr(entry.filename, data, packed)
    return result.getvalue()


SENTINEL = "/tmp/am_adapter_code_was_run"


class _Call:
    def __init__(self, function: Callable, *arguments: Any):
        self.told = (function, arguments)

    def __reduce__(self) -> Any:
        return self.told


def _hostile(rng: Random) -> bytes:
    """A pickle that would leave a file behind, or fill memory."""
    import os

    calls = (
        _Call(os.system, f"touch {SENTINEL}"),
        _Call(eval, f"open({SENTINEL!r}, 'w')"),
        _Call(bytearray, 1 << 34),
        _Call(torch.FloatTensor, 1 << 34),
        _Call(os.mkdir, SENTINEL),
    )
    return pickle.dumps({"a": rng.choice(calls)}, protocol=rng.choice((2, 2, 4)))


def png_chunks(content: bytes, rng: Random) -> bytes:
    """A PNG with a changed chunk whose checksum is right, so that a reader believes it."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return noise(content, rng)
    chunks, at = [], 8
    while at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    which = rng.randrange(len(chunks))
    kind, data = chunks[which]
    match rng.randrange(6):
        case 0:
            kind, data = b"IHDR", struct.pack(
                ">IIBBBBB", rng.choice(BOUNDARIES) % (1 << 32), rng.choice(BOUNDARIES) % (1 << 32),
                rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 9)), 0, 0, rng.randrange(2),
            )  # fmt: skip
            which = 0
        case 1:
            chunks.pop(which)
            which = None
        case 2:
            bomb = zlib.compress(bytes(10_000_000))
            chunks.insert(
                1, rng.choice(((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"acTL", b"\xff" * 8)))
            )
            which = None
        case 3:
            data = zlib.compress(rng.randbytes(rng.randrange(2000)))
        case _:
            data = noise(data or b"x", rng)
    if which is not None:
        chunks[which] = (kind, data)
    whole = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return content[:8] + b"".join(whole)
