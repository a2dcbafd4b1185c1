#!/usr/bin/env python3
"""The vocabulary of the tests, small enough to merge by hand: vocab.json and merges.txt beside this
script, in the format of GPT-2's. Usage: make.py"""
import json
import pathlib

# As in the published files, a G with a dot is a space and a C with a dot a line feed. A space
# separates left from right, a comma one merge from the next.
MERGES = """l o,lo w,e r,Ġ low,Ġlow er,Ġ t,h e,Ġt he,Ġ a,a a,aa aa,' s,Ġ Ġ,ĠĠ ĠĠ,Ċ Ċ,1 2,12 3,Ã ©,ã Ģ,
ãĢ Ģ,e n,en d,< |,o f,t e,te x,tex t,<| end,| >"""
END_OF_TEXT = "<|endoftext|>"


def alphabet():
    """Characters of the 256 bytes, printable ones first, as GPT-2 numbers them."""
    printable = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or 0xAE <= b]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


here = pathlib.Path(__file__).parent
merges = MERGES.replace("\n", "").split(",")
names = alphabet() + [m.replace(" ", "") for m in merges] + [END_OF_TEXT]
numbers = {name: number for number, name in enumerate(names)}
assert len(numbers) == len(names)
(here / "vocab.json").write_text(json.dumps(numbers, indent=0, ensure_ascii=False) + "\n")
(here / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
