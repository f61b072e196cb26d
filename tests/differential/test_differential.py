# SPDX-License-Identifier: Apache-2.0
"""Sluice beside haproxy and nginx before one recording backend, with messages that are right, bent and
broken. What has to hold for Sluice is in judge.py; what the proxies disagree about is printed."""
import pytest

import grammar
import judge
import table

ALL = ("sluice", "haproxy", "nginx")


class Kind:
    """share: of the messages of a run, for each seed."""

    def __init__(self, title, share, make, check, verdict, question=False, names=ALL):
        self.title, self.share, self.make, self.check, self.verdict = title, share, make, check, verdict
        self.question, self.names = question, names


KINDS = {
    "requests": Kind("Requests", 0.3, grammar.request_case, judge.judge_request, judge.request_verdict),
    "responses": Kind("Responses", 0.15, grammar.response_case, judge.judge_response, judge.response_verdict, True),
    "undeclared": Kind("Requests to a port of unknown protocol", 0.05, grammar.request_case, judge.judge_undeclared,
                       judge.request_verdict, names=("undeclared",)),
}


def explain(case, out, complaints, seed):
    lines = [f"message {case.index} of --seed {seed}, {case.classes}:", f"  message  {case.data!r}"]
    lines += [f"  answer   {out.answer!r}", f"  backend  {out.upstream!r}"]
    return "\n".join(lines + [f"  {c}" for c in complaints])


@pytest.mark.parametrize("which", ["fixed", "commit"])
@pytest.mark.parametrize("name", KINDS)
def test_messages(bench, pytestconfig, seeds, name, which):
    kind, seed, only = KINDS[name], seeds[which], pytestconfig.getoption("--only")
    count = max(1, int(pytestconfig.getoption("--messages") * kind.share))
    cases = [kind.make(seed, i) for i in ([only] if only is not None else range(count))]
    print(f"\n{kind.title}: {len(cases)} messages, --seed {seed}")
    outcomes = bench.run(cases, kind.question, kind.names)
    if len(kind.names) > 1:
        text = f"\n### {kind.title}: {len(cases)} messages of seed {seed}\n\n" + table.show(cases, outcomes,
                                                                                            kind.verdict)
        print(text)
        if pytestconfig.getoption("--table"):
            with open(pytestconfig.getoption("--table"), "a") as f:
                f.write(text)
    judged = [(case, out, kind.check(out)) for case, out in zip(cases, outcomes[kind.names[0]])]
    bad = [explain(case, out, complaints, seed) for case, out, complaints in judged if complaints]
    assert not bad, f"{len(bad)} messages:\n" + "\n".join(bad[:20])
