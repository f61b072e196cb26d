#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every fuzz target of a build for a while, from its corpus, and writes a JUnit file.

    fuzz.py BUILD SECONDS OUT.xml

An input that breaks a property is left in OUT.xml's folder; its name is in the failure."""
import concurrent.futures
import glob
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as et

CORPUS = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "fuzz", "corpus")


def run(program, seconds, folder):
    name = os.path.basename(program)[len("fuzz_"):]
    with tempfile.TemporaryDirectory() as found:
        # libFuzzer writes what it finds into the first folder, which is not the corpus of the project.
        argv = [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
                f"-artifact_prefix={folder}/{name}-", "-print_final_stats=1", found]
        corpus = os.path.join(CORPUS, name)
        if os.path.isdir(corpus):
            argv.append(corpus)
        result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                timeout=seconds * 3 + 120)
    units = [line.split()[-1] for line in result.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{name}: {units[0] if units else 'no'} inputs", flush=True)
    case = et.Element("testcase", classname="fuzz", name=name)
    if result.returncode or not units or int(units[0]) == 0:
        et.SubElement(case, "failure").text = result.stderr[-8000:]
        print(result.stderr[-8000:])
    return case


def main(build, seconds, out):
    programs = [p for p in sorted(glob.glob(os.path.join(build, "tests", "fuzz", "fuzz_*"))) if os.path.isfile(p)]
    suite = et.Element("testsuite", name="fuzz")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        suite.extend(pool.map(lambda p: run(p, int(seconds), os.path.dirname(os.path.abspath(out))), programs))
    et.ElementTree(suite).write(out)
    return 0 if programs else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
