# SPDX-License-Identifier: Apache-2.0
"""Samples to Markdown. Ratios are taken inside one round, where the machine was about as busy for all."""
import os
import platform
import re
import shutil
import statistics
import subprocess

# Measure, value, heading, digits; higher is better for the first group.
VALUES = [
    ("requests", "requests_per_s", "requests/s, 64 connections, 1 KB", 0),
    ("requests", "cpu_s_per_100k", "proxy CPU seconds per 100,000 requests, 64 connections, 1 KB", 2),
    ("ping", "p50_us", "one connection, 1 KB: median latency, µs", 0),
    ("ping", "p99_us", "one connection, 1 KB: 99th percentile, µs", 0),
    ("connections", "connections_per_s", "connections/s, one request each", 0),
    ("connections", "cpu_s_per_100k", "proxy CPU seconds per 100,000 connections", 2),
    ("body", "mb_per_s_100k", "100 KB bodies, MB/s", 0),
    ("body", "cpu_s_per_gb_100k", "100 KB bodies, proxy CPU seconds per GB", 2),
    ("body", "mb_per_s_10m", "10 MB bodies, MB/s", 0),
    ("body", "cpu_s_per_gb_10m", "10 MB bodies, proxy CPU seconds per GB", 2),
    ("neighbour", "p50_us_4", "another pod has 4 connections with 10 MB bodies: median latency, µs", 0),
    ("neighbour", "p50_us_64", "another pod has 64 connections with 10 MB bodies: median latency, µs", 0),
    ("neighbour", "p99_us_64", "another pod has 64 connections with 10 MB bodies: 99th percentile, µs", 0),
]
SPLICED_TARGETS = [("a spliced relay's", "0.9", "relay-spliced"), ("HAProxy's", "1.5", "haproxy"),
                   ("nginx's", "1.5", "nginx"), ("Envoy's", "6", "envoy"), ("a direct connection's", "0.75", "direct")]
MEMORY = [("rss_mb_idle", "idle"), ("rss_mb_1000", "1,000 connections"), ("rss_mb_10000", "10,000 connections")]


def environment():
    def version(program, *argv):
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not path:
            return None
        r = subprocess.run([path, *argv], capture_output=True, text=True)
        found = re.search(r"\d+\.\d+[\w.]*", r.stdout + r.stderr)
        return found.group(0) if found else None

    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read())
    with open("/proc/meminfo") as f:
        total_kb = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1))
    return {"kernel": re.match(r"[\d.]+", platform.release()).group(0),
            "cpu": model.group(1).strip() if model else platform.machine(), "cores": os.cpu_count(),
            "memory_gb": round(total_kb / 1024 / 1024, 1), "wrk": version("wrk", "-v"),
            "haproxy": version("haproxy", "-v"), "nginx": version("nginx", "-v"), "load_before": os.getloadavg()[0]}


def number(value, digits):
    return f"{value:,.{digits}f}"


def spread(values, digits):
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0], digits)
    return f"{number(statistics.median(values), digits)} ({number(min(values), digits)}–{number(max(values), digits)})"


class Samples:
    def __init__(self):
        self.all = []

    def add(self, round_number, measure, path, values):
        self.all.append({"round": round_number, "measure": measure, "path": path, "values": values})

    def by_round(self, measure, path, name):
        return {s["round"]: s["values"][name] for s in self.all
                if s["measure"] == measure and s["path"] == path and name in s["values"]}

    def paths(self, measure):
        return list(dict.fromkeys(s["path"] for s in self.all if s["measure"] == measure))

    def values(self, measure, path, name):
        return list(self.by_round(measure, path, name).values())

    def ratios(self, measure, path, other, name):
        a, b = self.by_round(measure, path, name), self.by_round(measure, other, name)
        return [a[r] / b[r] for r in a if b.get(r)]


def table(head, rows):
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    line = lambda cells: "| " + " | ".join(str(c).ljust(w) for c, w in zip(cells, widths)) + " |"  # noqa: E731
    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(line, rows)])


