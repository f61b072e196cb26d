# SPDX-License-Identifier: Apache-2.0
"""The one place where tests wait: for a condition, until a deadline."""
import os
import time

# Sanitizer builds and a busy two-core machine are slow; deadlines stretch, conditions do not change.
SCALE = float(os.environ.get("SLUICE_TIME_SCALE", "1"))


class Timeout(AssertionError):
    pass


def scaled(seconds):
    return seconds * SCALE


def wait_for(condition, timeout=10.0, interval=0.02, what=None):
    """Call condition until it returns something true, and return that. AssertionError and OSError
    of the condition count as "not yet"; the last one is shown when time runs out."""
    deadline = time.monotonic() + scaled(timeout)
    last = None
    while True:
        try:
            result = condition()
            if result:
                return result
            last = result
        except (AssertionError, OSError, LookupError) as e:
            last = e
        if time.monotonic() >= deadline:
            raise Timeout(f"timed out after {scaled(timeout):.0f} s waiting for "
                          f"{what or condition.__name__}; last: {last!r}")
        time.sleep(interval)


def hold_for(condition, seconds, interval=0.02, what=None):
    """The condition has to stay true for that long: for asserting that something does not happen."""
    deadline = time.monotonic() + scaled(seconds)
    while time.monotonic() < deadline:
        result = condition()
        assert result, f"did not hold: {what or condition.__name__}: {result!r}"
        time.sleep(interval)
