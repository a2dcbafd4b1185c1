#!/usr/bin/env python3
"""The configuration table of README.md, made from `shoal train --help`.

usage: options_table.py SHOAL            print the table
       options_table.py SHOAL README     check that README holds exactly this table
"""
import re
import subprocess
import sys

BEGIN, END = "<!-- options: scripts/options_table.py -->\n", "<!-- end of options -->\n"


def options(help_text):
    """(key, what, values, default) of every option, in order."""
    text = help_text[help_text.index("Options of CONFIG"):]
    for key, what, rest in re.findall(r"^  ([a-z_0-9.]+)\n      (.*)\n      (.*)$", text, re.M):
        values, default = rest.rsplit("; default ", 1)
        yield key, what, values, default


def shorten(values):
    """A range in few words."""
    values = re.sub(r"^(a whole number|a number) from (\S+) to (\S+)$", r"\2 to \3", values)
    values = re.sub(r"^(a whole number|a number) from (\S+) to below (\S+)$", r"\2 to below \3", values)
    return re.sub(r"^UTF-8 text .*$", "text", values).replace("one of ", "")


def merged(rows):
    """The two groups of tensors have the same options: one row for both where all is equal."""
    rows = list(rows)
    io = {row[0]: row[1:] for row in rows if row[0].startswith("evolution.io.")}
    for key, *rest in rows:
        twin = key.replace("evolution.body.", "evolution.io.")
        if twin != key and io.get(twin) == tuple(rest):
            del io[twin]
            yield key.replace(".body.", ".{body,io}."), *rest
        elif key in io or not key.startswith("evolution.io."):
            yield key, *rest


def table(help_text):
    lines = ["| key | what | values | default |", "|---|---|---|---|"]
    for key, what, values, default in merged(options(help_text)):
        cells = [f"`{key}`", what, shorten(values), "" if default == "empty" else f"`{default}`"]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def main(shoal, readme=None):
    made = table(subprocess.run([shoal, "train", "--help"], check=True, text=True,
                                capture_output=True).stdout)
    if readme is None:
        print(made, end="")
        return 0
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    there = text[text.index(BEGIN) + len(BEGIN):text.index(END)].strip("\n") + "\n"
    if there == made:
        return 0
    print(f"{readme}: the table of options is not what `shoal train --help` says; paste the output "
          f"of\n  scripts/options_table.py {shoal}\nbetween its markers")
    wrong = set(there.splitlines()) ^ set(made.splitlines())
    print("\n".join(sorted(wrong)))
    return 1


sys.exit(main(*sys.argv[1:]))
