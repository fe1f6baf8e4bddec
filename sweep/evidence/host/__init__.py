"""This host as evidence: its costs measured with the live engine, and live times beside simulated ones."""
