# SPDX-License-Identifier: Apache-2.0
"""Where the proxies disagree, by class of message."""
import collections


def _cells(counters, names):
    return [", ".join(f"{v} {n}" for v, n in sorted(counters[name].items())) for name in names]


def show(cases, outcomes, verdict):
    """Markdown: the sum of all messages, then the classes about which the proxies disagree. A message with two quirks
    would tell of neither, and counts in the sum alone."""
    names = list(outcomes)
    verdicts = {name: [verdict(out) for out in outs] for name, outs in outcomes.items()}
    total = {name: collections.Counter(verdicts[name]) for name in names}
    classes = collections.defaultdict(list)
    for i, case in enumerate(cases):
        if len(case.classes) == 1:
            classes[case.classes[0]].append(i)
    rows = [["class", "messages", "disagree"] + names, ["---"] * (3 + len(names))]
    n_differ = sum(len({verdicts[name][i] for name in names}) > 1 for i in range(len(cases)))
    rows.append(["all", str(len(cases)), str(n_differ)] + _cells(total, names))
    same = []
    for c in sorted(classes):
        differ = sum(len({verdicts[name][i] for name in names}) > 1 for i in classes[c])
        if not differ:
            same.append(c)
            continue
        of_class = {name: collections.Counter(verdicts[name][i] for i in classes[c]) for name in names}
        rows.append([c, str(len(classes[c])), str(differ)] + _cells(of_class, names))
    text = "\n".join("| " + " | ".join(r) + " |" for r in rows)
    return f"{text}\n\nNo disagreement in: {'; '.join(same) or 'none'}.\n"
