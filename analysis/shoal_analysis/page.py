"""The report: one HTML file that loads nothing."""
from __future__ import annotations

import datetime
import pathlib
from html import escape
from typing import List, Sequence

from . import compare, costs, leaders, losses, populations, summary
from .config import option_text
from .figure import Figure, Section
from .run import Run
from .table import csv_text, data_uri

WIDE, NARROW = 620.0, 360.0   # widths that plots are drawn for; the page shows one of them
STYLE = pathlib.Path(__file__).with_name("page.css")


def figure_html(figure: Figure, prefix: str) -> str:
    key = f"{prefix}{figure.key}"
    drawn = "".join(f'<div class="{css}">{figure.plot.draw(width, figure.title, figure.alt, f"{key}-{css}")}</div>'
                    for css, width in (("wide", WIDE), ("narrow", NARROW)))
    legend = "".join(f'<li><i class="{css}"></i>{escape(text)}</li>' for css, text in figure.legend)
    text, nth = csv_text(figure.table)
    rows = "" if nth == 1 else f", every {nth}th row" if nth > 3 else f", every {['', '', '2nd', '3rd'][nth]} row"
    link = (f'<a download="{key}.csv" href="{data_uri(text)}" '
            f'aria-label="Numbers behind {escape(figure.title)} as CSV">CSV{rows}</a>')
    return (f'<figure id="{key}"><h3>{escape(figure.title)}</h3>'
            f'{f"<ul class=legend>{legend}</ul>" if legend else ""}{drawn}'
            f"<figcaption>{escape(figure.caption)} {link}</figcaption></figure>")


def section_html(made: Section, prefix: str = "") -> str:
    figures = "".join(figure_html(f, prefix) for f in made.figures) + "".join(made.tables)
    notes = "".join(f"<p class=note>{escape(n)}</p>" for n in made.notes)
    return (f'<section id="{prefix}{made.key}"><h2>{escape(made.title)}</h2>'
            f'{notes if made.tables and not made.figures else ""}<div class=figures>{figures}</div>'
            f'{"" if made.tables and not made.figures else notes}</section>')


def options_html(run: Run) -> str:
    rows = "".join(f"<tr><th scope=row><code>{escape(k)}</code></th><td>{escape(option_text(v))}</td></tr>"
                   for k, v in run.config.items())
    return (f"<details><summary>All options</summary><div class=scroll><table><thead><tr><th scope=col>option"
            f"<th scope=col>value</tr></thead><tbody>{rows}</tbody></table></div></details>") if rows else ""


def run_html(run: Run, prefix: str, title: str) -> str:
    sections = [losses.section(run), leaders.section(run), populations.section(run), costs.section(run),
                costs.failures_section(run)]
    head = (f'<header><h1>{escape(title)}</h1><p class=about>{escape(summary.about(run))}</p>'
            f"<p class=headline>{escape(summary.headline(run))}</p>{summary.cards(run)}"
            f"{summary.leaderboard(run)}</header>")
    return head + "".join(section_html(s, prefix) for s in sections) + options_html(run)


def _navigation(prefixes: Sequence[str], names: Sequence[str]) -> str:
    parts = [("losses", "Losses"), ("leaders", "Leaders"), ("diversity", "Diversity"), ("cost", "Cost"),
             ("failures", "Failures")]
    rows: List[str] = []
    for prefix, name in zip(prefixes, names):
        links = " ".join(f'<a href="#{prefix}{key}">{label}</a>' for key, label in parts)
        rows.append(f"<p>{f'<b>{escape(name)}</b> ' if len(names) > 1 else ''}{links}</p>")
    first = '<p><a href="#comparison">Comparison</a></p>' if len(names) > 1 else ""
    return f'<nav aria-label="Parts of this page">{first}{"".join(rows)}</nav>'


def report(runs: Sequence[Run]) -> str:
    """The page of one run, or of two and their comparison."""
    names = compare.labels(runs)
    prefixes = [""] if len(runs) == 1 else ["a-", "b-"]
    title = " and ".join(names)
    body = [_navigation(prefixes, names)]
    if len(runs) > 1:
        body.append(f"<header><h1>{escape(title)}</h1><p class=headline>{escape(compare.verdict(runs))}</p></header>"
                    + section_html(compare.section(runs)))
    body += [f"<article>{run_html(run, p, n)}</article>" for run, p, n in zip(runs, prefixes, names)]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    versions = sorted({str(run.metrics.start.get("shoal_version", "?")) for run in runs})
    foot = (f"<footer>Made {now} from {escape(', '.join(str(r.path) for r in runs))} (shoal {escape(', '.join(versions))}). "
            "Fitness and loss are in nats per token; lower is better. “mean” is the recombinant, the mean of all experts, "
            "which competes with them. Lines with more points than pixels show the extremes of each pixel.</footer>")
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(title)} – shoal report</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
            f"<body>{''.join(body)}{foot}</body></html>\n")
