# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes, of binaries that were built here or came in an archive: see tests/lab/README.md."""
import os
import sys

LAB = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(LAB))
for folder in ("tests/e2e", "tools/lib"):
    path = os.path.join(ROOT, folder)
    if path not in sys.path:
        sys.path.append(path)
