# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' laboratory: pods as of the end-to-end tests, proxies in them, measures, tables."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "e2e"))