def comparison(samples, order, measure, name, heading, digits):
    present = [p for p in order if samples.values(measure, p, name)]
    if not present:
        return ""
    bases = [b for b in ("direct", "relay", "sluice") if b in present]
    head = ["path", "median (min–max)", *(f"of {b}" for b in bases)]
    rows = [[p, spread(samples.values(measure, p, name), digits),
             *("1" if p == b else spread(samples.ratios(measure, p, b, name), 2) for b in bases)]
            for p in present]
    return f"### {heading[0].upper()}{heading[1:]}\n\n{table(head, rows)}\n"


def memory(samples, order):
    rows = []
    for p in [p for p in order if p in samples.paths("memory")]:
        cells = []
        for name, _ in MEMORY:
            cell = spread(samples.values("memory", p, name), 1)
            stand = samples.values("memory", p, name.replace("rss_mb", "stand"))
            wanted = name.rpartition("_")[2]
            if stand and min(stand) < int(wanted):
                cell += f" with {min(stand):,.0f}"
            cells.append(cell)
        rows.append([p, *cells])
    if not rows:
        return ""
    return f"### Resident memory, MB\n\n{table(['path', *(h for _, h in MEMORY)], rows)}\n"


def edits(samples):
    rows = []
    for p in samples.paths("edit"):
        took = [ms for s in samples.all if s["measure"] == "edit" and s["path"] == p for ms in s["values"]["ms"]]
        rows.append([p, str(len(took)), spread(took, 1)])
    if not rows:
        return ""
    return f"### From an edit to its effect, ms\n\n{table(['path', 'edits', 'median (min–max)'], rows)}\n"


def targets(samples):
    """What the project set itself, beside what was measured. Tells, does not judge."""
    def rate(other, path="sluice"):
        return spread(samples.ratios("requests", path, other, "requests_per_s"), 2)

    def first(measure, path, name, digits):
        values = samples.values(measure, path, name)
        return number(statistics.median(values), digits) if values else "-"

    def edit():
        took = [ms for s in samples.all if s["measure"] == "edit" and s["path"] == "sluice" for ms in s["values"]["ms"]]
        return number(statistics.median(took), 0) if took else "-"

    rules = spread(samples.ratios("requests", "sluice-10000-rules", "sluice-10-rules", "requests_per_s"), 2)
    rows = [["requests/s, of the relay's", "0.9", rate("relay")],
            ["requests/s, of HAProxy's", "1", rate("haproxy")], ["requests/s, of nginx's", "1", rate("nginx")],
            ["requests/s, of Envoy's", "4", rate("envoy")],
            *([f"spliced: requests/s, of {name}", target, rate(other, "sluice-spliced")]
              for name, target, other in SPLICED_TARGETS),
            ["requests/s with 10,000 rules, of those with 10", "1", rules],
            ["resident memory idle, MB", "10", first("memory", "sluice", "rss_mb_idle", 1)],
            ["with 1,000 routes and 1,000 connections, MB", "20",
             first("memory", "sluice-1000-routes", "rss_mb_1000", 1)],
            ["edit to effect, ms", "50", edit()]]
    rows = [r for r in rows if r[2] != "-"]
    return f"### Sluice and its targets\n\n{table(['', 'target', 'measured'], rows)}\n" if rows else ""


def markdown(env, options, samples, order, skipped):
    load = f"{env['load_before']:.1f} before, {env['load_after']:.1f} after"
    lines = [f"Kernel {env['kernel']}, {env['cpu']}, {env['cores']} cores, {env['memory_gb']} GB; load average "
             f"{load}. wrk {env['wrk']}, HAProxy {env['haproxy']}, nginx {env['nginx']}"
             f"{', Envoy ' + env['envoy'] if env.get('envoy') else ''}. {options['rounds']} rounds of "
             f"{options['seconds']} s{', proxies on a core of their own' if options['pin'] else ''}.\n"]
    lines += [f"Not measured: {name} ({reason}).\n" for name, reason in skipped]
    lines += [targets(samples)]
    lines += [comparison(samples, order, *v) for v in VALUES]
    lines += [memory(samples, order), edits(samples)]
    return "\n".join(part for part in lines if part)
