#!/usr/bin/env python3
"""Files of at most 500 lines, functions of at most 60, and text files that are clean: no tabs, no
trailing blanks, no carriage returns, one newline at the end. Usage: sizes.py ROOT"""
import pathlib
import re
import sys

MAX_FILE, MAX_MAIN, MAX_FUNCTION = 500, 120, 60
CODE = (".c", ".h", ".cu", ".cuh", ".cpp")
FOLDERS = ["src", "analysis", "cmake", "docs", "tests", "scripts", "configs", "slurm", "bench", ".ci", "."]
TEXT = {".c", ".h", ".cu", ".cuh", ".cpp", ".cmake", ".py", ".sh", ".md", ".yaml", ".txt", ".cff", ".css", ".json", ".sbatch", ""}
NOT_TEXT = {"__pycache__", "corpus"}  # what fuzzers begin with is any bytes


def text_files(root):
    for folder in FOLDERS:
        base = root / folder
        for path in sorted(base.glob("*") if folder == "." else base.rglob("*")):
            if path.is_file() and path.suffix in TEXT and not NOT_TEXT & set(path.parts):
                yield path


def function_problems(lines):
    """A function's body is what lies between a { and a } in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start - 1 > MAX_FUNCTION:
                yield f"{start}: function of {number - start - 1} lines, {MAX_FUNCTION} allowed"
            start = None


def text_problems(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(r"[ \t\r]$", line):
            yield f"{number}: trailing blank"
        if "\t" in line:
            yield f"{number}: tab"
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield "end: not exactly one newline"
    lines = text.splitlines()
    if path.suffix in CODE:
        most = MAX_MAIN if path.name == "main.c" else MAX_FILE
        if len(lines) > most:
            yield f"{len(lines)} lines, {most} allowed"
        yield from function_problems(lines)


def self_test():
    long_function = "void f(void)\n{\n" + "    g();\n" * 61 + "}\n"
    bad = [("a.c", long_function), ("a.c", "x;\n" * 501), ("main.c", "x;\n" * (MAX_MAIN + 1)), ("a.md", "a \n"),
           ("a.py", "\tx\n"), ("a.py", "x"), ("a.py", "x\n\n"), ("a.md", "x\r\n")]
    good = [("a.c", long_function.replace("    g();\n", "", 1)), ("a.c", "x;\n" * 500)]
    return ([f"not found: {b[0]}: {b[1][:20]!r}" for b in bad
             if not list(text_problems(pathlib.Path(b[0]), b[1]))]
            + [f"wrongly found: {g[0]}" for g in good
               if list(text_problems(pathlib.Path(g[0]), g[1]))])


def check_tree(root):
    files = list(text_files(root))
    assert len(files) > 50, f"not a source tree: {root}"
    return [f"{path.relative_to(root)}:{problem}" for path in files
            for problem in text_problems(path, path.read_bytes().decode())]


found = self_test() + check_tree(pathlib.Path(sys.argv[1]))
print("\n".join(found) or "ok")
sys.exit(bool(found))
