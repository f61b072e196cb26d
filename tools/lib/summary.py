#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the results that the stages of tools/test left in a folder: *.xml (JUnit, of meson and
pytest), *.json (meson's log, for programs that died outside of any test case), *.failed (stages
that did not come to run tests) and *.not-run (stages that this machine has no means for, and why). The last line is
the sum."""
import glob
import json
import os
import sys
import xml.etree.ElementTree as et


def junit(path):
    passed, failed = [], []
    for case in et.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}: {case.get('name')}"
        # A skipped test has not shown anything, so it does not count as passed.
        bad = [e.tag for e in case if e.tag in ("failure", "error", "skipped")]
        (failed if bad else passed).append(name + (f" ({bad[0]})" if bad else ""))
    return passed, failed


def meson_log(path, failed_names):
    """Programs that ended badly although none of their test cases failed."""
    with open(path) as f:
        tests = [json.loads(line) for line in f if line.strip()]
    extra = []
    for test in tests:
        name = test["name"].split(" / ")[-1].split(":")[-1]
        if test["result"] not in ("OK", "EXPECTEDFAIL") and not any(name in n for n in failed_names):
            extra.append(f"{test['name']}: {test['result'].lower()}")
    return extra


def main(folder):
    n_passed, all_failed = 0, []
    for path in sorted(glob.glob(os.path.join(folder, "*.xml"))):
        stage = os.path.basename(path)[:-4]
        passed, failed = junit(path)
        log = path[:-4] + ".json"
        if os.path.exists(log):
            failed += meson_log(log, failed)
        if not passed and not failed:
            failed.append("no test ran")
        print(f"{stage:24} {len(passed):6} passed {len(failed):4} failed")
        n_passed += len(passed)
        all_failed += [f"{stage}: {name}" for name in failed]
    for path in sorted(glob.glob(os.path.join(folder, "*.failed"))):
        with open(path) as f:
            all_failed.append(f"{os.path.basename(path)[:-7]}: {f.read().strip()}")
    for path in sorted(glob.glob(os.path.join(folder, "*.not-run"))):
        with open(path) as f:
            print(f"NOT RUN {os.path.basename(path)[:-8]}: {f.read().strip()}")
    for name in all_failed:
        print(f"FAILED {name}")
    print(f"{n_passed} passed, {len(all_failed)} failed")
    return 1 if all_failed or not n_passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
