"""Benchmarks: kernels against the processor's peak, and bertcpp against other engines. See bench/README.md."""
