"""What the kernel's dirty_log_perf_test prints, read into runs and made part of a dataset."""
