"""What a spec is: values, grids, samples, where, the file, and the configs it means."""
