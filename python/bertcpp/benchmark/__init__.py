"""Measuring: engines on equal batches in turns, with the processor's peak beside them.

`bertcpp bench` and the repository's `bench/` run the same code: a process for each engine (`processes`, `worker`), the
ways to run each (`engines`, over `exports`), batches (`workloads`) of a checkpoint (`models`), turns and medians
(`rounds`), agreement before times (`comparison`), the figure (`plot`), and what it ran on (`machine`).
"""
