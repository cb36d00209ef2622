"""How sure a match is: the checksum, how random a body looks, what is a placeholder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from fluxguard.detect.letters import ROWS
from fluxguard.secret import checksum

CHECKED = 36  # 30 characters, then 6 of checksum


def proves_itself(prefix: bytes, body: bytes) -> bool:
    """Whether the first 36 characters of the body end in the checksum of prefix and the 30 before."""
    return len(body) >= CHECKED and checksum(prefix + body[:30]) == body[30:CHECKED]


def randomness(body: bytes) -> float:
    """By how many bits chance explains `body` better than human writing does; negative for words and identifiers.

    body: letters and digits, ASCII. The two hypotheses: characters drawn evenly from the alphabet in use (lower or
    upper case with digits, or both cases), against letters that follow one another as in written words, with a
    change of case or of kind now and then.
    """
    if len(body) < 2:
        return -math.inf
    has_lower = any(97 <= byte <= 122 for byte in body)
    has_upper = any(65 <= byte <= 90 for byte in body)
    alphabet = 62 if has_lower and has_upper else 36
    if alphabet == 36 and all(byte in b"0123456789abcdefABCDEF" for byte in body):
        alphabet = 16
    chance = len(body) * math.log2(alphabet)
    return _written(body) - chance


def _written(body: bytes) -> float:
    """The surprise, in bits, of `body` as something that a person wrote."""
    bits = 4.7  # the first letter
    previous = body[0]
    for byte in body[1:]:
        was_digit, is_digit = previous < 58, byte < 58
        if was_digit and is_digit:
            # A number goes on (a year, a version); the next digit is often the one above.
            bits += 0.5 + (1.5 if byte - previous in (0, 1) else 3.6)
        else:
            bits += (ord(ROWS[_symbol(previous)][_symbol(byte)]) - 33) / 4
            if is_digit:
                bits += 2.0
            elif not was_digit:
                bits += _case(previous, byte)
        previous = byte
    return bits


def _symbol(byte: int) -> int:
    return 26 if byte < 58 else (byte | 32) - 97


def _case(previous: int, byte: int) -> float:
    """The surprise of one letter's case after another's."""
    if (previous < 91) == (byte < 91):
        return 0.15
    return 3.5 if byte < 91 else 1.0


RANDOM = 6.0  # bits above which a body counts as random
DOUBTFUL = -8.0  # and below which it counts as written; between them there is doubt
WRITTEN = (
    -28.0
)  # below which there is none: of six million random bodies of 16 to 29 characters, one came below -26
NAME = (
    -12.0
)  # below which letters alone are a name: of a hundred thousand random ones, 16 long, thirty come below
CAMEL = -14.0  # below which humps are a name: of random bodies 16 long, three in a thousand have humps, and a few of ten thousand of these come below
# `ClusterConfiguration`, `parseHTTPResponse`, `timeInSeconds`, perhaps with a number behind: each hump has letters enough for a word
_HUMP = rb"(?:[A-Z][a-z]{2,}|(?:A[st]|By|D[bo]|I[dnopst]|My|No|O[fknrs]|To|U[ip]|Vm)|[A-Z]{2,5}(?=[A-Z][a-z]|[0-9]|\Z))"
_HUMPS = re.compile(rb"(?:[a-z]{2,}|" + _HUMP + rb")" + _HUMP + rb"+[0-9]{0,3}\Z")
_KINDS = re.compile(rb"\d+")


def looks_random(body: bytes) -> bool:
    """Whether chance explains `body` clearly better than writing does."""
    return randomness(body) > RANDOM


def is_written(body: bytes) -> bool:
    """Whether writing explains `body` beyond doubt."""
    return randomness(body) < WRITTEN


def is_name(body: bytes) -> bool:
    """Whether letters without digits among them were written rather than drawn."""
    return randomness(body) < NAME


def is_camel(body: bytes) -> bool:
    """Whether letters in two cases were written: as words that each begin with a capital, and that read like words."""
    return bool(_HUMPS.match(body)) and randomness(body) < CAMEL


def may_be_random(body: bytes) -> bool:
    """Whether `body` can't be told from chance; so with letters and digits in turn, like the documentation's examples."""
    return alternates(body, 3) or randomness(body) > DOUBTFUL


def alternates(body: bytes, times: int = 2) -> bool:
    """Whether letters and digits take turns: at least `times` runs of digits."""
    return len(_KINDS.findall(body)) >= times


_WORDS = [
    "your",
    "my",
    "the",
    "a",
    "an",
    "insert",
    "put",
    "paste",
    "enter",
    "add",
    "set",
    "fill",
    "replace",
    "change",
    "update",
    "use",
    "me",
    "this",
    "that",
    "it",
    "here",
    "in",
    "with",
    "example",
    "sample",
    "demo",
    "dummy",
    "fake",
    "mock",
    "stub",
    "test",
    "tests",
    "testing",
    "placeholder",
    "todo",
    "tbd",
    "fixme",
    "none",
    "null",
    "nil",
    "undefined",
    "redacted",
    "masked",
    "hidden",
    "removed",
    "secret",
    "secrets",
    "private",
    "token",
    "tokens",
    "key",
    "keys",
    "api",
    "apikey",
    "auth",
    "credential",
    "credentials",
    "password",
    "pass",
    "pwd",
    "value",
    "string",
    "text",
    "goes",
    "actual",
    "real",
    "own",
    "generated",
    "new",
    "old",
    "from",
    "dashboard",
    "please",
    "not",
    "is",
    "are",
    "valid",
    "invalid",
    "foo",
    "bar",
    "baz",
    "qux",
    "lorem",
    "ipsum",
    "flux",
    "fluxloop",
    "loop",
    "dev",
    "stg",
    "prod",
    "ci",
    "env",
    "environment",
    "development",
    "staging",
    "production",
    "local",
    "project",
    "abc",
    "xyz",
    "xxx",
    "yyy",
    "zzz",
    "only",
    "for",
    "documentation",
    "docs",
    "some",
    "any",
    "go",
    "and",
    "or",
    "of",
    "to",
    "be",
    "will",
    "do",
    "never",
    "commit",
    "leak",
    "leaked",
    "safe",
    "default",
    "id",
    "name",
    "user",
    "public",
]
# Words that also turn up between digits in keys that are meant to be found (`new123new456`, `abc123def456`).
_STRONG = frozenset(_WORDS) - {
    "new",
    "old",
    "abc",
    "xyz",
    "a",
    "an",
    "in",
    "it",
    "is",
    "me",
    "my",
    "or",
    "of",
    "to",
    "be",
    "do",
    "go",
    "id",
}
_BY_LETTER: dict[int, list[tuple[bytes, bool]]] = {}
for _word in _WORDS:
    _BY_LETTER.setdefault(ord(_word[0]), []).append((_word.encode(), _word in _STRONG))
_FILLER = re.compile(rb"([a-z0-9])\1{2,}")


def is_placeholder(body: bytes) -> bool:
    """Whether a body is what people write where a key belongs: one character or one plain run throughout, or their words.

    Only a number at its end, or one character over and over, may stand beside the words. A moment in time, and a file's
    name among those of image models, are no key either.
    """
    lower = body.lower()
    return _is_run(lower) or _is_words(lower) or bool(_MOMENT.match(lower)) or _is_model(lower)


# `20261123t101500z0000`; seconds, or a thousandth, a millionth, a thousand-millionth of one, since 1970
_MOMENT = re.compile(
    rb"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])t?\d{0,9}z?\d{0,9}\Z|1\d{9}(?:\d{3}){0,3}\Z"
)
_KEYBOARD = b"qwertyuiopasdfghjklzxcvbnm" * 2
_AGAIN = re.compile(rb"([a-z0-9]{2,8}?)\1{2,}")


def _is_run(body: bytes) -> bool:
    if len(set(body)) <= 1:
        return True
    if body[:26] in _KEYBOARD and body in _KEYBOARD * (1 + len(body) // 26):
        return True
    again = _AGAIN.match(body)
    if again and again[1].startswith(body[again.end() :]):
        return True
    steps = {_step(first, second) for first, second in zip(body, body[1:], strict=False)}
    return steps in ({1}, {-1})


def _step(first: int, second: int) -> int:
    """1 for the next character of the alphabet or the digits, -1 for the one before, 0 for anything else."""
    for low, high in ((48, 57), (97, 122)):
        if low <= first <= high and low <= second <= high:
            if second - first in (1, low - high):
                return 1
            if second - first in (-1, high - low):
                return -1
    if (first, second) == (57, 97):  # 0123456789abcdef
        return 1
    return 0


# What the files of image models (FLUX.1-dev) are called: `flux_dev_` and `fp8scaled`, `comfyui` and their like. Digits may stand between.
_MODEL: dict[int, list[tuple[bytes, bool]]] = {}
for _word in [
    "anime",
    "best",
    "bf",
    "bnb",
    "canny",
    "cfg",
    "checkpoint",
    "clip",
    "comfy",
    "comfyui",
    "control",
    "controlnet",
    "depth",
    "diffusers",
    "diffusion",
    "distilled",
    "dreambooth",
    "e",
    "ema",
    "encoder",
    "epoch",
    "epochs",
    "fill",
    "final",
    "finetune",
    "finetuned",
    "fn",
    "fp",
    "fused",
    "gguf",
    "guidance",
    "hyper",
    "img",
    "inpaint",
    "inpainting",
    "int",
    "juggernaut",
    "k",
    "kohya",
    "kontext",
    "krea",
    "lightning",
    "lora",
    "loras",
    "m",
    "merged",
    "mlx",
    "model",
    "models",
    "net",
    "nf",
    "onnx",
    "outpainting",
    "photo",
    "portrait",
    "pro",
    "pulid",
    "q",
    "quant",
    "quantized",
    "realism",
    "realistic",
    "redux",
    "s",
    "safetensors",
    "scaled",
    "schnell",
    "sharp",
    "step",
    "steps",
    "style",
    "svdquant",
    "tensorrt",
    "text",
    "tiled",
    "to",
    "torchao",
    "train",
    "trained",
    "training",
    "transformer",
    "trt",
    "turbo",
    "txt",
    "ui",
    "ultra",
    "ultrasharp",
    "unet",
    "union",
    "upscale",
    "upscaled",
    "upscaler",
    "v",
    "vae",
    "version",
    "vid",
    "workflow",
    "x",
    "xl",
]:
    _MODEL.setdefault(ord(_word[0]), []).append((_word.encode(), len(_word) >= 5))
for _digit in b"0123456789":
    _MODEL[_digit] = [(bytes((_digit,)), False)]
_LONGEST_NAME = 64


def _is_model(body: bytes) -> bool:
    return len(body) <= _LONGEST_NAME and _is_cut(body, _MODEL)


def _is_words(body: bytes) -> bool:
    """Whether `body` is made of known words, with a number behind them."""
    numbered = body.rstrip(b"0123456789")
    return 0 < len(numbered) >= len(body) - 10 and _is_cut(numbered, _BY_LETTER)


def _is_cut(numbered: bytes, words: Mapping[int, list[tuple[bytes, bool]]]) -> bool:
    """Cuts it into known words from the left, longest cut first; a strong word has to be among them."""
    reach: dict[int, bool] = {0: False}  # position -> whether a strong word was used on the way
    furthest = run_end = 0
    for position in range(len(numbered)):
        if position > furthest:
            return False
        if position not in reach:
            continue
        strong = reach.pop(position)
        for word, is_strong in words.get(numbered[position], ()):
            if numbered.startswith(word, position):
                end = position + len(word)
                reach[end] = reach.get(end, False) or strong or is_strong
        if position >= run_end:  # within a run, each position leads to the same end
            filler = _FILLER.match(numbered, position)
            run_end = filler.end() if filler else position
        if run_end - position >= 3:
            reach[run_end] = reach.get(run_end, False) or strong
        furthest = max(reach, default=0)
    return reach.get(len(numbered), False)
