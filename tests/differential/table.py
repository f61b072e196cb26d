# SPDX-License-Identifier: Apache-2.0
"""Where the proxies disagree, by class of message."""
import collections


def collect(cases, outcomes, verdict):
    """class -> proxy -> Counter of verdicts. A message with two quirks counts in both classes."""
    table = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for name, outs in outcomes.items():
        for case, out in zip(cases, outs):
            for c in case.classes:
                table[c][name][verdict(out)] += 1
    return table


def disagreements(cases, outcomes, verdict):
    """class -> number of messages about which not all proxies gave the same verdict."""
    counts = collections.Counter()
    for i, case in enumerate(cases):
        if len({verdict(outs[i]) for outs in outcomes.values()}) > 1:
            counts.update(case.classes)
    return counts


def show(cases, outcomes, verdict):
    """Markdown, the classes with disagreements only."""
    table, differ = collect(cases, outcomes, verdict), disagreements(cases, outcomes, verdict)
    names = list(outcomes)
    sizes = collections.Counter(c for case in cases for c in case.classes)
    rows = [["class", "messages", "disagree"] + names]
    for c in sorted(differ):
        cells = [", ".join(f"{v} {n}" for v, n in sorted(table[c][name].items())) for name in names]
        rows.append([c, str(sizes[c]), str(differ[c])] + cells)
    rows.insert(1, ["---"] * len(rows[0]))
    same = sorted(set(sizes) - set(differ))
    text = "\n".join("| " + " | ".join(r) + " |" for r in rows)
    return f"{text}\n\nNo disagreement in: {'; '.join(same) or 'none'}.\n"
