"""The studies that ship, a file each with `study(quick)`; see benchmarks/study."""
