"""The SQL store, the only truth, and its in-memory reference."""
