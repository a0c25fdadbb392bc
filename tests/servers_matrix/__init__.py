"""What real servers make of credentials on the wire, before and after keymw.

`declared.py` says which servers there are and how each is started, `cases.py` what each is sent,
`raw.py` how bytes are exchanged, `measured.py` puts these together, `page.py` writes what came of
it into `docs/servers.md`. `PYTHONPATH=tests python -m servers_matrix` writes that page anew.
"""
