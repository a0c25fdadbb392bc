"""What breaks, and what a revoked key can do meanwhile: real servers, real workers, real traffic.

`fleet.py` starts the parts, `faults.py` breaks and mends them, `changes.py` ends keys and
`traffic.py` asks with them. `scenarios.py` says what is tried, `trial.py` tries it once,
`judgement.py` says what may not have happened, and `table.py` shows it.
"""
