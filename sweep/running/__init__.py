"""Running a sweep: plan, workers, execution, progress, and how far it is."""
