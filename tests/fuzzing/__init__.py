"""Inputs that people might hand in, spoilt at random: what reads them answers, or says in one line what is wrong."""
