"""What only the compilation of kernels needs: all of numba. Where they are stored, nothing here is imported."""
