"""Real KVM, through the kernel's own dirty_log_perf_test: its options, what it prints, the modules it depends on."""
