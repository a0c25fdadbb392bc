"""The two caches in front of the store: in the process (L1) and in Redis (L2)."""
