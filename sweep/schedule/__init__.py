"""A nightly run that starts by itself: by systemd, cron, a loop in the foreground, or a cluster."""
