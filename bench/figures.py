"""What compare.py makes of its measurements: one row per case and type, and the table of all rows."""
import statistics

PYTORCH = ("eager", "compile")
MODES = ("shoal", *PYTORCH, "llmc")


def quotient(a, b):
    """None where either is missing."""
    return None if a is None or b is None else a / b


def summary(runs, tokens):
    """The steps of all rounds as one sample."""
    seconds = [s for run in runs for s in run["seconds"]]
    median = statistics.median(seconds)
    return {"tokens_per_s": tokens / median, "median_s": median,
            "fastest_s": min(seconds), "slowest_s": max(seconds),
            "spread": (max(seconds) - min(seconds)) / median,
            "others_share": max(run["others_share"] for run in runs),
            "peak_rss_bytes": max(run["peak_rss_bytes"] for run in runs)}


def flops_per_token(runs):
    """As bench_step counts them; the model is the same for all."""
    return runs[0]["flops_per_s"] / runs[0]["tokens_per_s"]


def peak(peaks, key):
    """The highest that was measured: a ceiling is what the machine can do when left alone. None where
    the machine has no such thing."""
    return max((p[key] for p in peaks if p[key] is not None), default=None)


def row(case, precision, runs, tokens, peaks):
    """Everything about one case and type. runs: a list for each mode that took part."""
    result = {"case": case, "precision": precision, "runs": runs}
    result.update({mode: summary(runs[mode], tokens) for mode in runs})
    speed = {mode: result[mode]["tokens_per_s"] for mode in runs}
    flops = flops_per_token(runs["shoal"])
    top = peak(peaks, f"{precision}_flops_per_s")
    pytorch = max((speed[mode] for mode in PYTORCH if mode in speed), default=None)
    pytorch_share = quotient(pytorch and pytorch * flops, top)
    result.update({"flops_per_token": flops, "peak_flops_per_s": top,
                   "ratio": quotient(speed["shoal"], pytorch),
                   "ratio_llmc": quotient(speed["shoal"], speed.get("llmc")),
                   "shoal_share": quotient(speed["shoal"] * flops, top),
                   "pytorch_share": pytorch_share,
                   "ceiling": quotient(1, pytorch_share)})
    return result


def cell(value, form, width):
    """Right-aligned; a dash for what was not measured."""
    return f"{'-' if value is None else format(value, form):>{width}}"


def table_line(result):
    measured = [result.get(mode, {}) for mode in MODES]
    return " ".join([
        f"{result['case']:9} {result['precision']:4}",
        *(cell(m.get("tokens_per_s"), ".0f", 7) for m in measured), "",
        *(cell(result[key], ".2f", 7) for key in ("ratio", "ratio_llmc", "ceiling")), "",
        *(cell(result[key], ".0%", 7) for key in ("shoal_share", "pytorch_share")),
        cell(result["shoal"]["spread"], ".0%", 7), "",
        *(cell(quotient(m.get("peak_rss_bytes"), 1e9), ".2f", 7) for m in measured)])


def peak_line(peaks, key, name, unit):
    values = [p[key] for p in peaks if p[key] is not None]
    if not values:
        return f"{name}: not on this machine"
    return f"{name}: {max(values) / 1e9:.0f} {unit} (lowest of {len(values)}: {min(values) / 1e9:.0f})"


def others_line(results):
    """Which run had to share the machine most."""
    share, name = max((result[mode]["others_share"], f"{result['case']} {result['precision']} {mode}")
                      for result in results for mode in MODES if mode in result)
    return f"other programs took at most {share:.0%} of the machine (during {name})"


def table(results, peaks):
    modes = " ".join(f"{mode:>7}" for mode in ("shoal", "eager", "compile", "llm.c"))
    return "\n".join([
        f"{'':14} {'tokens/s':31}  {'shoal to':15} {'':8} {'share of peak':15} {'':7}  peak memory, GB",
        f"{'case':9} {'type':4} {modes}  {'PyTorch':>7} {'llm.c':>7} {'ceiling':>7}  "
        f"{'shoal':>7} {'PyTorch':>7} {'spread':>7}  {modes}",
        *map(table_line, results), "",
        peak_line(peaks, "bf16_flops_per_s", "product peak bf16", "GFLOP/s"),
        peak_line(peaks, "f32_flops_per_s", "product peak f32", "GFLOP/s"),
        peak_line(peaks, "copy_bytes_per_s", "copy", "GB/s"), others_line(results),
        "PyTorch: the faster of eager and compile. ceiling: its ratio if shoal worked at the product peak;",
        "no program can be further ahead on this machine. spread: (slowest - fastest) / median of shoal's",
        "steps. llm.c computes in f32, also where it stands beside bf16."])
