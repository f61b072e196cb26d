# SPDX-License-Identifier: Apache-2.0
"""End-to-end harness: pods are network namespaces, manifests are files, the agent is the real one."""
